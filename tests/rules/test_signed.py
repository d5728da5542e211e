"""Alpha-beta where one sign outweighs the other, and in low precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import AlphaBeta, Composite, ZPlus

ALPHA_BETA = Composite([("*", AlphaBeta(2.0, 1.0))])


def relevance(weights, x):
    attribute = ji.attribution.lrp(lambda w, x: x @ w, composite=ALPHA_BETA)
    return attribute(weights, x, jnp.zeros(x.shape[0], int))


def test_small_negative_contributions_are_not_rounding_noise():
    weights = jnp.array([[1.0], [1.0], [-1e-6]], jnp.float32)
    x = jnp.array([[50.0, 50.0, 3.0]], jnp.float32)
    # z_a = z = 100; z_b = -3e-6, which the stabilizer of 1e-6 makes -4e-6.
    np.testing.assert_allclose(
        relevance(weights, x), [[100.0, 100.0, -75.0]], rtol=1e-5
    )


@pytest.mark.slow(reason="compiles every signed rule twice")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_near_single_precision(dtype):
    weights = 0.3 + jax.random.normal(jax.random.key(0), (64, 1), jnp.float32)
    x = jax.random.normal(jax.random.key(1), (3, 64), jnp.float32)
    low, high = weights.astype(dtype), x.astype(dtype)
    exact = relevance(low.astype(jnp.float32), high.astype(jnp.float32))
    found = relevance(low, high).astype(jnp.float32)
    assert float(jnp.abs(found - exact).max() / jnp.abs(exact).max()) < 0.05


def test_without_negative_parts_nothing_is_divided_by_them():
    weights, x = jnp.ones((3, 1)), jnp.array([[1.0, 2.0, 5.0]])
    composite = Composite([("*", ZPlus(epsilon=0.0))])
    target = jnp.zeros(1, int)
    books = ji.attribution.ledger(lambda w, x: x @ w, composite, weights, x, target)
    assert (books.attributed, books.absorbed) == (8.0, 0.0)
