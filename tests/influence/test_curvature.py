"""The curvature as a matrix."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.influence.curvature import hessian
from jaxinterp.influence.losses import cross_entropy, squared_error
from tests.networks import functions
from tests.oracles import influence as oracle

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(11, 4)), RNG.integers(3, size=11)
W = RNG.normal(size=(4, 3))
LAYERS = functions.mlp_weights((4, 5, 3))
BATCHES = [(X[:4], LABELS[:4]), (X[4:], LABELS[4:])]


def linear(w: Any, x: Any) -> Any:
    return x @ w


def test_of_a_linear_model_both_are_the_definition() -> None:
    expected = np.mean([oracle.hessian(W, x) for x in X], axis=0)
    for kind in ("hessian", "gauss_newton"):
        curvature = hessian(linear, cross_entropy, W, BATCHES, kind=kind)
        assert curvature.n_examples == 11
        np.testing.assert_allclose(curvature.matrix, expected, atol=1e-14)


def test_of_a_network_it_is_what_jax_differentiates() -> None:
    flat, unravel = jax.flatten_util.ravel_pytree(LAYERS)

    def mean(flat: Any) -> Any:
        return cross_entropy(functions.mlp(unravel(flat), X), LABELS).mean()

    found = hessian(functions.mlp, cross_entropy, LAYERS, BATCHES)
    np.testing.assert_allclose(
        found.matrix, jax.jit(jax.hessian(mean))(flat), atol=1e-12
    )
    assert found.eigenvalues[0] < 0
    part = hessian(functions.mlp, cross_entropy, LAYERS, BATCHES[:1])
    resumed = hessian(functions.mlp, cross_entropy, LAYERS, BATCHES[1:], resume=part)
    np.testing.assert_allclose(resumed.matrix, found.matrix, atol=1e-14)
    newton = hessian(functions.mlp, cross_entropy, LAYERS, BATCHES, kind="gauss_newton")
    jacobian = jax.jit(jax.jacobian(lambda f: functions.mlp(unravel(f), X)))(flat)
    p = jax.nn.softmax(functions.mlp(LAYERS, X))
    curved = jax.vmap(lambda p: jnp.diag(p) - jnp.outer(p, p))(p)
    expected = jnp.einsum("icp,icd,idq->pq", jacobian, curved, jacobian) / 11
    np.testing.assert_allclose(newton.matrix, expected, atol=1e-12)
    assert newton.eigenvalues[0] > -1e-14


def test_it_solves() -> None:
    curvature = hessian(linear, squared_error, W, [(X, X[:, :3])])
    vectors = RNG.normal(size=(2, 12))
    solved = curvature.solve(vectors, 0.1)
    back = solved.vectors @ (curvature.matrix + 0.1 * np.eye(12))
    np.testing.assert_allclose(back, vectors, rtol=1e-10)
    assert solved.n_examples == 11


def test_parameters_are_chosen() -> None:
    chosen = hessian(
        functions.mlp, cross_entropy, LAYERS, BATCHES, parameters=("1/w", "0/b")
    )
    assert chosen.paths == ("0/b", "1/w")
    assert chosen.matrix.shape == (20, 20)
    with pytest.raises(ValueError, match=r"no leaf .*: '2/\*'. There are: 0/b, 0/w"):
        hessian(functions.mlp, cross_entropy, LAYERS, BATCHES, parameters="2/*")


def test_what_is_wrong_is_said() -> None:
    curvature = hessian(linear, cross_entropy, W, BATCHES)
    with pytest.raises(ValueError, match=r"not positive definite. Write `damping="):
        curvature.solve(np.ones((1, 12)), 0.0)
    with pytest.raises(ValueError, match=r"hessian: `kind` is 'fisher'"):
        hessian(linear, cross_entropy, W, BATCHES, kind="fisher")
    with pytest.raises(ValueError, match=r"10,200 parameters is a matrix of 0\.8 GB"):
        hessian(linear, cross_entropy, np.ones((3400, 3)), BATCHES)
    with pytest.raises(TypeError, match="`resume` is what an earlier call of hessian"):
        hessian(linear, cross_entropy, W, BATCHES, resume=3)
    with pytest.raises(ValueError, match="`resume` is for kind='hessian'"):
        hessian(
            *(linear, cross_entropy, W, BATCHES), kind="gauss_newton", resume=curvature
        )
    with pytest.raises(TypeError, match="as pairs"):
        hessian(linear, cross_entropy, W, [X])
    with pytest.raises(FloatingPointError, match="not finite for example 0"):
        hessian(linear, squared_error, W, [(X, X[:, :3] * np.inf)])
    with pytest.raises(ValueError, match="holds no example"):
        hessian(linear, cross_entropy, W, [(X[:0], LABELS[:0])])
    with pytest.raises(ValueError, match="one number per example"):
        hessian(linear, lambda z, y: z, W, BATCHES)


def test_vectors_and_earlier_results_are_of_as_many_parameters() -> None:
    curvature = hessian(linear, cross_entropy, W, BATCHES)
    for wrong in (np.ones((1, 11)), np.ones(12)):
        with pytest.raises(ValueError, match=r"vectors \(vectors, 12\), and was given"):
            curvature.solve(wrong, 0.1)
    with pytest.raises(ValueError, match=r"12 parameters, and this call .* 20 param"):
        hessian(linear, cross_entropy, np.ones((4, 5)), BATCHES, resume=curvature)
    with pytest.raises(ValueError, match="`parameters` names no leaf"):
        hessian(linear, cross_entropy, W, BATCHES, parameters=())
