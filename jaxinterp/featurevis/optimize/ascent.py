"""How `maximize` climbs: one step of all units of a chunk, and the steps of all chunks.

What is static is an `Ascent`; what is traced is `Work`. The units are divided into
chunks of one size, the last filled up with its last unit, so that one program serves
all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.steps import iterate
from jaxinterp.objectives.evaluate import count_units, evaluate, remembered, units
from jaxinterp.objectives.objective import Objective, View
from jaxinterp.objectives.reader import Reader


@dataclasses.dataclass(frozen=True)
class Ascent:
    """What is static in a step.

    Attributes:
        read: the model.
        transform: of each picture.
        optimizer: of each unit.
        count: number of pictures for each unit.
        samples: number of transforms that a step averages over.
        rematerialize: whether the backward pass computes activations again.
    """

    read: Reader
    transform: Transform
    optimizer: optax.GradientTransformation
    count: int
    samples: int
    rematerialize: bool


class Stage(NamedTuple):
    """Steps that are taken in the same way.

    Attributes:
        ascent: how.
        numbers: of the steps.
        is_kept: whether the pictures after the last of them are kept.
    """

    ascent: Ascent
    numbers: range
    is_kept: bool


class State(NamedTuple):
    """What a step changes.

    Attributes:
        params: of the parametrization.
        optimizer_state: of each unit.
        importance: of each place of each picture, `(units, count, ...)`: the absolute
            derivatives of the score, summed over channels and steps.
        memory: of the objective.
    """

    params: Any
    optimizer_state: Any
    importance: Any
    memory: Any


class Work(NamedTuple):
    """What is computed for some units: arrays with the units in front.

    Attributes:
        objective: bound.
        keys: one of each unit.
        memory: what the objective remembers of each unit at first, without units.
        state: a `State`; `None` at the beginning.
    """

    objective: Objective
    keys: Any
    memory: Any
    state: Any


class Found(NamedTuple):
    """What was found for some units.

    Attributes:
        images: `(units, count, ...)`.
        history: `(units, steps, count)`.
        snapshots: pictures that were kept, in the order of the stages.
        state: after the last step.
    """

    images: Any
    history: Any
    snapshots: tuple[Any, ...]
    state: State


def start(
    optimizer: optax.GradientTransformation,
    count: int,
    parametrization: Parametrization,
    keys: Any,
    memory: Any,
) -> Any:
    """Returns the `State` that units start from.

    Args:
        optimizer: of each unit.
        count: number of pictures for each unit.
        parametrization: of the pictures.
        keys: one of each unit.
        memory: what the objective remembers at first, without units.
    """

    def one(key: Any) -> Any:
        params = parametrization.init(jax.random.fold_in(key, 0), count)
        images = jax.eval_shape(parametrization.images, params)
        importance = jnp.zeros(images.shape[:-1], _wide(images.dtype))
        return State(params, optimizer.init(params), importance, memory)

    return jax.vmap(one)(keys)


def _wide(dtype: Any) -> Any:
    """A dtype in which many small numbers add up."""
    return jnp.promote_types(dtype, jnp.float32)


_start = jax.jit(start, static_argnums=(0, 1))


def step(ascent: Ascent, fixed: Any, state: Any, number: Any) -> tuple[Any, Any]:
    """Takes one step.

    Args:
        ascent: what is static.
        fixed: variables of the model, parametrization, objective and keys of the units,
            and the number of all steps.
        state: a `State`.
        number: of the step.

    Returns:
        The next state, and the scores `(units, count)` before the step.
    """
    variables, parametrization, objective, keys, steps = fixed
    params, optimizer_state, importance, memory = state

    def height(images: Any) -> tuple[Any, Any]:
        progress = number / jnp.maximum(steps - 1, 1)  # 0 at the first, 1 at the last
        scores, after = _scores(
            ascent, variables, objective, keys, images, number, progress, memory
        )
        return scores.sum(), (scores, after)

    images, to_params = jax.vjp(jax.vmap(parametrization.images), params)
    slope, (scores, memory) = jax.grad(height, has_aux=True)(images)
    importance += jnp.abs(slope).astype(importance.dtype).sum(axis=-1)
    descent = jax.tree.map(jnp.negative, *to_params(slope))
    updates, optimizer_state = jax.vmap(ascent.optimizer.update)(
        descent, optimizer_state, params
    )
    params = optax.apply_updates(params, updates)
    return State(params, optimizer_state, importance, memory), scores


def _scores(
    ascent: Ascent,
    variables: Any,
    objective: Objective,
    keys: Any,
    images: Any,
    number: Any,
    progress: Any,
    memory: Any,
) -> tuple[Any, Any]:
    """Scores of pictures `(units, count, ...)`, and what is remembered of them.

    Both are averaged over transforms, but for what is no float: that is of the first.
    """
    many, count = images.shape[:2]
    samples = ascent.samples
    transform = ascent.transform.at(progress)

    def view_of(key: Any, sample: Any, picture: Any, image: Any) -> Any:
        for part in (1, picture, number, sample):  # 0 is the first picture's key
            key = jax.random.fold_in(key, part)
        return transform(key, image)

    each = jax.vmap(view_of, in_axes=(None, None, 0, 0))
    each = jax.vmap(each, in_axes=(0, None, None, 0))
    each = jax.vmap(each, in_axes=(None, 0, None, None))
    seen = each(keys, jnp.arange(samples), jnp.arange(count), images)
    read = jax.checkpoint(ascent.read) if ascent.rematerialize else ascent.read
    flat = seen.reshape((samples * many * count, *seen.shape[3:]))
    activations, outputs = jax.tree.map(
        lambda a: a.reshape((samples, many, count, *a.shape[1:])), read(variables, flat)
    )

    def one(activations: Any, outputs: Any) -> Any:
        view = View(activations, outputs, images, number, memory)
        return evaluate(objective, view, many), remembered(objective, view, many)

    def joined(leaf: Any) -> Any:
        is_float = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return leaf.mean(axis=0) if is_float else leaf[0]

    return jax.tree.map(joined, jax.vmap(one)(activations, outputs))


def run(
    stages: tuple[Stage, ...],
    variables: Any,
    parametrization: Parametrization,
    work: Work,
    tick: Callable[[int], Any] = lambda done: None,
) -> Found:
    """Takes all steps for the units of one chunk.

    Args:
        stages: in their order.
        variables: of the model.
        parametrization: of the pictures.
        work: the units.
        tick: is told how many steps have been done.
    """
    ascent = stages[-1].ascent
    steps = jnp.asarray(stages[-1].numbers.stop)  # traced: it changes no program
    fixed = (variables, parametrization, work.objective, work.keys, steps)
    state = work.state
    if state is None:
        state = _start(
            *(ascent.optimizer, ascent.count, parametrization, work.keys, work.memory)
        )
    history, kept = [], []
    for stage in stages:
        state, scores = iterate(
            step, stage.ascent, fixed, state, stage.numbers, tick=tick
        )
        history.append(jnp.moveaxis(scores, 0, 1))
        if stage.is_kept:
            kept.append(_pictures(parametrization, state.params))
    images = _pictures(parametrization, state.params)
    return Found(images, jnp.concatenate(history, axis=1), tuple(kept), state)


@jax.jit
def _pictures(parametrization: Parametrization, params: Any) -> Any:
    return jax.vmap(parametrization.images)(params)


def run_in_chunks(
    stages: tuple[Stage, ...],
    variables: Any,
    parametrization: Parametrization,
    work: Work,
    size: int,
    *,
    is_shown: bool,
) -> Found:
    """Takes all steps for all units.

    Args:
        stages: in their order.
        variables: of the model.
        parametrization: of the pictures.
        work: all units.
        size: number of units of a chunk.
        is_shown: whether to show the progress.
    """
    many = count_units(work.objective)
    number = -(-many // size)
    chosen = jnp.minimum(jnp.arange(number * size), many - 1).reshape(number, size)

    def chunk(index: Any) -> Work:
        keys, state = jax.tree.map(lambda a: a[index], (work.keys, work.state))
        return Work(units(work.objective, index), keys, work.memory, state)

    if is_traced(variables, parametrization, work):
        found = lax.map(
            lambda index: run(stages, variables, parametrization, chunk(index)), chosen
        )
        return jax.tree.map(
            lambda a: a.reshape(number * size, *a.shape[2:])[:many], found
        )
    total = number * sum(len(stage.numbers) for stage in stages)
    parts = []
    with progress_bar(total, "maximize", is_shown=is_shown) as bar:
        for index in chosen:
            parts.append(
                run(stages, variables, parametrization, chunk(index), bar.update)
            )
    return jax.tree.map(lambda *a: jnp.concatenate(a)[:many], *parts)
