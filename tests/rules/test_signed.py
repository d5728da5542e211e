"""Rules that split contributions by sign, where the textbook says nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import AlphaBeta, Composite, RelativeInfluence, ZPlus
from jaxinterp.tracing.errors import BatchAxisError
from tests.compiled import compiled

from .replay import relevance_through

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


# --- Relative influence ---------------------------------------------------------------


def test_positions_that_are_merged_with_examples_are_of_their_example():
    """A dense layer at each position is a convolution over one position."""
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(4, 6)), rng.normal(size=(3, 5, 4))
    relevance = rng.normal(size=(3, 5, 6))

    def convolved(w, x):
        return jax.lax.conv_general_dilated(
            x, w[None], (1,), "VALID", dimension_numbers=("NTC", "TIO", "NTC")
        )

    def merged(w, x):
        return (x.reshape(15, 4) @ w).reshape(3, 5, 6)

    def left(w, x):
        return jnp.moveaxis(w.T @ jnp.moveaxis(x, 2, 1), 1, 2)

    def through(model):
        rule = RelativeInfluence()
        received = compiled(relevance_through, static_argnums=(0, 1))
        return received(model, rule, w, x, relevance)

    expected = through(convolved)
    sums = expected.sum((1, 2))
    np.testing.assert_allclose(sums, relevance.sum((1, 2)), rtol=1e-10)
    for model in (merged, left):
        np.testing.assert_allclose(through(model), expected, rtol=1e-9)


def test_relevance_that_no_entry_can_take_is_booked_as_kept():
    """Of two examples one is zero, and its bias is all of its score."""
    composite = Composite([("*", RelativeInfluence())])
    w, x = jnp.array([[2.0], [-1.0]]), jnp.array([[0.0, 0.0], [3.0, 1.0]])
    target = jnp.zeros(2, int)
    books = ji.ledger(lambda w, x: x @ w + 7.0, composite, w, x, target)
    (entry,) = books.entries
    assert (entry.received, entry.handed_on) == (19.0, 12.0)
    assert (entry.bias, entry.stabilizer) == (0.0, 7.0)


def test_relative_influence_needs_to_know_the_examples():
    def pairs(w, x):  # of examples, with the second one inside
        return (x[:, None] * x[None]).reshape(9, 4) @ w

    w, x = np.ones((4, 2)), np.ones((3, 4))
    with pytest.raises(BatchAxisError, match="RelativeInfluence"):
        relevance_through(pairs, RelativeInfluence(), w, x, np.ones((9, 2)))


def test_rounding_in_place_of_a_zero_is_a_zero():
    """The second entry would get 1e-17 of what the first one gets, before the shift."""
    w, relevance = np.array([[6.0, 0.0], [0.0, 2.0], [-2.0, 0.0]]), np.ones((1, 2))
    x = np.ones((1, 3))
    exact, noisy = (
        relevance_through(
            lambda w, x: x @ w, RelativeInfluence(), w, x, relevance * [[1, share]]
        )
        for share in (0.0, 1e-17)
    )
    np.testing.assert_allclose(noisy, exact, rtol=1e-12)
    assert exact[0, 1] == 0
