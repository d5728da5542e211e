r"""Activation maximization: which picture does a unit respond to most?

$$x^* = g(\theta^*), \qquad
  \theta^* = \arg\max_\theta \; \mathbb{E}_t\, s\big(t(g(\theta))\big)$$

where $g$ is a parametrization of pictures, $t$ a random transform and $s$ an objective.
Every unit has parameters, random numbers and an optimizer of its own, so that what is
found for it depends neither on the other units nor on how the work is divided.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinterp.checks import checked_integer, is_integer, is_traced
from jaxinterp.featurevis.optimize.ascent import (
    Ascent,
    Stage,
    State,
    Work,
    run_in_chunks,
    start,
)
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.transforms.transform import Transform, compose
from jaxinterp.keys import check_key
from jaxinterp.loop.chunks import at_once
from jaxinterp.loop.static import hashable
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units, unit_keys
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.reader import Preprocess, check_variables, reader
from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.composite import Composite, check_composite
from jaxinterp.rules.presets import redirected
from jaxinterp.tracing.errors import BatchAxisError
from jaxinterp.types import ApplyFn

ADAM = optax.adam(0.05)

# The derivative itself, through the engine for its faster max pooling.
DERIVATIVE = Composite([("*", Gradient())])

REDIRECTED = redirected()


class Result(NamedTuple):
    r"""What `maximize` found.

    Pictures are in the order of the units; with `count` pictures for each unit, the
    first `count` are the first unit's.

    Attributes:
        images: the pictures, `(units * count, ...)`, in [0, 1].
        history: the objective at each step, before the step is taken and under its
            transforms, `(steps, units * count)`.
        snapshots: from a number of steps to the pictures after so many.
        importance: where the objective looked, `(units * count, ...)` without the axis
            of the channels: $\sum_t \sum_c |\partial s / \partial x_c|$, over the
            steps $t$; `faded` shows it. Penalties
            look at pictures, too.
        params: of the parametrization, with the units in front.
        optimizer_state: likewise.
        memory: what the objective remembers of the steps, likewise.
    """

    images: Any
    history: Any
    snapshots: dict[int, Any]
    importance: Any
    params: Any
    optimizer_state: Any
    memory: Any = None


def maximize(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    *,
    key: Any,
    parametrization: Parametrization,
    transforms: Transform | Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    steps: int = 512,
    count: int = 1,
    samples: int = 1,
    optimizer: optax.GradientTransformation = ADAM,
    composite: Composite = DERIVATIVE,
    warmup: Composite | None = REDIRECTED,
    warmup_steps: int = 16,
    batch_size: int | None = None,
    rematerialize: bool = False,
    snapshots: Sequence[int] = (),
    resume: Result | None = None,
    progress: bool = True,
) -> Result:
    r"""Finds pictures that maximize an objective, from noise, by gradient ascent.

    Each step draws a transform for each picture, takes the gradient of the objective of
    the transformed pictures, and lets the optimizer move the parameters. One program is
    compiled for a layer, whatever units of it are asked for (as many at once), and
    layers after it are not computed.

    Time grows with `steps`, `samples` and the number of pictures; memory with
    `batch_size` and `samples`. On CPU each step is a call of one compiled program; on
    accelerators, and under an outer `jit`, all steps are one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`. What it holds
            itself is that of the first call, and is kept as long as the program, till
            `jax.clear_caches()`: what changes goes in `variables`. So it is for
            `preprocess` and for functions of the objective.
        objective: what to maximize: `channel(...)` and others, combined; or a string
            such as `"inception_4a:476"`, `"inception_4a:0-15"`, `"inception_4a:*"`.
        variables: the weights of the model.
        key: of the first pictures and of the transforms. A unit's own key is made of it
            and of the unit's integers (channel, position): the same for a channel alone
            as for it among others. Units without integers (directions, images to match)
            start from the same noise.
        parametrization: of the pictures: `fourier((128, 128, 3))` and others.
        transforms: what pictures have to withstand, in this order.
        preprocess: from pictures `(batch, ...)` in [0, 1] to inputs of the model.
        steps: number of steps; those of `resume` included.
        count: number of pictures for each unit.
        samples: number of transforms over which each step averages.
        optimizer: any optax optimizer that needs gradients alone. Each unit has one of
            its own, so that a clipped or normalized global norm is that of one unit
            (`optax.chain(optax.normalize_by_update_norm(), optax.sgd(1.0))` takes steps
            of one length). Make it once: a new one is a new program.
        composite: rules of the backward pass, in place of the derivative.
        warmup: rules of the first steps, so that a unit that noise does not excite at
            all has a gradient; `None` for those of `composite`.
        warmup_steps: how many steps it is used for.
        batch_size: at most so many pictures are computed at once, each under all its
            `samples`. By default all are, but on CPU, where that is slower, only as
            many as have 16 MB of activations; under an outer `jit` again all. Pictures
            of one unit are not divided.
        rematerialize: whether to compute the activations again in the backward
            pass instead of keeping them.
        snapshots: after how many steps to keep the pictures.
        resume: an earlier result, with fewer steps of the same call. Transforms that
            change over the steps, `box_crop`, go by the new number of steps.
        progress: whether to show a progress bar.

    Returns:
        A `Result`.

    Raises:
        AddressError: if a site does not exist.
        AmbiguousAddressError: if a name fits several sites.
        FloatingPointError: if the objective of every picture becomes NaN, unless under
            `jit`; if that of some does, there is a warning that names them.
        NotImplementedError: if rules need to know where the examples are, at a site
            where that cannot be told.
        TypeError: if something is not of the kind that is asked for.
        ValueError: if `resume` is of another call, a number is out of range, or the
            objective fits neither the model nor itself.

    References:
        Erhan et al., 2009, section 2.3 [erhan2009visualizing]; Olah et al., 2017
        [olah2017feature].

    Example:
        >>> from jaxinterp.featurevis import channel, pixels
        >>> template = jnp.array([1.0, -1.0, 1.0]).reshape(3, 1)
        >>> result = maximize(
        ...     lambda w, x: jnp.tanh(x.reshape(-1, 3) @ w), "tanh:0", template,
        ...     key=jax.random.key(0), parametrization=pixels((3, 1)), steps=64)
        >>> (result.images[0, :, 0] > 0.5).tolist()
        [True, False, True]
    """
    steps, count, samples, warmup_steps = _integers(steps, count, samples, warmup_steps)
    batch_size = _batch_size(batch_size, count)
    snapshots = _numbers_of_steps(snapshots, steps)
    _check_kinds(apply_fn, key, parametrization, optimizer)
    objective = as_objective(objective)
    transform = compose([transforms] if callable(transforms) else transforms)
    seen = _seen(parametrization, transform, count)
    _check_inputs(variables, seen, preprocess)
    read, shapes = reader(hashable(apply_fn), objective, variables, seen, preprocess)
    shapes = shapes._replace(image=parametrization.shape)
    objective = objective.bound(shapes)
    memory = objective.memory(shapes, count)
    late = Ascent(
        dataclasses.replace(read, composite=_checked(composite)),
        *(transform, optimizer, count, samples, rematerialize),
    )
    early = late
    if warmup is not None:
        first = dataclasses.replace(read, composite=_checked(warmup))
        early = dataclasses.replace(late, read=first)
    done = _done(resume, steps, snapshots)
    stages = _stages(early, late, warmup_steps, range(done, steps), snapshots)
    many = count_units(objective)
    wanted = _first_state(parametrization, optimizer, many, count, memory)
    _check_resume(resume, wanted, count)
    state = None if resume is None else _state_of(resume, count)
    work = Work(objective, unit_keys(key, objective), memory, state)
    if batch_size is None and not is_traced(variables, parametrization, work):
        batch_size = at_once(shapes.size * samples)
    size = _chunk(many, batch_size, count)
    with _advice(warmup):
        found = run_in_chunks(
            stages, variables, parametrization, work, size, is_shown=progress
        )
    return _result(found, stages, resume)


@contextlib.contextmanager
def _advice(warmup: Composite | None) -> Iterator[None]:
    """Says what to write if rules do not fit the model."""
    try:
        yield
    except BatchAxisError as error:
        if warmup is None:
            raise
        raise NotImplementedError(
            "maximize: the rules of the first steps do not fit this model. If it "
            "normalizes by the statistics of the batch, let it use stored ones "
            "(`train=False`): else no picture is that of its unit alone. If not, write "
            f"`warmup=None`.\nWhat they ask for:\n{error}"
        ) from error


def _stages(
    early: Ascent,
    late: Ascent,
    warmup_steps: int,
    left: range,
    snapshots: Sequence[int],
) -> tuple[Stage, ...]:
    """The steps that are left, cut where something changes."""
    done, steps = left.start, left.stop
    cuts = sorted({done, warmup_steps, steps, *snapshots} & set(range(done, steps + 1)))
    stages = []
    if done == steps or done in snapshots:
        stages.append(Stage(late, range(done, done), done in snapshots))
    for first, end in itertools.pairwise(cuts):
        ascent = early if first < warmup_steps else late
        stages.append(Stage(ascent, range(first, end), end in snapshots))
    return tuple(stages)


def _result(found: Any, stages: tuple[Stage, ...], resume: Result | None) -> Result:
    def flat(pictures: Any) -> Any:
        return pictures.reshape(-1, *pictures.shape[2:])

    history = jnp.moveaxis(found.history, 1, 0)
    history = history.reshape(history.shape[0], history.shape[1] * history.shape[2])
    kept = [stage.numbers.stop for stage in stages if stage.is_kept]
    snapshots = dict(zip(kept, map(flat, found.snapshots), strict=True))
    if resume is not None:
        history = jnp.concatenate([resume.history, history])
        snapshots = {**resume.snapshots, **snapshots}
    params, optimizer_state, importance, memory = found.state
    pictures = flat(found.images)
    _check_finite(history, pictures)
    importance = flat(importance)
    return Result(
        pictures, history, snapshots, importance, params, optimizer_state, memory
    )


def _seen(
    parametrization: Parametrization, transform: Transform, count: int
) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a transformed picture."""

    def one(parametrization: Parametrization) -> Any:
        key = jax.random.key(0)
        image = parametrization.images(parametrization.init(key, count))[0]
        return transform.at(0.0)(key, image)

    return jax.eval_shape(one, parametrization)


def _chunk(many: int, batch_size: int | None, count: int) -> int:
    """How many units are computed at once: as equal parts as can be."""
    most = many if batch_size is None else min(many, max(batch_size // count, 1))
    return -(-many // -(-many // most))


def _state_of(result: Result, count: int) -> State:
    importance = result.importance
    importance = importance.reshape(-1, count, *importance.shape[1:])
    return State(result.params, result.optimizer_state, importance, result.memory)


def _first_state(
    parametrization: Parametrization,
    optimizer: optax.GradientTransformation,
    many: int,
    count: int,
    memory: Any,
) -> State:
    """The shapes of what all units start from.

    Raises:
        TypeError: if the optimizer needs more than gradients.
    """
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), many))
    begin = functools.partial(start, optimizer, count)
    first = jax.eval_shape(begin, parametrization, keys, memory)
    step = jax.vmap(optimizer.update)
    try:
        jax.eval_shape(step, first.params, first.optimizer_state, first.params)
    except TypeError as error:
        raise TypeError(
            "maximize: the optimizer cannot take a step with gradients and parameters "
            f"alone: {error}\nTake one that can, such as `optax.adam(0.05)`; those "
            "with a line search, such as `optax.lbfgs`, call the objective themselves."
        ) from error
    return first


def _check_resume(resume: Result | None, wanted: State, count: int) -> None:
    """Raises unless a result is of a call with the same units and optimizer."""
    if resume is None:
        return

    def described(state: Any) -> Any:
        leaves, tree = jax.tree.flatten(state)
        return tree, [(leaf.shape, leaf.dtype) for leaf in leaves]

    has_all = not len(resume.importance) % count
    if not has_all or described(wanted) != described(_state_of(resume, count)):
        raise ValueError(
            "maximize: the result to resume is of a call with another parametrization, "
            "another optimizer, an objective that remembers something else, or another "
            "number of units or pictures.\nGive the same arguments; only `steps` may "
            "be larger."
        )


def _done(resume: Result | None, steps: int, snapshots: Sequence[int]) -> int:
    if resume is not None and not isinstance(resume, Result):
        raise TypeError(
            f"maximize: `resume` is an earlier `Result`, and is {type(resume)}."
        )
    done = 0 if resume is None else resume.history.shape[0]
    if done > steps:
        raise ValueError(
            f"maximize: the result to resume has taken {done} steps, and `steps={steps}"
            "` counts them too. Write more."
        )
    kept = {} if resume is None else resume.snapshots
    passed = [n for n in snapshots if n < done and n not in kept]
    if passed:
        raise ValueError(
            f"maximize: the result to resume has taken {done} steps and kept no "
            f"pictures after {passed[0]} of them. Leave that snapshot out."
        )
    return done


