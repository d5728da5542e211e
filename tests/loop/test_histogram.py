"""Histograms of a stream against NumPy on all values at once."""

from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop import histogram
from jaxinterp.loop.histogram import Histogram

RNG = np.random.default_rng(1)
# Units of unlike scales: a heavy tail, an offset, tiny numbers, zeros.
VALUES = RNG.normal(size=(4, 37, 15)) * np.array([1.0, 0.1, 1e-6, 0.0])[:, None, None]
VALUES[0] **= 3
VALUES[1] += 1000


def count(values: Any, size: int, accuracy: float = 0.01) -> Histogram:
    units, examples, places = values.shape
    state = histogram.empty_histogram(units, accuracy, values.dtype)
    for start in range(0, examples, size):
        part = values[:, start : start + size]
        real = part.shape[1]
        filled = np.concatenate(  # what fills up a batch would change all numbers
            [part, np.full((units, size - real, places), 1e6, part.dtype)], axis=1
        )
        before = np.asarray(start * places, values.dtype)
        state = histogram.with_batch(
            state, before, jnp.asarray(filled), jnp.asarray(real), accuracy
        )
    return state


@pytest.mark.parametrize("size", [1, 5, 50])
def test_moments_and_extremes_are_those_of_all_values(size: int) -> None:
    found, values = count(VALUES, size), VALUES.reshape(4, -1)
    np.testing.assert_allclose(found.mean, values.mean(axis=1), rtol=1e-12)
    variance = found.squares / values.shape[1]
    np.testing.assert_allclose(variance, values.var(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(found.minimum, values.min(axis=1))
    np.testing.assert_array_equal(found.maximum, values.max(axis=1))
    np.testing.assert_array_equal(found.counts.sum(axis=1), values.shape[1])


@pytest.mark.parametrize("accuracy", [0.001, 0.05])
def test_the_accuracy_is_that_asked_for(accuracy: float) -> None:
    found, values = count(VALUES, 37, accuracy), VALUES.reshape(4, -1)
    worst = 0.0
    for q in np.linspace(0, 1, 41):
        exact = np.quantile(values, q, axis=1, method="lower")
        error = np.abs(histogram.quantile(found, 37 * 15, float(q), accuracy) - exact)
        worst = max(worst, float((error / np.maximum(abs(exact), 1e-30)).max()))
    assert accuracy / 2 < worst <= accuracy * (1 + 1e-9)


def test_bins_lie_between_their_edges() -> None:
    edges, counts = histogram.edges(0.01), np.asarray(count(VALUES, 37).counts)
    assert len(edges) == counts.shape[1] + 1
    assert np.all(np.diff(edges) > 0)
    for unit, values in enumerate(VALUES.reshape(4, -1)):
        inside = (values[None] >= edges[:-1, None]) & (values[None] <= edges[1:, None])
        assert np.array_equal(inside.sum(axis=1), counts[unit])


def test_magnitudes_out_of_range_are_zero_or_the_largest() -> None:
    values = np.array([1e-30, -1e-30, 1e30, -1e30, 1.0]).reshape(1, 5, 1)
    found = count(values, 2)
    assert found.minimum[0] == -1e30
    low, zero, none, high = (
        histogram.quantile(found, 5, q, 0.01)[0] for q in (0.0, 0.25, 0.5, 1.0)
    )
    assert zero == none == 0.0
    np.testing.assert_allclose([low, high], [-1e9, 1e9], rtol=0.02)


@pytest.mark.slow(reason="compiles four passes")
def test_two_histograms_are_merged() -> None:
    one, other = count(VALUES[:, :20], 4), count(VALUES[:, 20:], 7)
    together = histogram.merged(one, 20.0 * 15, other, 17.0 * 15)
    chex.assert_trees_all_close(together, count(VALUES, 37), rtol=1e-9)


def test_a_quantile_is_a_share() -> None:
    found = count(VALUES, 37)
    for q in (2.0, -0.1, np.nan, True):
        with pytest.raises(ValueError, match=f"between 0 and 1, and is {q}"):
            histogram.quantile(found, 37 * 15, q, 0.01)


def test_memory_is_41_counts_over_the_accuracy() -> None:
    """However large the numbers are."""
    for accuracy in (0.01, 0.001):
        bins = histogram.empty_histogram(1, accuracy, float).counts.shape[1]
        assert abs(bins * accuracy / 41.5 - 1) < 0.02


def test_the_smallest_magnitude_is_no_zero() -> None:
    smallest = histogram.SMALLEST
    values = np.array([[[0.9 * smallest, 0.0, smallest, -smallest]]])
    (counts,) = np.asarray(count(values, 1).counts)
    zero = len(counts) // 2
    assert counts[zero] == 2
    assert counts[:zero].sum() == counts[zero + 1 :].sum() == 1
