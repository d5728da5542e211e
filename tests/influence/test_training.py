"""Which leaves are parameters, and the loss as a function of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.influence.losses import cross_entropy
from jaxinterp.influence.training import (
    Training,
    as_pair,
    check_rereadable,
    chosen_paths,
    flat_parameters,
    offsets,
    with_parameters,
)
from tests.networks import functions
from tests.oracles import influence as oracle

RNG = np.random.default_rng(0)
WEIGHTS = {
    "params": {"w": RNG.normal(size=(4, 3)), "b": jnp.ones(3, jnp.bfloat16)},
    "batch_stats": {"mean": np.zeros(2)},
    "step": np.array(3),
}


def test_parameters_are_leaves_of_floats() -> None:
    assert chosen_paths(WEIGHTS, None) == ("params/b", "params/w")
    assert chosen_paths(WEIGHTS, "*") == ("batch_stats/mean", "params/b", "params/w")
    assert chosen_paths(WEIGHTS, ("*w", "*mean")) == ("batch_stats/mean", "params/w")
    assert chosen_paths(jnp.ones(3), None) == ("",)
    with pytest.raises(ValueError, match=r"matches no leaf of .*: 'step'"):
        chosen_paths(WEIGHTS, "step")


def test_a_vector_of_parameters_goes_there_and_back() -> None:
    paths = chosen_paths(WEIGHTS, None)
    flat = flat_parameters(WEIGHTS, paths)
    assert flat.dtype == np.float64
    assert offsets(WEIGHTS, paths) == {"params/b": 0, "params/w": 3}
    back = with_parameters(WEIGHTS, paths, flat + 1)
    np.testing.assert_array_equal(back["params"]["w"], WEIGHTS["params"]["w"] + 1)
    assert back["params"]["b"].dtype == jnp.bfloat16
    assert back["step"] is WEIGHTS["step"]


def test_gradients_are_those_of_each_example() -> None:
    x, labels, w = RNG.normal(size=(5, 4)), RNG.integers(3, size=5), np.ones((4, 3))
    training = Training.of(lambda w, x: x @ w, cross_entropy, ("",))
    expected = [oracle.gradient(w, a, b) for a, b in zip(x, labels, strict=True)]
    found = training.gradients(w, x, labels)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    jitted = jax.jit(training.gradients)(w, x, labels)
    np.testing.assert_allclose(jitted, expected, atol=1e-14)


def test_roots_multiply_to_the_curvature_of_the_loss() -> None:
    layers = functions.mlp_weights((4, 3))
    training = Training.of(functions.mlp, cross_entropy, ())
    x = RNG.normal(size=4)
    roots = training.roots(layers, x, np.array(1))
    p = oracle.softmax(functions.mlp(layers, x[None])[0])
    np.testing.assert_allclose(roots.T @ roots, np.diag(p) - np.outer(p, p), atol=1e-14)


def test_what_cannot_be_read_is_said() -> None:
    assert as_pair("f", [1, 2]) == (1, 2)
    with pytest.raises(TypeError, match=r"f\(\) takes examples as pairs"):
        as_pair("f", (1, 2, 3))
    check_rereadable("f", [1])
    with pytest.raises(TypeError, match=r"f\(\) reads the examples several times"):
        check_rereadable("f", (i for i in range(2)))