def _checked(composite: Any) -> Composite:
    check_composite(composite, "maximize(..., composite=smooth_max_pool())")
    return composite


def _integers(steps: Any, count: Any, samples: Any, warmup_steps: Any) -> list[int]:
    """The numbers as Python's integers, which alone are static."""
    return [
        checked_integer("steps", steps, 0, call="maximize"),
        checked_integer("count", count, 1, call="maximize"),
        checked_integer("samples", samples, 1, call="maximize"),
        checked_integer("warmup_steps", warmup_steps, 0, call="maximize"),
    ]


def _batch_size(batch_size: Any, count: int) -> int | None:
    if batch_size is None:
        return None
    return checked_integer("batch_size", batch_size, count, call="maximize")


def _numbers_of_steps(snapshots: Any, steps: int) -> tuple[int, ...]:
    """The numbers of steps after which pictures are kept."""
    if not isinstance(snapshots, Iterable) or isinstance(snapshots, str):
        raise TypeError(
            "maximize: `snapshots` are numbers of steps, `snapshots=(8, 64)`, and are "
            f"{snapshots!r}."
        )
    snapshots = tuple(snapshots)
    for number in snapshots:
        if not is_integer(number) or not 0 <= int(number) <= steps:
            raise ValueError(
                f"maximize: `snapshots` are numbers of steps, 0..{steps}, and one is "
                f"{number!r}."
            )
    return tuple(map(int, snapshots))


