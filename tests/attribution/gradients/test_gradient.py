"""The gradient, its size, and its product with the input."""

import chex
import jax
import numpy as np
import pytest

from jaxinterp import attribution
from tests.networks import functions as models

CASES = {
    "mlp": (models.mlp, models.mlp_weights(), models.vectors()),
    "cnn": (models.cnn, models.cnn_weights(), models.images()),
    "two inputs": (models.two_inputs, models.two_weights(), models.pair()),
}
TARGET = models.targets()


def reference(apply_fn, variables, x):
    def score(x):
        logits = apply_fn(variables, x)
        return sum(logits[b, t] for b, t in enumerate(TARGET))

    return jax.grad(score)(x)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("method", "finish"),
    [
        (attribution.gradient, lambda g, x: g),
        (attribution.saliency, lambda g, x: np.abs(g)),
        (attribution.input_x_gradient, lambda g, x: g * x),
    ],
)
def test_gradients_are_those_of_jax(case, method, finish):
    apply_fn, variables, x = CASES[case]
    expected = jax.tree.map(finish, reference(apply_fn, variables, x), x)
    actual = method(apply_fn)(variables, x, TARGET)
    chex.assert_trees_all_equal_structs(actual, x)
    chex.assert_trees_all_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_an_input_that_has_no_influence_gets_nothing():
    apply_fn, variables, x = CASES["two inputs"]
    for method in (attribution.gradient, attribution.input_x_gradient):
        received = method(apply_fn)(variables, x, TARGET)
        np.testing.assert_array_equal(received["unused"], 0)


def test_input_times_gradient_adds_up_without_biases():
    layers, x = models.mlp_weights(), models.vectors()
    received = attribution.input_x_gradient(models.unbiased_mlp)(layers, x, TARGET)
    logits = models.unbiased_mlp(layers, x)
    expected = logits[np.arange(len(TARGET)), TARGET]
    np.testing.assert_allclose(received.sum(1), expected, rtol=1e-12)
