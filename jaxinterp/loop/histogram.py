r"""Moments, extremes and quantiles of a stream of values, in bounded memory.

A magnitude is counted in the bin $i$ with $\gamma^{i-1} < |x| \le \gamma^i$; a number
in the bin is at most a share $\alpha$ away from $2 \gamma^i / (\gamma + 1)$ if $\gamma
= (1 + \alpha) / (1 - \alpha)$. This share is called the accuracy.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_share

# Magnitudes between these are told apart; smaller ones are zero.
SMALLEST, LARGEST = 1e-9, 1e9

# A bin counts in 32 bits.
MOST = 2**32 - 1


class Histogram(NamedTuple):
    """The values of each unit, counted; their number is kept by who counts.

    Attributes:
        mean: the mean of the values, `(units,)`.
        squares: the sum of the squared distances from the mean, `(units,)`.
        minimum: the smallest value, `(units,)`.
        maximum: the largest value, `(units,)`.
        counts: the number of values in each bin, from the most negative bin up,
            `(units, bins)`.
    """

    mean: Any
    squares: Any
    minimum: Any
    maximum: Any
    counts: Any


def bins(accuracy: float) -> tuple[float, int, int]:
    r"""Returns the base $\gamma$ of the bins, and the first and the last exponent.

    There are as many negative bins as positive ones, and one of zeros between them.

    Args:
        accuracy: the relative error of a quantile.

    Example:
        >>> bins(0.5)
        (3.0, -18, 19)
    """
    base = (1 + accuracy) / (1 - accuracy)
    first = math.ceil(math.log(SMALLEST, base))
    return base, first, math.ceil(math.log(LARGEST, base))


def edges(accuracy: float) -> np.ndarray:
    """Returns the edges of the bins, `(bins + 1,)`, in the units of the values.

    Args:
        accuracy: the relative error of a quantile.
    """
    base, first, last = bins(accuracy)
    positive = base ** np.arange(first - 1.0, last + 1.0)
    return np.concatenate([-positive[::-1], positive])


def empty_histogram(units: int, accuracy: float, dtype: Any) -> Histogram:
    """Returns the histogram before the first value.

    Args:
        units: the number of units.
        accuracy: the relative error of a quantile.
        dtype: the dtype of the values.
    """
    _, first, last = bins(accuracy)
    zero, number = jnp.zeros(units, dtype), 2 * (last - first + 1) + 1
    counts = jnp.zeros((units, number), jnp.uint32)
    return Histogram(zero, zero, zero + jnp.inf, zero - jnp.inf, counts)


def with_batch(
    histogram: Histogram, before: Any, values: Any, count: Any, accuracy: float
) -> Histogram:
    """Returns a histogram with the values of one more batch.

    Args:
        histogram: the histogram of the values so far.
        before: the number of values of each unit in it, as a float.
        values: the values of the batch, `(units, examples, values)`.
        count: the number of real examples, at least one.
        accuracy: the relative error of a quantile.

    Example:
        >>> values = jnp.array([[[1.0], [3.0], [9.0]]])
        >>> some = with_batch(empty_histogram(1, 0.01, float), 0.0, values, 2, 0.01)
        >>> float(some.mean[0]), int(some.counts.sum())
        (2.0, 2)
    """
    units, examples, places = values.shape
    is_real = jnp.broadcast_to(
        (jnp.arange(examples) < count)[None, :, None], values.shape
    )
    n_new = jnp.asarray(count * places, values.dtype)
    mean = jnp.where(is_real, values, 0).sum((1, 2)) / n_new
    distance = jnp.where(is_real, values - mean[:, None, None], 0)
    bin_of = _bin_of(values, accuracy).reshape(units, -1)
    ones = is_real.reshape(units, -1).astype(jnp.uint32)
    counts = jax.vmap(lambda row, at, one: row.at[at].add(one))(
        jnp.zeros_like(histogram.counts), bin_of, ones
    )
    batch = Histogram(
        mean,
        (distance**2).sum((1, 2)),
        jnp.where(is_real, values, jnp.inf).min((1, 2)),
        jnp.where(is_real, values, -jnp.inf).max((1, 2)),
        counts,
    )
    return merged(histogram, before, batch, n_new)


def merged(one: Histogram, n_one: Any, other: Histogram, n_other: Any) -> Histogram:
    """Returns the histogram of two sets of values together.

    Args:
        one: the histogram of the first set.
        n_one: the number of values of each unit in it, as a float.
        other: the histogram of the second set, of the same accuracy.
        n_other: the number of values of each unit in that one, as a float.

    References:
        Chan et al., 1983 (moments of two samples together) [chan1983algorithms].
    """
    difference, total = other.mean - one.mean, n_one + n_other
    return Histogram(
        one.mean + difference * (n_other / total),
        one.squares + other.squares + difference**2 * (n_one * n_other / total),
        jnp.minimum(one.minimum, other.minimum),
        jnp.maximum(one.maximum, other.maximum),
        one.counts + other.counts,
    )


def quantile(histogram: Histogram, count: int, q: float, accuracy: float) -> np.ndarray:
    """Returns the value below which a share of the values of each unit lies.

    It is that of rank `floor(q (count - 1))`, up to the relative error `accuracy`.

    Args:
        histogram: the histogram of the values.
        count: the number of values of each unit in it.
        q: the share, between 0 and 1.
        accuracy: the relative error that the histogram was made for.

    Returns:
        One value for each unit, `(units,)`.

    Raises:
        ValueError: if `q` is not between 0 and 1.
    """
    if not is_share(q):
        raise ValueError(f"A quantile lies between 0 and 1, and is {q}.")
    base, first, last = bins(accuracy)
    positive = 2 * base ** np.arange(first, last + 1.0) / (base + 1)
    middles = np.concatenate([-positive[::-1], [0.0], positive])
    rank = math.floor(q * (count - 1))
    below = np.cumsum(np.asarray(histogram.counts, np.int64), axis=1)
    values = middles[(below <= rank).sum(axis=1)]
    return np.clip(values, np.asarray(histogram.minimum), np.asarray(histogram.maximum))


def _bin_of(values: Any, accuracy: float) -> Any:
    """The number of the bin of each value."""
    base, first, last = bins(accuracy)
    size = jnp.abs(values)
    # Clipped before the logarithm: that of zero is no integer.
    within = jnp.clip(size, SMALLEST, LARGEST)
    power = jnp.ceil(jnp.log(within) / math.log(base)).astype(jnp.int32)
    offset = jnp.clip(power, first, last) - first + 1
    position = jnp.sign(values).astype(jnp.int32) * offset
    return jnp.where(size < SMALLEST, 0, position) + (last - first + 1)
