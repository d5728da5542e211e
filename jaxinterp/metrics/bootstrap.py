"""How far a mean over examples would have come out otherwise with other examples."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_outside, checked_integer, checked_real, shown
from jaxinterp.keys import check_key
from jaxinterp.types import Key

_NORMAL = NormalDist()


class Interval(NamedTuple):
    """A mean over examples, and where it lies with some confidence.

    Attributes:
        mean: the mean over the examples that have a value; NaN if none has.
        low: the lower end of the interval; NaN if fewer than two examples have a value,
            or one is infinite.
        high: the upper end of the interval.
        n_valid: the number of examples that have a value.
    """

    mean: Any
    low: Any
    high: Any
    n_valid: Any


def bootstrap(
    values: Any, key: Key, *, confidence: float = 0.95, resamples: int = 2000
) -> Interval:
    r"""Returns the mean of values over examples, with its bootstrap interval.

    Examples are drawn again with replacement, all values of an example together, and
    the ends are quantiles of the means, corrected for bias and skewness (BCa): at
    $\Phi(z_0 + \frac{z_0 + z}{1 - a (z_0 + z)})$ with $z_0$ from the share of means
    below the true one, and $a$ from the means without each example.

    Args:
        values: values of each example on the first axis, `(examples, ...)`; NaN where
            one is not defined, which is left out. Where one is infinite the interval
            is NaN.
        key: the random key of what is drawn.
        confidence: the share of such intervals that hold the true mean.
        resamples: how often examples are drawn again.

    Returns:
        Arrays `(...)` of NumPy, float64.

    Raises:
        ValueError: if `confidence` is not between 0 and 1, or another number is too
            small.
        TypeError: if there is no key, if values are no real numbers of examples, or
            inside of `jax.jit`.

    References:
        Efron and Tibshirani, 1993, eqs. 14.10, 14.14, 14.15
        [efron1993introduction].

    Example:
        >>> interval = bootstrap(np.array([1.0, 2.0, 3.0, np.nan]), jax.random.key(0))
        >>> float(interval.mean), int(interval.n_valid)
        (2.0, 3)
        >>> bool(interval.low < 2.0 < interval.high)
        True
    """
    check_outside("bootstrap", "returns numbers to read", values, key)
    check_key("bootstrap", key)
    confidence = checked_real("confidence", confidence, 0, 1, call="bootstrap")
    resamples = checked_integer("resamples", resamples, 2, call="bootstrap")
    values = _real(values)
    shape = values.shape[1:]
    values = values.reshape(len(values), math.prod(shape))
    is_valid = ~np.isnan(values)
    counts = _counts(key, len(values), resamples)
    filled = np.where(is_valid, values, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (counts @ filled) / (counts @ is_valid)  # inf * 0 is NaN, see `_ends`
    ends = [
        _ends(column[valid], drawn, confidence)
        for column, valid, drawn in zip(values.T, is_valid.T, means.T, strict=True)
    ]
    n_valid = is_valid.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = filled.sum(axis=0) / n_valid
    low, high = np.array(ends).reshape(-1, 2).T
    return Interval(*(part.reshape(shape) for part in (mean, low, high, n_valid)))


def _real(values: Any) -> np.ndarray:
    """Values in double precision, with the examples on the first axis."""
    array = np.asarray(values)
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not array.ndim or not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise TypeError(
            "bootstrap() takes real numbers with the examples on the first axis, and "
            f"was given {shown(values)}."
        )
    return array.astype(np.float64)


def _counts(key: Any, n_examples: int, resamples: int) -> np.ndarray:
    """How often each example is drawn, `(resamples, examples)`."""
    drawn = jax.random.randint(key, (resamples, n_examples), 0, max(n_examples, 1))
    offsets = np.arange(resamples)[:, None] * n_examples
    flat = (np.asarray(drawn) + offsets).ravel()
    counts = np.bincount(flat, minlength=resamples * n_examples)
    return counts.reshape(resamples, n_examples).astype(np.float64)


def _ends(
    values: np.ndarray, means: np.ndarray, confidence: float
) -> tuple[float, float]:
    """The ends of the interval of one mean."""
    if len(values) < 2 or not np.isfinite(values).all():
        return np.nan, np.nan
    mean = values.mean()
    if np.ptp(values) == 0:
        return mean, mean
    means = means[~np.isnan(means)]
    below = ((means < mean).mean() + (means <= mean).mean()) / 2
    bias = _NORMAL.inv_cdf(np.clip(below, 1e-9, 1 - 1e-9))
    # The mean without an example is as far from the mean as that example, up to scale.
    distance = (values - mean) / np.abs(values - mean).max()
    skewness = (distance**3).sum() / (6 * (distance**2).sum() ** 1.5)
    levels = []
    for share in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + _NORMAL.inv_cdf(np.clip(share, 1e-9, 1 - 1e-9))
        levels.append(_NORMAL.cdf(bias + z / (1 - skewness * z)))
    low, high = np.quantile(means, levels)
    return float(low), float(high)
