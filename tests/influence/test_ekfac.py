"""Eigenvalue-corrected Kronecker factors: exact where theory says so."""

from typing import Any

import chex
import jax
import numpy as np
import pytest

from jaxinterp.influence.curvature import hessian
from jaxinterp.influence.ekfac import EkFac, ekfac
from jaxinterp.influence.influence_function import influence
from jaxinterp.influence.losses import cross_entropy, squared_error
from tests import precision
from tests.networks import functions
from tests.oracles import influence as oracle

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(11, 4)), RNG.integers(3, size=11)
Y = RNG.normal(size=(11, 3))
LAYERS = functions.mlp_weights((4, 5, 3))
BATCHES = [(X[:4], LABELS[:4]), (X[4:], LABELS[4:])]
MODEL: Any = (functions.mlp, cross_entropy, LAYERS, BATCHES)


@pytest.fixture(scope="module")
def whole() -> EkFac:
    return ekfac(*MODEL)


def test_of_a_linear_layer_and_squared_error_it_is_exact() -> None:
    """There $G = A \\otimes I$, whatever the inputs: the bias is one of them."""
    layer = functions.mlp_weights((4, 3))
    batches = [(X[:4], Y[:4]), (X[4:], Y[4:])]
    model: Any = (functions.mlp, squared_error, layer, batches)
    found, exact = ekfac(*model), hessian(*model)
    assert found.diagonal_paths == ()
    vectors = RNG.normal(size=(2, 15))
    np.testing.assert_allclose(
        found.solve(vectors, 0.1).vectors, exact.solve(vectors, 0.1).vectors, rtol=1e-9
    )
    assert found.mean_eigenvalue == pytest.approx(exact.eigenvalues.mean())
    options: Any = {"damping": 0.01, "k": 11}
    by_factors = influence(*model, (X, Y), curvature=found, **options)
    by_matrix = influence(*model, (X, Y), curvature=exact, **options)
    np.testing.assert_allclose(
        by_factors.by_example(), by_matrix.by_example(), rtol=1e-8, atol=1e-12
    )


def test_of_independent_inputs_and_gradients_it_is_exact() -> None:
    """All pairs of an input and a label: independent, with orthogonal columns."""
    signs = np.array([[a, b] for a in (-1, 1) for b in (-1, 1)]) * [1.0, 2.0]
    model: Any = (lambda w, x: x @ w, cross_entropy, np.zeros((2, 2)))
    batches = [(signs, np.zeros(4, int))]
    found, exact = ekfac(*model, batches), hessian(*model, batches)
    vectors = RNG.normal(size=(3, 4))
    np.testing.assert_allclose(
        found.solve(vectors, 0.1).vectors, exact.solve(vectors, 0.1).vectors, rtol=1e-10
    )


def test_of_a_network_it_is_the_definition(whole: EkFac) -> None:
    (w, b), (v, c) = ((layer["w"], layer["b"][0]) for layer in LAYERS)
    damping, gradients, factors = 0.05, ([], []), [0, 0, 0, 0]
    for x in X:
        z = x @ w + b
        h, p = np.append(np.maximum(z, 0), 1), oracle.softmax(np.maximum(z, 0) @ v + c)
        values, vectors = np.linalg.eigh(np.diag(p) - np.outer(p, p))
        a, of_example = np.append(x, 1), ([], [])
        for value, vector in zip(values, vectors.T, strict=True):
            s = np.sqrt(max(value, 0)) * vector
            below = (v @ s) * (z > 0)
            of_example[0].append(np.outer(a, below))
            of_example[1].append(np.outer(h, s))
            factors[1] = factors[1] + np.outer(below, below)
            factors[3] = factors[3] + np.outer(s, s)
        factors[0], factors[2] = (
            factors[0] + np.outer(a, a),
            factors[2] + np.outer(h, h),
        )
        gradients[0].append(of_example[0])
        gradients[1].append(of_example[1])
    first, second = RNG.normal(size=(5, 5)), RNG.normal(size=(6, 3))
    # The leaves are in the order of their names: biases before kernels.
    vector = np.concatenate(
        [first[4], first[:4].ravel(), second[5], second[:5].ravel()]
    )
    (solved,) = whole.solve(vector[None], damping).vectors
    one = oracle.ekfac_solution(gradients[0], *factors[:2], first, damping)
    # The last factor has the eigenvalue 0 once, as all others do: no basis is shared.
    two = oracle.ekfac_solution(gradients[1], *factors[2:], second, damping)
    np.testing.assert_allclose(solved[:5], one[4], rtol=1e-7)
    np.testing.assert_allclose(solved[5:25], one[:4].ravel(), rtol=1e-7)
    np.testing.assert_allclose(solved[25:28], two[5], rtol=1e-7)
    np.testing.assert_allclose(solved[28:], two[:5].ravel(), rtol=1e-7)


def test_it_comes_near_the_matrix(whole: EkFac) -> None:
    options: Any = {"damping": 0.1, "k": 11}
    pair = X, LABELS
    near = influence(*MODEL, pair, curvature=whole, **options).by_example()
    curvature = hessian(*MODEL, kind="gauss_newton")
    exact = influence(*MODEL, pair, curvature=curvature, **options).by_example()
    assert np.corrcoef(near.ravel(), exact.ravel())[0, 1] > 0.95


