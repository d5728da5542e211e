r"""Shares of features in the variance of a function: two samples, and what they tell.

$A$ and $B$ are samples of $N$ rows whose features are independent, and $C_j$ is $A$
with column $j$ of $B$. $a$, $b$ and $c_j$ are the values of the function there, minus
the mean over $a$ and $b$, which lets no constant swamp a product of two of them. $V$ is
the mean of $a^2$ and $b^2$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.keys import steady
from jaxinterp.types import Key

Estimator = Literal["jansen", "homma", "janon", "glen", "saltelli"]


def paired_points(key: Key, count: int, features: int) -> tuple[jax.Array, jax.Array]:
    """Returns two independent samples that fill the unit cube evenly.

    They are the halves of the first points of a Sobol sequence, whose binary digits are
    flipped at random, all points alike. So each point is uniform, and together they
    stay even. Of a Halton sequence, the first points lie on lines in many dimensions.

    Args:
        key: the random key, on which the flips depend.
        count: the number of rows $N$; powers of two are filled most evenly.
        features: the number of features.

    Returns:
        Two arrays `(count, features)` of float32 between 0 and 1.

    Raises:
        ValueError: if a number is not positive, or the sequence has not so many
            dimensions.

    References:
        Joe and Kuo, 2008, for the sequence [joe2008constructing].

    Example:
        >>> a, b = paired_points(jax.random.key(0), 8, 3)
        >>> (a * 8).astype(int).sum(0).tolist()  # each eighth once
        [28, 28, 28]
    """
    from scipy.stats import qmc

    count = checked_integer("count", count, 1, call="paired_points")
    features = checked_integer("features", features, 1, call="paired_points")
    if 2 * features > qmc.Sobol.MAXDIM:
        raise ValueError(
            f"The Sobol sequence has {qmc.Sobol.MAXDIM} dimensions, two for each of "
            f"{features} features are more.\nMake the features fewer, such as by "
            "`segments=jaxinterp.perturbation.grid_segments((height, width), 8)`."
        )
    sequence = qmc.Sobol(2 * features, scramble=False)
    digits = sequence.random(2 ** (count - 1).bit_length())[:count] * 2**32
    flips = jax.random.bits(steady(key), (1, 2 * features), jnp.uint32)
    cells = (jnp.asarray(digits.astype(np.uint32)) ^ flips) >> 9
    points = (cells.astype(jnp.float32) + 0.5) / 2**23
    return points[:, :features], points[:, features:]


def first_indices(of_inputs: Any, of_others: Any, mixed: Any) -> jax.Array:
    r"""Returns the share of the variance that each feature explains alone.

    $$S_j = \frac{\overline{b\,(c_j - a)}}{V}$$

    Args:
        of_inputs: the values at $A$, `(rows, ...)`.
        of_others: the values at $B$, `(rows, ...)`.
        mixed: the values at each $C_j$, `(features, rows, ...)`.

    Returns:
        An array `(features, ...)`; NaN if the values do not vary.

    References:
        Saltelli et al., 2010, table 2, estimator (b) [saltelli2010variance].

    Example:
        >>> a, b = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([0.0, 1.0, 0.0, 1.0])
        >>> first_indices(a, b, jnp.stack([b, a])).tolist()
        [1.0, 0.0]
    """
    a, b, c, variance = _centered(of_inputs, of_others, mixed)
    # From differences, so that a feature without effect gets exactly 0.
    return _mean(b * (c - a))[:, 0] / variance[:, 0]


def total_indices(
    of_inputs: Any, of_others: Any, mixed: Any, *, estimator: Estimator = "jansen"
) -> jax.Array:
    r"""Returns the share of the variance of each feature with all its interactions.

    | estimator | $T_j$ |
    |---|---|
    | `"jansen"` | $\overline{(a - c_j)^2} / 2V$ |
    | `"homma"` | $1 - \overline{a\,c_j} / V$ |
    | `"janon"` | $\overline{(a - c_j)^2} / 2V_j$, $V_j$ the variance of $a$ and $c_j$ |
    | `"glen"` | $1 - \mathrm{corr}(a, c_j)$ |
    | `"saltelli"` | $1 - (\overline{a\,c_j} - \bar b^2)/(\overline{b^2} - \bar b^2)$ |

    A feature without effect gets exactly 0 from Jansen's and Janon's, 0 but for
    rounding from Glen's, and what chance makes of it from the others.

    Args:
        of_inputs: the values at $A$, `(rows, ...)`.
        of_others: the values at $B$, `(rows, ...)`.
        mixed: the values at each $C_j$, `(features, rows, ...)`.
        estimator: which formula estimates the share.

    Returns:
        An array `(features, ...)`; NaN if the values do not vary.

    References:
        Jansen, 1999 [jansen1999analysis]; Homma and Saltelli, 1996, whose mean is here
        that of both samples [homma1996importance]; Janon et al., 2014
        [janon2014asymptotic]; Glen and Isaacs, 2012 [glen2012estimating]; Saltelli et
        al., 2008 [saltelli2008global].

    Example:
        >>> a, b = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([0.0, 1.0, 0.0, 1.0])
        >>> total_indices(a, b, jnp.stack([b, a])).tolist()
        [1.0, 0.0]
    """
    return ESTIMATORS[estimator](*_centered(of_inputs, of_others, mixed))[:, 0]


def _centered(of_inputs: Any, of_others: Any, mixed: Any) -> tuple[Any, Any, Any, Any]:
    """Returns a, b, c and V, whose axes are features, rows and those of the values."""
    a, b = of_inputs[None], of_others[None]
    center = (_mean(a) + _mean(b)) / 2
    a, b, c = a - center, b - center, mixed - center
    return a, b, c, (_mean(a * a) + _mean(b * b)) / 2


def _mean(values: Any) -> Any:
    """Returns the mean over rows, of which one is left."""
    return values.mean(axis=1, keepdims=True)


def _jansen(a: Any, b: Any, c: Any, variance: Any) -> Any:
    return _mean(jnp.square(c - a)) / 2 / variance


def _homma(a: Any, b: Any, c: Any, variance: Any) -> Any:
    return 1 - _mean(a * c) / variance


def _janon(a: Any, b: Any, c: Any, variance: Any) -> Any:
    center = _mean(a + c) / 2
    own = _mean(jnp.square(a - center) + jnp.square(c - center)) / 2
    return _jansen(a, b, c, own)


def _glen(a: Any, b: Any, c: Any, variance: Any) -> Any:
    a, c = a - _mean(a), c - _mean(c)
    return 1 - _mean(a * c) / jnp.sqrt(_mean(a * a) * _mean(c * c))


def _saltelli(a: Any, b: Any, c: Any, variance: Any) -> Any:
    square = jnp.square(_mean(b))
    return 1 - (_mean(a * c) - square) / (_mean(b * b) - square)


# From the centered values at A, B and every C, and V, to the indices.
ESTIMATORS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "jansen": _jansen,
    "homma": _homma,
    "janon": _janon,
    "glen": _glen,
    "saltelli": _saltelli,
}
