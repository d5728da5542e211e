r"""How the activations of units are distributed over a data set, in bounded memory.

A magnitude is counted in the bin $i$ with $\gamma^{i-1} < |x| \le \gamma^i$; a number
in the bin is at most a share $\alpha$ away from $2 \gamma^i / (\gamma + 1)$ if $\gamma
= (1 + \alpha) / (1 - \alpha)$.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.loop.stream import (
    Piece,
    check_outside,
    everywhere,
    over_stream,
    trouble_in,
)
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.scorer import By, Scorer, check_alone, check_places, scorer
from jaxinterp.types import ApplyFn

# Magnitudes between these are told apart; smaller ones are zero.
SMALLEST, LARGEST = 1e-9, 1e9

# A bin counts in 32 bits.
_MOST = 2**32 - 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Distribution:
    """Activations of each unit, counted.

    Attributes:
        count: of values, the same for each unit.
        mean: `(units,)`.
        squares: the sum of the squared distances from the mean, `(units,)`.
        minimum: `(units,)`.
        maximum: `(units,)`.
        counts: of each bin, from the most negative up, `(units, bins)`.
        accuracy: the relative error of a quantile.
        by: what was counted, as in `activation_distribution`.
    """

    count: int
    mean: Any
    squares: Any
    minimum: Any
    maximum: Any
    counts: Any
    accuracy: float = dataclasses.field(metadata={"static": True})
    by: By = dataclasses.field(metadata={"static": True})

    @property
    def variance(self) -> Any:
        """The mean squared distance from the mean, `(units,)`."""
        return self.squares / self.count

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins, `(bins + 1,)`, for a plot of `counts`."""
        base, first, last = _bins(self.accuracy)
        positive = base ** np.arange(first - 1.0, last + 1.0)
        return np.concatenate([-positive[::-1], positive])

    def quantile(self, q: float) -> np.ndarray:
        """Returns the value below which a share of the values of each unit lies.

        It is that of rank `floor(q (count - 1))`, up to the relative error `accuracy`.

        Args:
            q: the share, between 0 and 1.

        Raises:
            ValueError: if it is not.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"A quantile lies between 0 and 1, and is {q}.")
        base, first, last = _bins(self.accuracy)
        positive = 2 * base ** np.arange(first, last + 1.0) / (base + 1)
        values = np.concatenate([-positive[::-1], [0.0], positive])
        rank = math.floor(q * (self.count - 1))
        below = np.cumsum(np.asarray(self.counts, np.int64), axis=1)
        found = values[(below <= rank).sum(axis=1)]
        return np.clip(found, np.asarray(self.minimum), np.asarray(self.maximum))


def activation_distribution(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    batches: Iterable[Any],
    *,
    by: By = "picture",
    accuracy: float = 0.01,
    resume: Distribution | None = None,
    progress: bool = True,
) -> Distribution:
    r"""Counts how often units are how active on a stream of pictures.

    All units are served by one pass of the model over each picture, in memory that does
    not grow with the stream: $41 / \alpha$ counts for a unit. Mean and variance are
    merged batch by batch and exact but for rounding; extremes are exact; quantiles have
    the relative error $\alpha$ for magnitudes between 1e-9 and 1e9, of which smaller
    ones count as zero and larger ones as 1e9.

    Args:
        apply_fn: the model.
        objective: an objective of one or many units, or a string for it:
            `channel("Conv_0")`, or `"Conv_0:*"`, is all channels of a layer.
        variables: the weights of the model.
        batches: arrays of pictures, with the pictures on the first axis.
        by: whether the score of each picture is counted, or that of every place of the
            map on its own, as for a threshold on activations.
        accuracy: $\alpha$, the relative error of a quantile.
        resume: what an earlier call with the same arguments returned, to go on.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        Counts, moments and extremes for each unit, in the units of the objective.

    Raises:
        FloatingPointError: if a score is not finite; names the batch.
        OverflowError: if there are more values for a unit than 32 bits can count.
        TypeError: if a batch is not an array.
        ValueError: if a hyperparameter is out of range, pictures differ in shape, or
            there are none; if `resume` is of another call; if `by="place"` and the
            objective is not a mean over places.
        AddressError: if the model has no such site.

    Example:
        >>> from jaxinterp.objectives.unit import channel
        >>> found = activation_distribution(
        ...     lambda w, x: jnp.tanh(w * x), channel("tanh"), 1.0,
        ...     [jnp.zeros((3, 1, 2)), jnp.ones((1, 1, 2))])
        >>> found.count, found.quantile(0.5).tolist(), round(float(found.mean[0]), 3)
        (4, [0.0, 0.0], 0.19)

    References:
        Masson et al., 2019, section 2 (bins) [masson2019ddsketch]; Chan et al., 1983
        (moments of two samples together) [chan1983algorithms]; Bau et al., 2017,
        section 2.2 (quantiles of all places) [bau2017network].
    """
    if not 1e-5 <= accuracy < 1:
        raise ValueError(f"`accuracy` lies between 1e-5 and 1, and is {accuracy}.")

    def start(images: Any) -> tuple[Any, Any]:
        check_outside("activation_distribution", variables, objective)
        found, bound = scorer(apply_fn, objective, variables, images)
        check_alone(bound, "activation_distribution")
        check_places(found, by)
        each = math.prod(found.places or ()) if by == "place" else 1
        count, sums = (
            0,
            _nothing(found.count, accuracy, found.dtype(variables, bound, images)),
        )
        if resume is not None:
            _check_resume(resume, sums, accuracy, by)
            count, sums = (
                resume.count,
                _Sums(*(getattr(resume, f) for f in _Sums._fields)),
            )
        placed = everywhere(images)
        score = jax.jit(lambda *given: _values(found, by, *given), out_shardings=placed)

        def update(state: tuple[int, _Sums], images: Any, added: Any) -> Any:
            count, sums = state
            total = count + int(added) * each
            if total > _MOST:
                raise OverflowError(
                    f"There are {total} values for a unit, and a bin counts to {_MOST}."
                    "\nTake fewer pictures, or by='picture'."
                )
            values, trouble = score(variables, bound, images, added)
            seen = np.asarray(count, values.dtype)
            return (total, _merged(sums, values, seen, added, accuracy)), trouble

        if placed is not None:
            sums = jax.device_put(sums, placed)
        return update, (count, sums)

    name = "distribution" if progress else ""
    count, sums = over_stream(batches, start, _complain, name)
    return Distribution(
        count,
        mean=sums.mean,
        squares=sums.squares,
        minimum=sums.minimum,
        maximum=sums.maximum,
        counts=sums.counts,
        accuracy=accuracy,
        by=by,
    )


class _Sums(NamedTuple):
    """The part of a distribution that lies on the device."""

    mean: Any
    squares: Any
    minimum: Any
    maximum: Any
    counts: Any


def _bins(accuracy: float) -> tuple[float, int, int]:
    """The base of the bins, and the numbers of the first and the last positive one."""
    base = (1 + accuracy) / (1 - accuracy)
    first = math.ceil(math.log(SMALLEST, base))
    return base, first, math.ceil(math.log(LARGEST, base))


def _nothing(units: int, accuracy: float, dtype: Any) -> _Sums:
    _, first, last = _bins(accuracy)
    zero, bins = jnp.zeros(units, dtype), 2 * (last - first + 1) + 1
    counts = jnp.zeros((units, bins), jnp.uint32)
    return _Sums(zero, zero, zero + jnp.inf, zero - jnp.inf, counts)


def _values(
    found: Scorer, by: By, variables: Any, bound: Objective, images: Any, count: Any
) -> tuple[Any, Any]:
    """What is counted, `(units, pictures, values)`, and trouble."""
    scores = found(variables, bound, images)
    values = scores.places if by == "place" else scores.pictures[..., None]
    return values, trouble_in(~jnp.isfinite(values).all(axis=-1), count)


@functools.partial(jax.jit, static_argnames="accuracy")
def _merged(sums: _Sums, values: Any, seen: Any, count: Any, accuracy: float) -> _Sums:
    mean, squares, minimum, maximum, counts = sums
    units, pictures, places = values.shape
    is_real = jnp.broadcast_to(
        (jnp.arange(pictures) < count)[None, :, None], values.shape
    )
    added = (count * places).astype(values.dtype)
    own_mean = jnp.where(is_real, values, 0).sum((1, 2)) / added
    distance = jnp.where(is_real, values - own_mean[:, None, None], 0)
    apart, total = own_mean - mean, seen + added
    squares = squares + (distance**2).sum((1, 2)) + apart**2 * (seen * added / total)
    mean = mean + apart * (added / total)
    minimum = jnp.minimum(minimum, jnp.where(is_real, values, jnp.inf).min((1, 2)))
    maximum = jnp.maximum(maximum, jnp.where(is_real, values, -jnp.inf).max((1, 2)))

    at = _bin_of(values, accuracy).reshape(units, -1)
    ones = is_real.reshape(units, -1).astype(jnp.uint32)
    counts = jax.vmap(lambda row, at, one: row.at[at].add(one))(counts, at, ones)
    return _Sums(mean, squares, minimum, maximum, counts)


def _bin_of(values: Any, accuracy: float) -> Any:
    base, first, last = _bins(accuracy)
    size = jnp.abs(values)
    # Clipped before the logarithm: that of zero is no integer.
    within = jnp.clip(size, SMALLEST, LARGEST)
    power = jnp.ceil(jnp.log(within) / math.log(base)).astype(jnp.int32)
    offset = jnp.clip(power, first, last) - first + 1
    signed = jnp.where(values < 0, -offset, offset)
    return jnp.where(size < SMALLEST, 0, signed) + (last - first + 1)


def _check_resume(resume: Any, expected: _Sums, accuracy: float, by: By) -> None:
    if not isinstance(resume, Distribution):
        raise TypeError(
            "`resume` is what an earlier call returned, and is "
            f"{type(resume).__name__}."
        )

    def described(sums: Any, accuracy: float, by: By) -> str:
        kind = f"accuracy={accuracy}, by={by!r}"
        return f"{len(sums.counts)} units, {kind}, {sums.mean.dtype}"

    before = described(resume, resume.accuracy, resume.by)
    now = described(expected, accuracy, by)
    if before != now:
        raise ValueError(
            f"`resume` is for {before}, and this call for {now}.\n"
            "Go on with the arguments of the earlier call."
        )


def _complain(piece: Piece, trouble: np.ndarray) -> None:
    unit, picture = trouble.tolist()
    if picture >= 0:
        raise FloatingPointError(
            f"A score of unit {unit} is not finite for picture "
            f"{piece.start + picture} of the stream, in batch {piece.batch}.\n"
            "Look whether the picture is in order."
        )
