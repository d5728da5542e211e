"""The images of a data set that excite units most, least, hardly or in between.

An image that was optimized says what a unit can be driven by; these say what does
drive it. People learn more from them (Borowski et al., 2021), so show both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.keys import check_key, steady
from jaxinterp.loop import top_k
from jaxinterp.loop.stream import everywhere, first_invalid, over_stream
from jaxinterp.objectives.evaluate import count_units, unit_numbers
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.scorer import (
    By,
    Scorer,
    check_alone,
    check_places,
    description_of_units,
    scorer,
)
from jaxinterp.pytree import pytree, static
from jaxinterp.types import ApplyFn


class Examples(NamedTuple):
    """Example images of one sort for each unit, `(units, ...)`.

    Attributes:
        indices: the numbers of the images in the stream; -1 where there were too few.
        scores: their scores, in the units of the objective; NaN where there were too
            few.
        positions: the place, such as a row and a column, on the last axis, that scores
            highest; of `bottom` the one that scores lowest, of `near_zero` the one
            nearest to zero, unless an image's score is that of its best place; -1
            where there were too few. That axis has length 0 if the objective is not
            the mean over the places of one site.
    """

    indices: np.ndarray
    scores: np.ndarray
    positions: np.ndarray


# What the best examples are, in the order of `State.best`.
_ORDERS = (top_k.highest, top_k.lowest, top_k.nearest_zero)


@pytree
class State:
    """What a stream left behind; it does not grow with it.

    Attributes:
        n_images: the number of images so far.
        best: the top, the bottom and those near zero, `(units, k)` each; the detail is
            the number of the place, -1 where there is none.
        sample: the random sample that quantiles are taken from, with the same detail.
        by: the argument `by` of `dataset_examples`.
        shape: the shape of the places, which their numbers count.
        units: a text that tells the units from others: the sites that are read, and a
            digest of the units' integers.
    """

    n_images: Any
    best: tuple[top_k.Best, top_k.Best, top_k.Best]
    sample: top_k.Sample
    by: By = static()
    shape: tuple[int, ...] | None = static()
    units: str = static()


@pytree
class DatasetExamples:
    """Examples of each unit.

    Attributes:
        top: the images with the highest scores, highest first, `(units, k)`.
        bottom: the images with the lowest scores, lowest first, `(units, k)`.
        near_zero: the images whose scores have the smallest magnitudes, smallest first,
            `(units, k)`.
        quantiles: the images around each quantile by rising score,
            `(units, quantiles, k)`.
        state: the state to go on from with further batches, `resume=`.
        names: the name of each unit, such as `"Conv_1:3"` for a channel, or its number.
    """

    top: Examples
    bottom: Examples
    near_zero: Examples
    quantiles: Examples
    state: State
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    @property
    def by(self) -> By:
        """What an image was scored by, as in `dataset_examples`."""
        return self.state.by


def dataset_examples(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    batches: Iterable[Any],
    *,
    k: int = 9,
    by: By = "image",
    quantiles: Sequence[float] | float = (),
    sample_size: int = 2048,
    key: Any = None,
    resume: State | None = None,
    progress: bool = True,
) -> DatasetExamples:
    r"""Finds the images of a stream that units respond to, and those they do not.

    All units are served by one pass of the model over each image. Of equal scores the
    earlier image comes first, and no result but that of rounding depends on how the
    stream is cut into batches. Time grows with the images; memory with the units
    times `k`, `sample_size` and, for one batch, the places, and not with the images.
    The first batch says how many images are taken at once. Batches spread over
    several devices are scored there.

    The quantile $q$ is that of a uniform random sample: its rank among all images is
    $q$ with a standard error of $\sqrt{q(1 - q) / \text{sample size}}$; without one if
    the sample holds every image.

    Args:
        apply_fn: the model.
        objective: an objective of one or many units, or a string for it:
            `channel("Conv_0")`, or `"Conv_0:*"`, is all channels of a layer. Schedules
            stand at step 0.
        variables: the weights of the model.
        batches: arrays of images, with the images on the first axis.
        k: the number of images of each sort that a unit gets.
        by: whether an image has the score of the objective, or that of its best place,
            as if that place were all there is of the activation.
        quantiles: the quantiles of the scores to show, between 0 and 1.
        sample_size: the number of images that the quantiles are taken from.
        key: the random key of that sample, if there are quantiles.
        resume: the `state` of an earlier call with the same arguments, of which the
            weights, directions and the key cannot be checked. Its images come before
            those of `batches`. One long call gives the same.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        Images and scores for each unit, in the units of the objective.

    Raises:
        FloatingPointError: if a score is not a number; names the batch.
        TypeError: if a batch is not an array.
        ValueError: if a hyperparameter is out of range, images differ in shape, or
            there are none; if `resume` is of another call; if `by="place"` and the
            objective is not a mean over places.
        AddressError: if the model has no such site.

    Example:
        >>> from jaxinterp.objectives.unit import channel
        >>> model = lambda w, x: jnp.tanh(w * x)
        >>> images = jnp.array([[[1.0]], [[-3.0]], [[2.0]]])
        >>> examples = dataset_examples(model, channel("tanh"), 1.0, [images], k=2)
        >>> examples.top.indices.tolist(), examples.bottom.indices.tolist()
        ([[2, 0]], [[1, 0]])

    References:
        Olah et al., 2017, "Why visualize by optimization?" [olah2017feature]; Borowski
        et al., 2021 (what people learn from examples) [borowski2021exemplary].
    """
    quantiles = tuple(np.atleast_1d(np.asarray(quantiles, float)).tolist())
    _check(k, quantiles, sample_size, key)
    key = None if key is None else steady(key)
    descriptions: list[tuple[tuple[int, ...], tuple[str, ...]]] = []

    def start(images: Any) -> tuple[Any, State]:
        unit_scorer, bound = scorer(apply_fn, objective, variables, images)
        check_alone(bound, "dataset_examples")
        check_places(unit_scorer, by)
        descriptions.append((unit_scorer.places or (), _names(bound)))
        size = sample_size if quantiles else 0
        dtype = unit_scorer.dtype(variables, bound, images)
        state = _empty_state(
            unit_scorer, k, size, dtype, by, description_of_units(bound)
        )
        if resume is not None:
            _check_resume(resume, state)
            state = resume
        sharding = everywhere(images)
        score = jax.jit(
            lambda *arrays: _scores(unit_scorer, by, *arrays), out_shardings=sharding
        )

        def update(state: State, images: Any, count: Any) -> tuple[State, Any]:
            scores, places, invalid = score(variables, bound, images, count)
            return _with_batch(state, scores, places, count, key), invalid

        return update, state

    state = over_stream(
        *("dataset_examples", batches, start),
        constants=(variables, objective),
        invalid="not a number",
        name="dataset examples" if progress else "",
    )
    return _examples(state, *descriptions[0], k, quantiles)


# --- One piece of the stream ----------------------------------------------------------


def _empty_state(
    unit_scorer: Scorer, k: int, size: int, dtype: Any, by: By, units: str
) -> State:
    missing = np.int32(-1)
    best = top_k.empty_best(unit_scorer.count, k, dtype, missing)
    sample = top_k.empty_sample(unit_scorer.count, size, dtype, missing)
    n_images = jnp.zeros((), jnp.int32)
    return State(n_images, (best, best, best), sample, by, unit_scorer.places, units)


def _scores(
    unit_scorer: Scorer,
    by: By,
    variables: Any,
    bound: Objective,
    images: Any,
    count: Any,
) -> tuple[Any, Any, Any]:
    """Scores `(units, images)`, for each sort the best place, and what is invalid."""
    scores, places = unit_scorer(variables, bound, images)
    best = jnp.full((3, *scores.shape), -1, jnp.int32)
    if places is not None:
        orders = _ORDERS if by == "image" else 3 * (top_k.highest,)
        best = jnp.stack([order(places).argmax(axis=-1) for order in orders])
        best = best.astype(jnp.int32)
        scores = places.max(axis=-1) if by == "place" else scores
    invalid = first_invalid(jnp.isnan(scores), count)
    scores = jnp.where(scores == 0, 0, scores)  # zeros have no sign here
    return scores, best, invalid


@jax.jit
def _with_batch(state: State, scores: Any, places: Any, count: Any, key: Any) -> State:
    indices = top_k.numbers_in_stream(state.n_images, scores.shape[1], count)
    best = tuple(
        top_k.best_of(before, top_k.all_of_batch(indices, scores, place), order)
        for before, place, order in zip(state.best, places, _ORDERS, strict=True)
    )
    sample = state.sample
    if sample.indices.size:
        batch = top_k.sample_of_batch(key, indices, scores, places[0])
        sample = top_k.sample_of(sample, batch)
    return dataclasses.replace(
        state, n_images=state.n_images + count, best=best, sample=sample
    )


# --- From the state to the result -----------------------------------------------------


def _names(bound: Objective) -> tuple[str, ...]:
    """The site and the channel of each unit, or its number if it has no one channel."""
    numbers = unit_numbers(bound)
    if numbers is None:
        return tuple(map(str, range(count_units(bound))))
    site = ", ".join(map(str, bound.sites))
    return tuple(f"{site}:{number}" for number in numbers)


def _examples(
    state: State,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    k: int,
    quantiles: Sequence[float],
) -> DatasetExamples:
    around = top_k.around_quantiles(state.sample, int(state.n_images), quantiles, k)
    top, bottom, near_zero = (_with_positions(best, shape) for best in state.best)
    around = _with_positions(around, shape)
    return DatasetExamples(top, bottom, near_zero, around, state, names)


def _with_positions(best: top_k.Best, shape: tuple[int, ...]) -> Examples:
    numbers = np.asarray(best.details)
    positions = np.full((*numbers.shape, len(shape)), -1, np.int32)
    if shape:
        at = np.stack(np.unravel_index(np.maximum(numbers, 0), shape), axis=-1)
        positions[numbers >= 0] = at[numbers >= 0]
    return Examples(np.asarray(best.indices), np.asarray(best.scores), positions)


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
    def description(state: State) -> str:
        scores, size = state.best[0].scores, state.sample.indices.shape[0]
        units, k = scores.shape
        kind = f"a sample of {size}, {scores.dtype} and by={state.by!r}"
        where = f"places {state.shape} of {state.units}"
        return f"{units} units, k={k}, {kind}, {where}"

    if not isinstance(resume, State):
        raise TypeError(
            "`resume` is the `state` of what an earlier call returned, and is "
            f"{type(resume).__name__}. Write `resume=examples.state`."
        )
    if description(resume) != description(expected):
        raise ValueError(
            f"`resume` is for {description(resume)}, and this call for "
            f"{description(expected)}.\nGo on with the arguments of the earlier call."
        )
