r"""A linear task in which the weights of a perfect model are not the explanation.

$$x = a_s\,y + a_d\,\epsilon$$

The target $y$ is in the data along the *signal* direction $a_s$; along the *distractor*
direction $a_d$ the data vary for reasons that have nothing to do with it. To read $y$,
a model must cancel the distractor: its weights $w$ have $w^\top a_s = 1$ and $w^\top
a_d = 0$, so they do not point along the signal unless $a_s \perp a_d$.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import check_choice
from jaxinterp.data.examples import draw
from jaxinterp.types import Key

Target = Literal["continuous", "binary"]

# Larger directions and strengths would leave the range of float32.
LARGEST = 1e15
STRONGEST = 1e4
# How large the terms may be that the filter has to cancel: float32 rounds them by 3e-7
# of their size, and thus the target by 0.01.
LARGEST_TERMS = 3e4


class LinearDistractor(NamedTuple):
    """Inputs, targets, and the directions that made them.

    Attributes:
        inputs: $x$, one row for each example.
        targets: $y$, uniform in [-1, 1] or, if binary, one of -1 and 1.
        signals: $a_s y$, the part of each input that depends on the target.
        pattern: $a_s$, the direction that an ideal explanation finds.
        optimal_filter: $w$, the weights of the optimal linear model; if several models
            are optimal, those of the smallest norm.
    """

    inputs: Float[Array, "count features"]
    targets: Float[Array, " count"]
    signals: Float[Array, "count features"]
    pattern: Float[Array, " features"]
    optimal_filter: Float[Array, " features"]

    @property
    def labels(self) -> Any:
        """The sign of the target as a class, 0 or 1."""
        return (self.targets > 0).astype(jnp.int32)

    @property
    def distractors(self) -> Float[Array | np.ndarray, "count features"]:
        r"""The part of each input that does not depend on $y$, $a_d \epsilon$."""
        return self.inputs - self.signals

    @property
    def attributions(self) -> Float[Array | np.ndarray, "count features"]:
        r"""The ideal attribution of each input, $w \odot a_s y$; its sum is $y$."""
        return self.optimal_filter[None, :] * self.signals


def linear_distractor(
    key: Key,
    count: int,
    *,
    signal: Any = (1.0, 0.0),
    distractor: Any = (1.0, 1.0),
    strength: float = 1.0,
    target: Target = "continuous",
) -> LinearDistractor:
    r"""Draws inputs that mix a signal with a distractor.

    The optimal linear model is known: $w = P a_s / (a_s^\top P a_s)$, where $P$
    projects onto what is orthogonal to the distractors; $w^\top x = y$, and no other
    such $w$ is shorter. In float32 the two differ by some 2e-7 at `strength` 1, by
    0.002 at 10,000, and by 0.01 at most: distractors that would do worse are an error.
    At `strength` 0 there are none and $w = a_s / a_s^\top a_s$. The pattern is
    $a_s = \mathrm{cov}(x, y) / \mathrm{var}(y)$.

    An ideal explanation of the model finds `pattern`, the direction of the target in
    the data; a gradient finds `optimal_filter`, and so features that tell nothing about
    $y$. For each input the ideal signal is in `signals`, and the ideal attribution in
    `attributions`.

    Args:
        key: the random key of the data. Example `i` depends on `fold_in(key, i)` alone.
        count: how many examples to draw.
        signal: $a_s$, the direction of the target, `(features,)`. The default is that
            of Kindermans et al.
        distractor: $a_d$, a direction `(features,)`, or several, one in each row.
        strength: standard deviation of $\epsilon$.
        target: whether targets are uniform in [-1, 1], `"continuous"`, or one of -1 and
            1, `"binary"`.

    Returns:
        The inputs, the targets and the directions.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if the directions do not fit or are not finite, if the strength is
            negative or above 10,000, if the distractors are so strong that float32
            would round the target away, or if no model can tell the signal from the
            distractors.

    Example:
        >>> data = linear_distractor(jax.random.key(0), 100)
        >>> data.pattern.tolist(), data.optimal_filter.tolist()
        ([1.0, 0.0], [1.0, -1.0])
        >>> answers = data.inputs @ data.optimal_filter
        >>> bool(jnp.allclose(answers, data.targets, atol=1e-5))
        True

    References:
        Haufe et al., 2014, section 2 and theorem 1, for patterns and filters
        [haufe2014interpretation]; Kindermans et al., 2018, section 2, eq. 1, for the
        example in two dimensions [kindermans2018learning].
    """
    check_choice("target", target, get_args(Target), call="linear_distractor")
    a_s, a_d = _directions(signal, distractor, strength)
    weights = _optimal_filter(a_s, a_d)
    directions = jnp.asarray(a_s, jnp.float32), jnp.asarray(a_d, jnp.float32)
    inputs, targets, signals = draw(
        "linear_distractor", _Example(target), key, count, *directions
    )
    return LinearDistractor(
        inputs, targets, signals, directions[0], jnp.asarray(weights, jnp.float32)
    )


@dataclasses.dataclass(frozen=True)
class _Example:
    """Draws one input with its target and its signal."""

    target: Target

    def __call__(
        self,
        key: Key,
        signal: Float[Array, " features"],
        distractors: Float[Array, "number features"],
    ) -> tuple[Array, Array, Array]:
        key_y, key_noise = jax.random.split(key)
        y = jax.random.uniform(key_y, (), jnp.float32, -1, 1)
        if self.target == "binary":
            y = jnp.where(y < 0, -1.0, 1.0)
        epsilon = jax.random.normal(key_noise, distractors.shape[:1], jnp.float32)
        return signal * y + epsilon @ distractors, y, signal * y


def _directions(
    signal: Any, distractor: Any, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the signal, and the distractors multiplied by their strength."""
    if not 0 <= strength <= STRONGEST:
        raise ValueError(
            f"`strength` must lie between 0 and {STRONGEST:g}, and is {strength}: "
            "beside a stronger distractor, float32 rounds the target away."
        )
    a_s = np.asarray(signal, np.float64)
    a_d = np.atleast_2d(np.asarray(distractor, np.float64))
    if a_s.ndim != 1 or a_d.ndim != 2 or a_d.shape[1] != a_s.shape[0]:
        raise ValueError(
            "`signal` has the shape (features,), and `distractor` the same or (number, "
            f"features). They have {a_s.shape} and {np.shape(distractor)}."
        )
    for name, array in (("signal", a_s), ("distractor", a_d)):
        if not (np.abs(array) <= LARGEST).all():
            raise ValueError(
                f"`{name}` must have entries between {-LARGEST:g} and {LARGEST:g}, and "
                f"is {array.tolist()}."
            )
    # Rounded as in the data: what is too weak for float32 need not be canceled.
    return a_s, (strength * a_d).astype(np.float32).astype(np.float64)


def _optimal_filter(a_s: np.ndarray, a_d: np.ndarray) -> np.ndarray:
    rest = a_s - np.linalg.pinv(a_d) @ (a_d @ a_s)
    if not rest @ rest > 1e-12 * max(a_s @ a_s, 1e-300):
        raise ValueError(
            "The signal lies in the span of the distractors, so no linear model can "
            f"tell them apart: signal {a_s.tolist()}, distractor {a_d.tolist()}."
        )
    weights = rest / (rest @ a_s)
    terms = np.abs(weights) @ (np.abs(a_s) + np.abs(a_d).sum(axis=0))
    if terms > LARGEST_TERMS:
        raise ValueError(
            f"To read the target, a model must cancel terms that add up to "
            f"{terms:.2g}, and beyond {LARGEST_TERMS:g} float32 rounds the target "
            "away. Write a smaller `strength` or `distractor`, or one less like "
            "`signal`."
        )
    return weights