@pytest.mark.slow(reason="compiles both passes three times")
def test_random_columns_have_the_same_mean(whole: EkFac) -> None:
    key = jax.random.key(0)
    many = ekfac(*MODEL, samples=300, key=key)
    vectors = RNG.normal(size=(2, 43))
    np.testing.assert_allclose(
        many.solve(vectors, 0.1).vectors, whole.solve(vectors, 0.1).vectors, atol=0.6
    )
    assert many.mean_eigenvalue == pytest.approx(whole.mean_eigenvalue, rel=0.1)
    one = ekfac(*MODEL, samples=1, key=key)
    cut = ekfac(*MODEL[:3], [(X, LABELS)], samples=1, key=key)
    # A softmax has the eigenvalue 0; rounded to 1e-17 it has a root of 1e-9.
    assert one.mean_eigenvalue == pytest.approx(cut.mean_eigenvalue, rel=1e-7)
    other = ekfac(*MODEL, samples=1, key=jax.random.key(1))
    assert one.mean_eigenvalue != pytest.approx(other.mean_eigenvalue, rel=1e-3)


def test_later_examples_add_to_the_eigenvalues() -> None:
    part = ekfac(*MODEL[:3], BATCHES[:1])
    resumed = ekfac(*MODEL[:3], iter(BATCHES[1:]), resume=part)
    assert int(resumed.n_examples) == 11
    chex.assert_trees_all_equal(
        resumed.blocks["0/w"].input_basis, part.blocks["0/w"].input_basis
    )
    # The trace is that of the matrix in any basis.
    whole = hessian(*MODEL, kind="gauss_newton").eigenvalues.mean()
    assert resumed.mean_eigenvalue == pytest.approx(whole, rel=1e-9)


def test_other_parameters_have_a_diagonal() -> None:
    def model(w: Any, x: Any) -> Any:
        return (x * w["scale"][None]) @ w["out"]

    w = {"out": RNG.normal(size=(4, 3)), "scale": np.ones(4)}
    found = ekfac(model, cross_entropy, w, BATCHES[1:])
    assert found.diagonal_paths == ("scale",)
    exact = hessian(model, cross_entropy, w, BATCHES[1:], kind="gauss_newton")
    vector = np.zeros((1, 16))
    vector[0, 12:] = 1
    expected = 1 / (np.diag(exact.matrix)[12:] + 0.1)
    solved = found.solve(vector, 0.1).vectors
    np.testing.assert_allclose(solved[0, 12:], expected, rtol=1e-9)
    np.testing.assert_array_equal(solved[0, :12], 0)


def test_what_is_wrong_is_said() -> None:
    part = ekfac(*MODEL[:3], BATCHES[:1])
    with pytest.raises(ValueError, match=r"not positive definite\. Write `damping="):
        ekfac(*MODEL[:3], [(0 * X, LABELS)]).solve(np.ones((1, 43)), 0.0)
    with pytest.raises(TypeError, match="a generator is empty after the first"):
        ekfac(*MODEL[:3], iter(BATCHES))
    with pytest.raises(TypeError, match="needs one key"):
        ekfac(*MODEL, samples=1)
    with pytest.raises(ValueError, match="ekfac: `samples` must"):
        ekfac(*MODEL, samples=0)
    with pytest.raises(ValueError, match="for the same parameters"):
        ekfac(*MODEL, parameters="0/*", resume=part)
    with pytest.raises(TypeError, match="as pairs"):
        ekfac(*MODEL[:3], [X])
    with pytest.raises(FloatingPointError, match="not finite for example 0"):
        ekfac(*MODEL[:3], [(X * np.nan, LABELS)])


def test_vectors_and_earlier_results_are_of_as_many_parameters() -> None:
    """JAX would clamp the indices of parameters that are not there."""
    found = ekfac(*MODEL)
    for wrong in (np.ones((1, 42)), np.ones(43)):
        with pytest.raises(ValueError, match=r"vectors \(vectors, 43\), and was given"):
            found.solve(wrong, 0.1)
    wider = functions.mlp_weights((4, 6, 3))
    with pytest.raises(ValueError, match=r"51 of them, and is .* 43 of them"):
        ekfac(functions.mlp, cross_entropy, wider, BATCHES, resume=found)


def test_an_eigenvalue_below_rounding_is_none() -> None:
    """What adds a number to all logits changes no loss; its eigenvalue is rounding."""
    layer = functions.mlp_weights((4, 3))
    found = ekfac(functions.mlp, cross_entropy, layer, BATCHES)
    with pytest.raises(ValueError, match="not positive definite"):
        found.solve(np.ones((1, 15)), 0.0)


def test_products_keep_their_digits_on_every_device(whole: EkFac) -> None:
    vectors = np.ones((2, 43))
    for curvature in (whole, hessian(*MODEL, kind="gauss_newton")):
        assert precision.are_all_exact(
            lambda v, c=curvature: c.solve(v, 0.1).vectors, vectors
        )
