"""Norms of any order, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.norms import l2, lp
from jaxinterp.featurevis.objective import View, evaluate

PICTURES = np.random.default_rng(0).uniform(size=(2, 5, 4, 3))


def cost(objective, pictures):
    view = View({}, None, jnp.asarray(pictures)[None], 0)
    return evaluate(objective, view, 1)[0]


@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 3.0, 10.0])
@pytest.mark.parametrize("constant", [0.5, 0.0])
def test_a_norm_of_any_order(order, constant):
    found = cost(lp(order, constant, epsilon=1e-12), PICTURES)
    flat = np.abs(PICTURES - constant).reshape(2, -1)
    np.testing.assert_allclose(found, (flat**order).sum(1) ** (1 / order), rtol=1e-9)


def test_the_second_order_is_the_distance():
    np.testing.assert_array_equal(cost(lp(2.0), PICTURES), cost(l2(), PICTURES))


@pytest.mark.parametrize("order", [1.5, 2.0, 6.0])
def test_gray_has_a_finite_gradient(order):
    gray = jnp.full((1, 4, 4, 3), 0.5)
    slope = jax.grad(lambda x: cost(lp(order), x).sum())(gray)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lp(0.5), ValueError, "at least 1, and was 0.5"),
        (lambda: lp("2"), TypeError, r"lp\(\) takes a finite number"),
        (lambda: lp(float("inf")), TypeError, r"lp\(\) takes a finite number"),
        (lambda: lp(3.0, epsilon=0.0), ValueError, "is positive, such as 1e-6, not 0"),
    ],
)
def test_norms_that_do_not_exist(make, error, message, unchecked):
    with pytest.raises(error, match=message):
        make()
