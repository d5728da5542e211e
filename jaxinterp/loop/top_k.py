"""The best examples of a stream for each unit, and a random sample of the stream.

A state has the units on its first axis and does not grow with the stream. Examples are
known by their numbers in the stream; -1 stands where there are too few of them. All
functions are pure, and what they return does not depend on how the stream was divided
into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.keys import each_folded

# From scores to what is largest for the best of them.
Order = Callable[[Any], Any]


class Best(NamedTuple):
    """The best examples of each unit so far, the best one first.

    Attributes:
        indices: the numbers of the examples in the stream, `(units, k)`; -1 where there
            are too few.
        scores: the scores of these examples, `(units, k)`; NaN where there are too few.
        details: what else is remembered of them, such as the place that scores highest:
            a pytree of arrays `(units, k)`.
    """

    indices: Any
    scores: Any
    details: Any


class Sample(NamedTuple):
    """A uniform random sample of the examples, the same for all units.

    Attributes:
        priorities: the random number of each example, `(size,)`; the examples with the
            largest ones make the sample. -1 where there are too few.
        indices: the numbers of the examples in the stream, `(size,)`.
        scores: the scores of these examples, `(units, size)`.
        details: what else is remembered of them, a pytree of arrays `(units, size)`.
    """

    priorities: Any
    indices: Any
    scores: Any
    details: Any


# --- The best -------------------------------------------------------------------------


def highest(scores: Any) -> Any:
    """Returns the rank of scores if the highest is the best.

    Args:
        scores: the scores, in any shape.
    """
    return scores


def lowest(scores: Any) -> Any:
    """Returns the rank of scores if the lowest is the best.

    Args:
        scores: the scores, in any shape.
    """
    return -scores


def nearest_zero(scores: Any) -> Any:
    """Returns the rank of scores if the one of the smallest magnitude is the best.

    Args:
        scores: the scores, in any shape.
    """
    return -jnp.abs(scores)


def empty_best(units: int, k: int, dtype: Any, details: Any = ()) -> Best:
    """Returns the state before the first example.

    Args:
        units: the number of units.
        k: the number of examples kept for each unit.
        dtype: the dtype of the scores.
        details: a scalar for each detail, which stands where there are too few
            examples.
    """
    shape = (units, k)
    return Best(
        jnp.full(shape, -1, jnp.int32),
        jnp.full(shape, jnp.nan, dtype),
        jax.tree.map(lambda missing: jnp.full(shape, missing), details),
    )


def numbers_in_stream(before: Any, size: int, count: Any) -> Any:
    """Returns the numbers of the examples of a batch in the stream, `(size,)`.

    Args:
        before: the number of examples before this batch.
        size: the size of the batch.
        count: the number of its real examples; the others get -1.

    Example:
        >>> numbers_in_stream(10, 4, 3).tolist()
        [10, 11, 12, -1]
    """
    number = jnp.arange(size, dtype=jnp.int32)
    return jnp.where(number < count, before + number, -1)


def all_of_batch(indices: Any, scores: Any, details: Any = ()) -> Best:
    """Returns all examples of a batch as if all of them had been kept.

    Args:
        indices: the numbers of the examples in the stream, `(size,)`.
        scores: the score of each example for each unit, `(units, size)`.
        details: what else is to be remembered, a pytree of arrays `(units, size)`.
    """
    return Best(jnp.broadcast_to(indices[None], scores.shape), scores, details)


def best_of(best: Best, later: Best, order: Order) -> Best:
    """Returns the best examples of two parts of a stream, as many as `best` holds.

    Of equal scores those of `best` come first, in their order.

    Args:
        best: the best examples of the first part.
        later: examples of the part after it, such as `all_of_batch` or the best ones.
        order: the function that ranks scores, such as `highest`.

    Example:
        >>> scores = jnp.array([[0.5, -2.0, 0.5, 3.0]])
        >>> batch = all_of_batch(numbers_in_stream(0, 4, 3), scores)
        >>> best_of(empty_best(1, 2, float), batch, highest).indices.tolist()
        [[0, 2]]
    """
    examples = jax.tree.map(lambda *a: jnp.concatenate(a, axis=-1), best, later)
    smallest = jnp.finfo(examples.scores.dtype).min
    ranks = jnp.maximum(order(examples.scores), smallest)
    ranks = jnp.where(examples.indices < 0, -jnp.inf, ranks)
    # Of equal ranks `top_k` takes the one in front.
    _, at = lax.top_k(ranks, best.scores.shape[-1])
    return jax.tree.map(lambda a: jnp.take_along_axis(a, at, axis=-1), examples)


# --- A random sample ------------------------------------------------------------------


def empty_sample(units: int, size: int, dtype: Any, details: Any = ()) -> Sample:
    """Returns the sample before the first example.

    Args:
        units: the number of units.
        size: the number of examples that the sample will hold.
        dtype: the dtype of the scores.
        details: a scalar for each detail, which stands where there are too few
            examples.
    """
    _, scores, details = empty_best(units, size, dtype, details)
    missing = jnp.full(size, -1, jnp.int32)
    return Sample(missing, missing, scores, details)


def sample_of_batch(key: Any, indices: Any, scores: Any, details: Any = ()) -> Sample:
    """Returns all examples of a batch with their random numbers.

    The random number of an example depends on nothing but the key and its number in
    the stream.

    Args:
        key: the random key of the sample.
        indices: the numbers of the examples in the stream, `(size,)`; -1 for none.
        scores: the score of each example for each unit, `(units, size)`.
        details: what else is to be remembered, a pytree of arrays `(units, size)`.
    """

    def priority(key: Any) -> Any:
        return (jax.random.bits(key, (), jnp.uint32) >> 1).astype(jnp.int32)

    priorities = jax.vmap(priority)(each_folded(key, indices))
    return Sample(jnp.where(indices < 0, -1, priorities), indices, scores, details)


def sample_of(sample: Sample, later: Sample) -> Sample:
    """Returns a sample of two parts of a stream, of the size of the first sample.

    Args:
        sample: the sample of the first part.
        later: the sample of the part after it, such as
            `sample_of_batch`.
    """
    examples = jax.tree.map(lambda *a: jnp.concatenate(a, axis=-1), sample, later)
    _, largest = lax.top_k(examples.priorities, sample.indices.shape[0])
    return jax.tree.map(lambda a: a[..., largest], examples)


def around_quantiles(
    sample: Sample, count: int, quantiles: Sequence[float], k: int
) -> Best:
    """Returns the examples of a sample around quantiles of the scores.

    Args:
        sample: the sample of a whole stream.
        count: the number of examples in the stream.
        quantiles: the shares of the examples that score lower, between 0 and 1.
        k: the number of examples returned for each quantile.

    Returns:
        Examples by rising score and, of equal scores, in the order of the stream. All
        arrays are NumPy's, `(units, quantiles, k)`.
    """
    units, size = sample.scores.shape
    count = min(count, size)
    # Real examples come before empty slots, as their priorities are not negative.
    shared = np.broadcast_to(np.asarray(sample.indices)[None], (units, size))
    parts = Best(shared, *jax.tree.map(np.asarray, (sample.scores, sample.details)))
    parts = jax.tree.map(lambda part: part[:, :count], parts)
    order = np.lexsort((parts.indices, parts.scores), axis=-1)
    at = np.full((units, len(quantiles), k), -1)
    for i, q in enumerate(quantiles):
        width = min(k, count)
        low = round(q * max(count - 1, 0)) - width // 2
        low = min(max(low, 0), count - width)
        at[:, i, :width] = order[:, low : low + width]

    def rows_at(part: np.ndarray) -> np.ndarray:
        missing = np.nan if np.issubdtype(part.dtype, np.inexact) else -1
        columns = np.concatenate([part, np.full((units, 1), missing, part.dtype)], 1)
        rows = np.take_along_axis(columns, at.reshape(units, -1), axis=1)
        return rows.reshape(at.shape)

    return jax.tree.map(rows_at, parts)
