"""The pictures of a data set that excite units most, least, hardly, and as usual.

A picture that was optimized says what a unit can be driven by; these say what does
drive it. People learn more from them (Borowski et al., 2021), so show both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.checks import checked_integer
from jaxinterp.keys import check_key, steady
from jaxinterp.loop.stream import (
    Piece,
    check_outside,
    everywhere,
    over_stream,
    trouble_in,
)
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.scorer import (
    By,
    Scorer,
    check_alone,
    check_places,
    described_units,
    scorer,
)
from jaxinterp.types import ApplyFn


class Examples(NamedTuple):
    """Example pictures of one sort for each unit, `(units, ...)`.

    Attributes:
        indices: the numbers of the pictures in the stream; -1 where there were too few.
        scores: their scores, in the units of the objective; NaN where there were too
            few.
        positions: the place, such as a row and a column, on the last axis, that scores
            highest; of `bottom` the one that scores lowest, of `near_zero` the one
            nearest to zero, unless a picture's score is that of its best place; -1
            where there were too few. That axis has length 0 if the objective is not
            the mean over the places of one site.
    """

    indices: np.ndarray
    scores: np.ndarray
    positions: np.ndarray


class Sample(NamedTuple):
    """A random sample of the pictures, the same for all units.

    Attributes:
        priorities: `(sample,)`; the pictures with the largest random numbers are kept.
        indices: `(sample,)`.
        scores: `(units, sample)`.
        places: number of the best place, `(units, sample)`.
    """

    priorities: Any
    indices: Any
    scores: Any
    places: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """What a stream left behind; it does not grow with it.

    Attributes:
        seen: number of pictures so far.
        indices: of the top, the bottom and those near zero, `(3, units, k)`.
        scores: of these.
        places: number of the place of each.
        sample: for the quantiles.
        by: what a picture is scored by, as in `dataset_examples`.
        shape: that of the places, which their numbers count.
        units: what tells the units apart: their integers, and what is read.
    """

    seen: Any
    indices: Any
    scores: Any
    places: Any
    sample: Sample
    by: By = dataclasses.field(metadata={"static": True})
    shape: tuple[int, ...] | None = dataclasses.field(metadata={"static": True})
    units: str = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class DatasetExamples:
    """Examples of each unit.

    Attributes:
        top: the highest scores first, `(units, k)`.
        bottom: the lowest first.
        near_zero: the smallest magnitudes first.
        quantiles: for each quantile, pictures around it by rising score,
            `(units, quantiles, k)`.
        state: to go on with further batches, `resume=`.
    """

    top: Examples
    bottom: Examples
    near_zero: Examples
    quantiles: Examples
    state: State

    @property
    def by(self) -> By:
        """What a picture was scored by, as in `dataset_examples`."""
        return self.state.by


def dataset_examples(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    batches: Iterable[Any],
    *,
    k: int = 9,
    by: By = "picture",
    quantiles: Sequence[float] | float = (),
    sample_size: int = 2048,
    key: Any = None,
    resume: State | None = None,
    progress: bool = True,
) -> DatasetExamples:
    r"""Finds the pictures of a stream that units respond to, and those they do not.

    All units are served by one pass of the model over each picture. Of equal scores the
    earlier picture comes first, and no result but that of rounding depends on how the
    stream is cut into batches. Time grows with the pictures; memory with the units
    times `k`, `sample_size` and, for one batch, the places, and not with the pictures.
    The first batch says how many pictures are taken at once. Batches spread over
    several devices are scored there.

    The quantile $q$ is that of a uniform random sample: its rank among all pictures is
    $q$ with a standard error of $\sqrt{q(1 - q) / \text{sample size}}$; without one if
    the sample holds every picture.

    Args:
        apply_fn: the model.
        objective: an objective of one or many units, or a string for it:
            `channel("Conv_0")`, or `"Conv_0:*"`, is all channels of a layer. Schedules
            stand at step 0.
        variables: the weights of the model.
        batches: arrays of pictures, with the pictures on the first axis.
        k: the number of pictures of each sort that a unit gets.
        by: whether a picture has the score of the objective, or that of its best place,
            as if that place were all there is of the activation.
        quantiles: the quantiles of the scores to show, between 0 and 1.
        sample_size: the number of pictures that the quantiles are taken from.
        key: the random key of that sample, if there are quantiles.
        resume: the `state` of an earlier call with the same arguments, which cannot all
            be told from it: weights, directions and the key are up to you. Its pictures
            come before those of `batches`. One long call gives the same.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        Pictures and scores for each unit, in the units of the objective.

    Raises:
        FloatingPointError: if a score is not a number; names the batch.
        TypeError: if a batch is not an array.
        ValueError: if a hyperparameter is out of range, pictures differ in shape, or
            there are none; if `resume` is of another call; if `by="place"` and the
            objective is not a mean over places.
        AddressError: if the model has no such site.

    Example:
        >>> from jaxinterp.objectives.unit import channel
        >>> model = lambda w, x: jnp.tanh(w * x)
        >>> pictures = jnp.array([[[1.0]], [[-3.0]], [[2.0]]])
        >>> found = dataset_examples(model, channel("tanh"), 1.0, [pictures], k=2)
        >>> found.top.indices.tolist(), found.bottom.indices.tolist()
        ([[2, 0]], [[1, 0]])

    References:
        Olah et al., 2017, "Why visualize by optimization?" [olah2017feature]; Borowski
        et al., 2021 (what people learn from examples) [borowski2021exemplary].
    """
    quantiles = tuple(np.atleast_1d(np.asarray(quantiles, float)).tolist())
    _check(k, quantiles, sample_size, key)
    key = None if key is None else steady(key)
    places: list[tuple[int, ...]] = []

    def start(images: Any) -> tuple[Any, State]:
        check_outside("dataset_examples", variables, objective)
        found, bound = scorer(apply_fn, objective, variables, images)
        check_alone(bound, "dataset_examples")
        check_places(found, by)
        places.append(found.places or ())
        size = sample_size if quantiles else 0
        dtype = found.dtype(variables, bound, images)
        state = _nothing(found, k, size, dtype, by, described_units(bound))
        if resume is not None:
            _check_resume(resume, state)
            state = resume
        placed = everywhere(images)
        score = jax.jit(lambda *given: _scores(found, by, *given), out_shardings=placed)

        def update(state: State, images: Any, count: Any) -> tuple[State, Any]:
            scores, best, trouble = score(variables, bound, images, count)
            return _merged(state, scores, best, count, key), trouble

        return update, state if placed is None else jax.device_put(state, placed)

    state = over_stream(
        batches, start, _complain, "dataset examples" if progress else ""
    )
    return _found(state, places[0], k, quantiles)


# --- One piece of the stream ----------------------------------------------------------


def _nothing(
    found: Scorer, k: int, size: int, dtype: Any, by: By, called: str
) -> State:
    units = found.count

    def missing(*shape: int) -> Any:
        return jnp.full(shape, -1, jnp.int32)

    kept, sampled = (3, units, k), (units, size)
    sample = Sample(
        missing(size),
        missing(size),
        jnp.full(sampled, jnp.nan, dtype),
        missing(*sampled),
    )
    return State(
        jnp.zeros((), jnp.int32),
        missing(*kept),
        jnp.full(kept, jnp.nan, dtype),
        missing(*kept),
        sample,
        by,
        found.places,
        called,
    )


def _scores(
    found: Scorer, by: By, variables: Any, bound: Objective, images: Any, count: Any
) -> tuple[Any, Any, Any]:
    """Scores `(units, pictures)`, for each sort the place that counts, and trouble."""
    scores, places = found(variables, bound, images)
    best = jnp.full((3, *scores.shape), -1, jnp.int32)
    if places is not None:
        ranked = (places, places, places)
        if by == "picture":
            ranked = (places, -places, -jnp.abs(places))
        best = jnp.stack([r.argmax(axis=-1) for r in ranked]).astype(jnp.int32)
        scores = places.max(axis=-1) if by == "place" else scores
    trouble = trouble_in(jnp.isnan(scores), count)
    scores = jnp.where(scores == 0, 0, scores)  # zeros have no sign here
    return scores, best, trouble


@jax.jit
def _merged(state: State, scores: Any, best: Any, count: Any, key: Any) -> State:
    number = jnp.arange(scores.shape[1], dtype=jnp.int32)
    indices = jnp.where(number < count, state.seen + number, -1)
    shape = (*state.scores.shape[:-1], scores.shape[1])
    new = (
        jnp.broadcast_to(indices[None, None], shape),
        jnp.broadcast_to(scores[None], shape),
        best,
    )
    old = (state.indices, state.scores, state.places)
    both = [jnp.concatenate(pair, axis=-1) for pair in zip(old, new, strict=True)]
    # What was there is sorted, earlier, and in front: of equal ranks `top_k` takes it.
    _, order = lax.top_k(_ranks(both[0], both[1]), state.scores.shape[-1])
    first, second, third = (jnp.take_along_axis(b, order, axis=-1) for b in both)
    sample = state.sample
    if sample.indices.size:
        sample = _resampled(sample, indices, scores, best[0], key)
    seen = state.seen + count
    return dataclasses.replace(
        state, seen=seen, indices=first, scores=second, places=third, sample=sample
    )


def _ranks(indices: Any, scores: Any) -> Any:
    """What is largest for the best of each sort, and least where there is none."""
    signed = jnp.stack([scores[0], -scores[1], -jnp.abs(scores[2])])
    signed = jnp.maximum(signed, jnp.finfo(scores.dtype).min)
    return jnp.where(indices < 0, -jnp.inf, signed)


def _resampled(
    sample: Sample, indices: Any, scores: Any, best: Any, key: Any
) -> Sample:
    """Keeps the pictures with the largest random numbers, each drawn from its index."""

    def priority(index: Any) -> Any:
        bits = jax.random.bits(jax.random.fold_in(key, index), (), jnp.uint32)
        return (bits >> 1).astype(jnp.int32)

    fresh = jnp.where(indices < 0, -1, jax.vmap(priority)(indices))
    priorities = jnp.concatenate([sample.priorities, fresh])
    _, order = lax.top_k(priorities, sample.indices.shape[0])
    return Sample(
        priorities[order],
        jnp.concatenate([sample.indices, indices])[order],
        jnp.concatenate([sample.scores, scores], axis=1)[:, order],
        jnp.concatenate([sample.places, best], axis=1)[:, order],
    )


# --- From the state to the result -----------------------------------------------------


def _found(
    state: State, places: tuple[int, ...], k: int, quantiles: Sequence[float]
) -> DatasetExamples:
    top, bottom, near_zero = (
        _chosen(state.indices[i], state.scores[i], state.places[i], places)
        for i in range(3)
    )
    units, sample = state.scores.shape[1], state.sample
    count = min(int(state.seen), sample.indices.shape[0])
    shape = (units, sample.indices.shape[0])
    # Pictures at hand come first, as they have priorities; equal scores by number.
    indices = np.broadcast_to(np.asarray(sample.indices)[None], shape)[:, :count]
    scores = np.asarray(sample.scores)[:, :count]
    best = np.asarray(sample.places)[:, :count]
    order = np.lexsort((indices, scores), axis=-1)
    at = np.full((units, len(quantiles), k), -1)
    for i, q in enumerate(quantiles):
        size = min(k, count)
        low = round(q * max(count - 1, 0)) - size // 2
        low = min(max(low, 0), count - size)
        at[:, i, :size] = order[:, low : low + size]

    def taken(part: np.ndarray, missing: Any) -> np.ndarray:
        padded = np.concatenate([part, np.full((units, 1), missing, part.dtype)], 1)
        flat = np.take_along_axis(padded, at.reshape(units, -1), axis=1)
        return flat.reshape(at.shape)

    around = _chosen(taken(indices, -1), taken(scores, np.nan), taken(best, -1), places)
    return DatasetExamples(top, bottom, near_zero, around, state)


def _chosen(indices: Any, scores: Any, best: Any, places: tuple[int, ...]) -> Examples:
    best = np.asarray(best)
    positions = np.full((*best.shape, len(places)), -1, np.int32)
    if places:
        at = np.stack(np.unravel_index(np.maximum(best, 0), places), axis=-1)
        positions[best >= 0] = at[best >= 0]
    return Examples(np.asarray(indices), np.asarray(scores), positions)


def _check(k: int, quantiles: Sequence[float], sample_size: int, key: Any) -> None:
    checked_integer("k", k, 1, call="dataset_examples")
    checked_integer("sample_size", sample_size, 0, call="dataset_examples")
    wrong = [q for q in quantiles if not 0 <= q <= 1]
    if wrong:
        raise ValueError(f"Quantiles lie between 0 and 1, and there is {wrong[0]}.")
    if key is not None:
        check_key("dataset_examples", key)
    if not quantiles:
        return
    if sample_size < k:
        raise ValueError(
            f"`sample_size` must be at least `k`, and is {sample_size} for k={k}."
        )
    if key is None:
        raise ValueError(
            "Quantiles are those of a random sample, which needs a key. Write "
            "`dataset_examples(..., quantiles=(0.5,), key=jax.random.key(0))`."
        )


def _check_resume(resume: Any, expected: State) -> None:
    def described(state: State) -> str:
        (_, units, k), size = state.scores.shape, state.sample.indices.shape[0]
        kind = f"a sample of {size}, {state.scores.dtype} and by={state.by!r}"
        where = f"places {state.shape} of {state.units}"
        return f"{units} units, k={k}, {kind}, {where}"

    if not isinstance(resume, State):
        raise TypeError(
            "`resume` is the `state` of what an earlier call returned, and is "
            f"{type(resume).__name__}. Write `resume=examples.state`."
        )
    if described(resume) != described(expected):
        raise ValueError(
            f"`resume` is for {described(resume)}, and this call for "
            f"{described(expected)}.\nGo on with the arguments of the earlier call."
        )


def _complain(piece: Piece, trouble: np.ndarray) -> None:
    unit, picture = trouble.tolist()
    if picture >= 0:
        raise FloatingPointError(
            f"The score of unit {unit} is not a number for picture "
            f"{piece.start + picture} of the stream, in batch {piece.batch}.\n"
            "Look whether the picture is in order; `jax.debug_nans(True)` shows where "
            "the model fails."
        )