def _check_inputs(variables: Any, seen: Any, preprocess: Preprocess | None) -> None:
    """Raises unless variables are arrays and the model's inputs have derivatives."""
    check_variables(variables)
    if preprocess is None:
        return
    pictures = jax.ShapeDtypeStruct((2, *seen.shape), seen.dtype)
    inputs = jax.eval_shape(preprocess, pictures)
    if not any(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(inputs)):
        raise TypeError(
            f"maximize: `preprocess` makes {inputs} of pictures, which have no "
            "derivative. Leave out the rounding, `preprocess=lambda x: 255 * x`."
        )


def _check_kinds(apply_fn: Any, key: Any, parametrization: Any, optimizer: Any) -> None:
    if not callable(apply_fn):
        raise TypeError(
            "maximize() takes `apply_fn(variables, inputs)` first, and was given "
            f"{apply_fn!r}. Write `maximize(model.apply, objective, variables, ...)`."
        )
    check_key("maximize", key)
    if not isinstance(parametrization, Parametrization):
        raise TypeError(
            f"`parametrization` says what is optimized, and is {parametrization!r}.\n"
            "Write `parametrization=fourier((128, 128, 3))`."
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"`optimizer` is an optax optimizer, and is {optimizer!r}. Write "
            "`optimizer=optax.adam(0.05)`."
        )


