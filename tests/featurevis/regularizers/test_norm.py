"""Norms of any order, against NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.regularizers.norm import norm
from jaxinterp.objectives.evaluate import evaluate
from jaxinterp.objectives.objective import View

PICTURES = np.random.default_rng(0).uniform(size=(2, 5, 4, 3))


def cost(objective, pictures):
    @jax.jit
    def run(pictures):
        return evaluate(objective, View({}, None, pictures[None], 0), 1)[0]

    return run(jnp.asarray(pictures))


def slope_of(objective, pictures):
    slope = jax.jit(jax.grad(lambda x: cost(objective, x).sum()))
    return np.asarray(slope(jnp.asarray(pictures)))


@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 3.0, 10.0, 200.0])
@pytest.mark.parametrize("constant", [0.5, 0.0])
def test_a_norm_of_any_order(order, constant):
    found = cost(norm(order, constant, epsilon=1e-12), PICTURES)
    flat = np.abs(PICTURES - constant).reshape(2, -1)
    np.testing.assert_allclose(found, (flat**order).sum(1) ** (1 / order), rtol=1e-9)


@pytest.mark.parametrize("order", [1.5, 2.0, 6.0, 200.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gray_costs_nothing_and_has_a_finite_gradient(order, dtype):
    gray = jnp.full((1, 4, 4, 3), 0.5, dtype)
    value, slope = jax.jit(
        jax.value_and_grad(lambda x: cost(norm(order, epsilon=1e-12), x).sum())
    )(gray)
    assert value <= 1e-6
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("order", [1.5, 4.0, 50.0])
def test_the_gradient_is_that_of_the_norm(order):
    slope = slope_of(norm(order), PICTURES)
    d = PICTURES - 0.5
    length = (np.abs(d) ** order).sum((1, 2, 3), keepdims=True) ** (1 / order)
    wanted = np.sign(d) * (np.abs(d) / length) ** (order - 1)
    np.testing.assert_allclose(slope, wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: norm(0.5), "norm: `order` must be .* at least 1, and is 0.5"),
        (lambda: norm(True), "norm: `order` must be .* at least 1, and is True"),
        (lambda: norm("2"), "norm: `order` must be a finite number .* is '2'"),
        (lambda: norm(-math.inf), "norm: `order` must be .* at least 1, and is -inf"),
    ],
)
def test_norms_that_do_not_exist(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()
