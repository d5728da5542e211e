"""What is best of a stream against a full sort, however the stream is cut."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop import top_k
from jaxinterp.loop.top_k import Best, Sample

RNG = np.random.default_rng(0)
KEY = jax.random.key(3)
# Integers, so that many scores are equal.
SCORES = RNG.integers(-3, 4, size=(5, 23)).astype(float)
DETAILS = RNG.integers(0, 100, size=(5, 23))
ORDERS = {
    top_k.highest: SCORES,
    top_k.lowest: -SCORES,
    top_k.nearest_zero: -np.abs(SCORES),
}


def batches(scores: np.ndarray, size: int) -> Any:
    """Yields the numbers and the columns of each batch, the last one filled up."""
    count = scores.shape[1]
    for start in range(0, count, size):
        columns = np.minimum(np.arange(start, start + size), count - 1)
        number = min(size, count - start)
        yield top_k.numbers_in_stream(start, size, number), columns


def keep(k: int, size: int, order: Any, columns: Any = slice(None)) -> Best:
    scores, details = SCORES[:, columns], DETAILS[:, columns]
    best = top_k.empty_best(5, k, float, jnp.asarray(-1))
    for indices, at in batches(scores, size):
        parts = jnp.asarray(scores[:, at]), jnp.asarray(details[:, at])
        batch = top_k.all_of_batch(indices, *parts)
        best = top_k.best_of(best, batch, order)
    return best


def sample(scores: np.ndarray, size: int, width: int) -> Sample:
    state = top_k.empty_sample(len(scores), width, float)
    for indices, at in batches(scores, size):
        batch = top_k.sample_of_batch(KEY, indices, jnp.asarray(scores[:, at]))
        state = top_k.sample_of(state, batch)
    return state


@pytest.mark.parametrize("size", [1, 4, 50])
@pytest.mark.parametrize("order", ORDERS)
def test_the_best_are_those_of_a_stable_sort(size: int, order: Any) -> None:
    best = keep(6, size, order)
    expected = np.argsort(-ORDERS[order], axis=1, kind="stable")[:, :6]
    np.testing.assert_array_equal(best.indices, expected)
    np.testing.assert_array_equal(
        best.scores, np.take_along_axis(SCORES, expected, axis=1)
    )
    np.testing.assert_array_equal(
        best.details, np.take_along_axis(DETAILS, expected, axis=1)
    )


def test_too_few_examples_are_said_to_be_missing() -> None:
    best = keep(30, 4, top_k.highest)
    assert np.all(np.asarray(best.indices)[:, 23:] == -1)
    assert np.isnan(np.asarray(best.scores)[:, 23:]).all()
    assert np.all(np.asarray(best.details)[:, 23:] == -1)
    assert np.all(np.sort(best.indices[:, :23]) == np.arange(23))


def test_the_worst_score_there_is_comes_before_none() -> None:
    indices, scores = jnp.array([0, 1, -1]), jnp.array([[-jnp.inf, 0.0, 5.0]])
    best = top_k.empty_best(1, 3, float)
    best = top_k.best_of(best, top_k.all_of_batch(indices, scores), top_k.highest)
    assert best.indices.tolist() == [[1, 0, -1]]


def test_two_parts_of_a_stream_are_merged() -> None:
    parts = slice(12), slice(12, 23)
    first, later = (keep(6, 4, top_k.highest, part) for part in parts)
    later = later._replace(indices=jnp.where(later.indices < 0, -1, later.indices + 12))
    together, whole = (
        top_k.best_of(first, later, top_k.highest),
        keep(6, 4, top_k.highest),
    )
    chex.assert_trees_all_equal(together, whole)


@pytest.mark.slow(reason="many samples")
def test_a_sample_is_uniform_and_the_same_however_the_stream_is_cut() -> None:
    scores = np.arange(400.0)[None]
    whole, parts = sample(scores, 400, 100), sample(scores, 7, 100)
    chex.assert_trees_all_equal(whole, parts)
    indices = np.asarray(whole.indices)
    assert len(set(indices.tolist())) == 100
    np.testing.assert_array_equal(whole.scores[0], indices)
    assert np.all(np.diff(whole.priorities) <= 0)
    # The mean of 100 of 400 numbers, drawn without replacement, deviates by about 10.
    assert abs(indices.mean() - 199.5) < 40


def test_quantiles_are_around_those_of_the_sorted_scores() -> None:
    whole = sample(SCORES, 4, 40)
    around = top_k.around_quantiles(whole, 23, (0.0, 0.5, 1.0), 3)
    order = np.argsort(SCORES, axis=1, kind="stable")
    for i, low in enumerate((0, 10, 20)):
        expected = order[:, low : low + 3]
        np.testing.assert_array_equal(around.indices[:, i], expected)
        np.testing.assert_array_equal(
            around.scores[:, i], np.take_along_axis(SCORES, expected, axis=1)
        )


def test_quantiles_of_too_few_examples_are_said_to_be_missing() -> None:
    few = top_k.around_quantiles(sample(SCORES[:, :2], 2, 9), 2, (0.5,), 4)
    assert np.all(few.indices[:, 0, 2:] == -1)
    assert np.isnan(few.scores[:, 0, 2:]).all()
    assert np.all(np.sort(few.indices[:, 0, :2]) == [0, 1])


def test_states_go_through_jit() -> None:
    update = jax.jit(functools.partial(top_k.best_of, order=top_k.lowest))
    indices, scores = jnp.arange(3), jnp.array([[2.0, -1.0, 0.5]])
    best = update(top_k.empty_best(1, 2, float), top_k.all_of_batch(indices, scores))
    assert best.indices.tolist() == [[1, 2]]


def test_examples_that_fill_up_a_batch_have_no_priority() -> None:
    indices = top_k.numbers_in_stream(7, 4, 2)
    batch = top_k.sample_of_batch(KEY, indices, jnp.zeros((3, 4)))
    assert (batch.priorities[:2] >= 0).all()
    assert batch.priorities[2:].tolist() == [-1, -1]


def test_quantiles_are_those_of_the_examples_that_there_are() -> None:
    missing = jnp.array([5, 2, -1])
    whole = Sample(missing, missing, jnp.array([[4.0, 1.0, 2.0]]), ())
    around = top_k.around_quantiles(whole, 2, (0.0, 1.0), 1)
    assert around.indices.tolist() == [[[2], [5]]]


def test_quantiles_of_a_long_stream_are_those_of_its_sample() -> None:
    few = sample(SCORES, 4, 6)
    around = top_k.around_quantiles(few, 23, (0.0, 1.0), 1)
    scores = np.asarray(few.scores)
    np.testing.assert_array_equal(around.scores[:, 0, 0], scores.min(axis=1))
    np.testing.assert_array_equal(around.scores[:, 1, 0], scores.max(axis=1))
