"""The steps of `maximize`: one step of all units of a chunk, and all their steps.

What is static in a step is an `Ascent`; what it changes is a `State`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxinterp.featurevis.optimize.composite_schedule import Schedule, composite_at
from jaxinterp.featurevis.optimize.result import Result, State
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.transforms.transform import Compose
from jaxinterp.keys import folded
from jaxinterp.loop.steps import iterate
from jaxinterp.objectives.reader import Reader
from jaxinterp.objectives.scorer import scores_of_own_images
from jaxinterp.types import Images


@dataclasses.dataclass(frozen=True)
class Ascent:
    """What is static in a step.

    Attributes:
        model: the model as the objective reads it, with the rules of its backward pass.
        transform: the random transform of each image.
        optimizer: the optimizer that each unit has of its own.
        count: the number of images of each unit.
        samples: the number of transforms over which a step averages.
        rematerialize: whether the backward pass computes activations again.
    """

    model: Reader
    transform: Compose
    optimizer: optax.GradientTransformation
    count: int
    samples: int
    rematerialize: bool


def first_state(
    optimizer: optax.GradientTransformation,
    count: int,
    parametrization: Parametrization,
    keys: Any,
) -> State:
    """Returns the state that the units start from.

    Args:
        optimizer: the optimizer of each unit.
        count: the number of images of each unit.
        parametrization: the parametrization of the images.
        keys: the random key of each unit, `(units,)`.
    """

    def one(key: Any) -> Any:
        params = parametrization.init(jax.random.fold_in(key, 0), count)
        images = jax.eval_shape(parametrization.images, params)
        wide = jnp.promote_types(images.dtype, jnp.float32)  # small numbers add up
        return State(params, optimizer.init(params), jnp.zeros(images.shape[:-1], wide))

    return jax.vmap(one)(keys)


_first_state = jax.jit(first_state, static_argnums=(0, 1))


def step(
    ascent: Ascent, constants: Any, state: State, number: Any
) -> tuple[State, Any]:
    """Takes one step.

    Args:
        ascent: the static part of a step.
        constants: the variables of the model, the parametrization, the objective and
            the keys of the units, and the number of all steps.
        state: the state before the step.
        number: the number of the step, from 0.

    Returns:
        The next state, and the scores `(units, count)` before the step.
    """
    variables, parametrization, objective, keys, steps = constants
    progress = number / jnp.maximum(steps - 1, 1)  # 0 at the first, 1 at the last
    transform = ascent.transform.at(progress)
    model = jax.checkpoint(ascent.model) if ascent.rematerialize else ascent.model

    def view_of(key: Any, sample: Any, index: Any, image: Any) -> Any:
        # 0 is the key of the first images.
        return transform(folded(key, 1, index, number, sample), image)

    def total_score(images: Any) -> tuple[Any, Any]:
        samples, count = jnp.arange(ascent.samples), jnp.arange(ascent.count)
        views = jax.vmap(view_of, in_axes=(None, None, 0, 0))
        views = jax.vmap(views, in_axes=(0, None, None, 0))
        views = jax.vmap(views, in_axes=(None, 0, None, None))
        inputs = views(keys, samples, count, images)
        scores = scores_of_own_images(
            model, variables, objective, images, inputs, number
        ).mean(axis=0)
        return scores.sum(), scores

    images, to_params = jax.vjp(jax.vmap(parametrization.images), state.params)
    slope, scores = jax.grad(total_score, has_aux=True)(images)
    importance = state.importance
    importance += jnp.abs(slope).astype(importance.dtype).sum(axis=-1)
    descent = jax.tree.map(jnp.negative, *to_params(slope))
    updates, optimizer_state = jax.vmap(ascent.optimizer.update)(
        descent, state.optimizer_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return State(params, optimizer_state, importance), scores


def take_steps(
    ascent: Ascent,
    schedule: Schedule,
    constants: Any,
    start: State | None,
    numbers: range,
    snapshots: tuple[int, ...],
    tick: Callable[[int], Any],
) -> Result:
    """Takes all steps of the units of one chunk.

    Args:
        ascent: the static part of a step.
        schedule: the rules of the backward pass, by the number of the step from which
            on they hold.
        constants: what all steps read, as in `step`.
        start: the state to go on from; `None` at the beginning.
        numbers: the numbers of the steps.
        snapshots: the numbers of steps after which the images are kept.
        tick: a function that is called with the number of steps that have been done.

    Returns:
        A `Result` whose arrays have axes for the units and for the images of each in
        front: `(units, count, ...)`, and `(units, steps, count)` for the history.
    """
    parametrization, keys = constants[1], constants[3]
    state: Any = start
    if start is None:
        state = _first_state(ascent.optimizer, ascent.count, parametrization, keys)
    changes = {first for first, _ in schedule} | set(snapshots)
    inner = sorted(changes.intersection(numbers[1:]))
    history, kept_images = [], {}
    for first, stop in itertools.pairwise([numbers.start, *inner, numbers.stop]):
        if first in snapshots:
            kept_images[first] = _images(parametrization, state.params)
        model = dataclasses.replace(
            ascent.model, composite=composite_at(schedule, first)
        )
        static = dataclasses.replace(ascent, model=model)
        part = range(first, stop)
        state, scores = iterate(step, static, constants, state, part, tick=tick)
        history.append(scores)
    images = _images(parametrization, state.params)
    if numbers.stop in snapshots:
        kept_images[numbers.stop] = images
    importance, rest = state.importance, (state.params, state.optimizer_state)
    return Result(images, _joined(history), kept_images, importance, *rest)


@jax.jit
def _joined(history: list[Any]) -> Any:
    """The scores of all steps, `(units, steps, count)`."""
    return jnp.moveaxis(jnp.concatenate(history), 0, 1)


@jax.jit
def _images(parametrization: Parametrization, params: Any) -> Images:
    return jax.vmap(parametrization.images)(params)