def _check_finite(history: Any, images: Any) -> None:
    if is_traced(history):
        return
    steps, pictures = np.nonzero(np.isnan(np.asarray(history, np.float32)))
    if not steps.size:
        _check_last(images)
        return
    message = (
        f"The objective became NaN at step {steps.min()}, for picture "
        f"{pictures[steps.argmin()]} (and {len(set(pictures)) - 1} others of "
        f"{history.shape[1]}).\n"
    )
    if not steps.min():
        message += "The first picture has no score: look for a root or a logarithm of "
        message += "what is negative, or a quotient of zeros, in model, objective and "
        message += "transforms."
    else:
        message += "Try a lower learning rate, `optimizer=optax.adam(0.01)`, or look "
        message += "for a root or a logarithm of zero in the model or the objective."
    if len(set(pictures)) == history.shape[1]:
        raise FloatingPointError(message)
    message += "\nThe others are as they should be; of these, look at `history`."
    warnings.warn(message, stacklevel=4)


def _check_last(images: Any) -> None:
    """Raises if the last step, of which there is no score, made a picture NaN."""
    is_bad = np.asarray(jnp.isnan(images).any(tuple(range(1, images.ndim))))
    if is_bad.any():
        raise FloatingPointError(
            f"The last step made {int(is_bad.sum())} pictures NaN, the first being "
            f"{int(is_bad.argmax())}. Look for a root or a logarithm of zero in the "
            "model or the objective."
        )
