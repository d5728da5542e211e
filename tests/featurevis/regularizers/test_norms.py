"""Norms of any order, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.regularizers.norms import l2, lp
from jaxinterp.objectives.evaluate import evaluate
from jaxinterp.objectives.objective import View

PICTURES = np.random.default_rng(0).uniform(size=(2, 5, 4, 3))


def cost(objective, pictures):
    view = View({}, None, jnp.asarray(pictures)[None], 0)
    return evaluate(objective, view, 1)[0]


@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 3.0, 10.0, 200.0])
@pytest.mark.parametrize("constant", [0.5, 0.0])
def test_a_norm_of_any_order(order, constant):
    found = cost(lp(order, constant), PICTURES)
    flat = np.abs(PICTURES - constant).reshape(2, -1)
    np.testing.assert_allclose(found, (flat**order).sum(1) ** (1 / order), rtol=1e-9)


def test_the_second_order_is_the_distance():
    np.testing.assert_allclose(cost(lp(2.0), PICTURES), cost(l2(), PICTURES), rtol=1e-6)


@pytest.mark.parametrize("order", [1.5, 2.0, 6.0, 200.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gray_costs_nothing_and_has_a_finite_gradient(order, dtype):
    gray = jnp.full((1, 4, 4, 3), 0.5, dtype)
    value, slope = jax.value_and_grad(lambda x: cost(lp(order), x).sum())(gray)
    assert value <= 1e-6
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("order", [1.5, 4.0, 50.0])
def test_the_gradient_is_that_of_the_norm(order):
    slope = jax.grad(lambda x: cost(lp(order), x).sum())(jnp.asarray(PICTURES))
    d = PICTURES - 0.5
    norm = (np.abs(d) ** order).sum((1, 2, 3), keepdims=True) ** (1 / order)
    wanted = np.sign(d) * (np.abs(d) / norm) ** (order - 1)
    np.testing.assert_allclose(slope, wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lp(0.5), "lp: `order` must be .* at least 1, and is 0.5"),
        (lambda: lp(True), "lp: `order` must be .* at least 1, and is True"),
        (lambda: lp("2"), "lp: `order` must be a finite number .* is '2'"),
        (lambda: lp(float("inf")), r"`linf\(\)`"),
    ],
)
def test_norms_that_do_not_exist(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()
