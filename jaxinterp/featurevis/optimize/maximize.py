r"""Activation maximization: which image does a unit respond to most?

$$x^* = g(\theta^*), \qquad
  \theta^* = \arg\max_\theta \; \mathbb{E}_t\, s\big(t(g(\theta))\big)$$

where $g$ is a parametrization of images, $t$ a random transform and $s$ an objective.
Every unit has parameters, random numbers and an optimizer of its own, so that its
images depend neither on the other units nor on how the work is divided.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxinterp.checks import checked_integer, is_integer, is_traced, shown
from jaxinterp.featurevis.optimize.ascent import Ascent, first_state, take_steps
from jaxinterp.featurevis.optimize.composite_schedule import (
    REDIRECTED_FIRST,
    Schedule,
    checked_schedule,
)
from jaxinterp.featurevis.optimize.result import (
    Result,
    State,
    joined,
    resumed_state,
    steps_taken,
)
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.transforms.recipes import Transforms, as_transform
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.keys import check_key
from jaxinterp.loop.chunks import at_once, even_size, over_units
from jaxinterp.loop.progress import progress_bar
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units, unit_keys, units
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.reader import Reader, reader
from jaxinterp.rules.presets import Rules
from jaxinterp.tracing.errors import BatchAxisError
from jaxinterp.types import ApplyFn, Key, Variables

ADAM = optax.adam(0.05)


def maximize(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Variables,
    *,
    key: Key,
    shape: Iterable[int] | None = None,
    parametrization: Parametrization | None = None,
    transforms: Transforms = (),
    steps: int = 512,
    count: int = 1,
    samples: int = 1,
    optimizer: optax.GradientTransformation = ADAM,
    composite: Rules | Mapping[int, Rules] = REDIRECTED_FIRST,
    batch_size: int | None = None,
    rematerialize: bool = False,
    snapshots: Sequence[int] = (),
    resume: Result | None = None,
    progress: bool = True,
) -> Result:
    r"""Makes images that maximize an objective, from noise, by gradient ascent.

    Each step draws a transform for each image, takes the gradient of the objective of
    the transformed images, and lets the optimizer move the parameters. One program is
    compiled for a layer, whatever units of it are optimized (as many at once), and
    layers after it are not computed.

    Time grows with `steps`, `samples` and the number of images; memory with
    `batch_size` and `samples`. On CPU each step is a call of one compiled program; on
    accelerators, and under an outer `jit`, all steps are one.

    Args:
        apply_fn: the model, `apply_fn(variables, images) -> outputs`; one that takes
            other inputs than images in [0, 1] is put behind its preprocessing by
            `jaxinterp.models.with_preprocess`. Arrays that the function holds itself
            are those of the first call, and are kept as long as the program, till
            `jax.clear_caches()`: what changes goes in `variables`. So it is for
            functions of the objective.
        objective: the objective: `channel(...)` and others, combined; or a string
            such as `"inception_4a:476"`, `"inception_4a:0-15"`, `"inception_4a:*"`.
        variables: the weights of the model.
        key: the random key of the first images and of the transforms. A unit's own key
            is derived from it and from the unit's integers (channel, position): the
            same for a channel alone as for it among others. Units without integers
            (directions, images to match) start from the same noise.
        shape: the shape of one image, `(height, width, channels)` without the axis of
            the batch; its parametrization is the default, `fourier(shape)`.
        parametrization: the parametrization of the images, instead of a shape.
        transforms: the transforms that images have to withstand, in this order; or the
            name of a `recipe`, such as `"lucid"`. Without any, images easily become
            noise that only this model responds to.
        steps: the number of steps; those of `resume` included.
        count: the number of images for each unit.
        samples: the number of transforms over which each step averages.
        optimizer: any optax optimizer that needs gradients alone. Each unit has one of
            its own, so that a clipped or normalized global norm is that of one unit
            (`optax.chain(optax.normalize_by_update_norm(), optax.sgd(1.0))` takes steps
            of one length). Make it once: a new one is a new program.
        composite: the rules of the backward pass; or several, each with the number of
            the step from which on they hold, `{0: redirected(), 16: Composite([("*",
            Gradient())])}`. That is the default: `redirected` lets the gradient of a
            dead relu through, so that a unit that noise does not excite at all has one
            in the first steps, and `Gradient` is the derivative.
        batch_size: the largest number of images that are computed at once, each under
            all its `samples`. By default all are, but on CPU, where that is slower,
            only as many as have 16 MB of activations; under an outer `jit` again all.
            Images of one unit are not divided.
        rematerialize: whether to compute the activations again in the backward
            pass instead of keeping them.
        snapshots: the numbers of steps after which to keep the images.
        resume: an earlier result, with fewer steps of the same call. Transforms that
            change over the steps, `box_crop`, go by the new number of steps.
        progress: whether to show a progress bar.

    Returns:
        A `Result`.

    Raises:
        AddressError: if a site does not exist.
        AmbiguousAddressError: if a name fits several sites.
        FloatingPointError: if the objective of every image becomes NaN, unless under
            `jit`; if that of some does, there is a warning that names them.
        NotImplementedError: if rules need to know where the examples are, at a site
            where that cannot be told.
        TypeError: if an argument is of another kind than its description says, or no
            derivative leads back to the images, as behind a cast to integers.
        ValueError: if `resume` is of another call, a number is out of range, the
            objective fits neither the model nor itself, or not one of `shape` and
            `parametrization` is given.

    References:
        Erhan et al., 2009, section 2.3 [erhan2009visualizing]; Olah et al., 2017
        [olah2017feature].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> template = jnp.array([1.0, -1.0, 1.0]).reshape(3, 1)
        >>> result = maximize(
        ...     lambda w, x: jnp.tanh(x.reshape(-1, 3) @ w), "tanh:0", template,
        ...     key=jax.random.key(0), parametrization=pixels((3, 1)), steps=64)
        >>> (result.images[0, :, 0] > 0.5).tolist()
        [True, False, True]
    """
    steps = checked_integer("steps", steps, 0, call="maximize")
    count = checked_integer("count", count, 1, call="maximize")
    samples = checked_integer("samples", samples, 1, call="maximize")
    if batch_size is not None:
        batch_size = checked_integer("batch_size", batch_size, count, call="maximize")
    snapshots = _checked_snapshots(snapshots, steps)
    schedule = checked_schedule(composite)
    parametrization = _checked_parametrization(shape, parametrization)
    _check_kinds(apply_fn, key, optimizer)
    numbers = range(steps_taken(resume, steps, snapshots), steps)
    objective = as_objective(objective)
    transform = as_transform(transforms)
    image = _shape_of_view(parametrization, transform, count)
    model, shapes = reader(apply_fn, objective, variables, image)
    _check_derivative(model)
    objective = objective.bound(shapes._replace(image=parametrization.shape))
    ascent = Ascent(model, transform, optimizer, count, samples, rematerialize)
    keys = unit_keys(key, objective)
    first = _shapes_of_state(parametrization, optimizer, keys, count)
    state = resumed_state(resume, first, count)
    n_units = count_units(objective)
    is_inner = is_traced(variables, parametrization, objective, keys, state)
    if batch_size is None and not is_inner:
        batch_size = at_once(shapes.size * samples)
    size = even_size(n_units, max((batch_size or n_units * count) // count, 1))
    total, is_shown = -(-n_units // size) * len(numbers), progress and not is_inner

    with (
        _advice_on_rules(schedule),
        progress_bar(total, "maximize", is_shown=is_shown) as bar,
    ):

        def chunk(index: Any) -> Result:
            own, own_keys, own_state = _of_units(objective, (keys, state), index)
            constants = (variables, parametrization, own, own_keys, jnp.asarray(steps))
            return take_steps(
                ascent, schedule, constants, own_state, numbers, snapshots, bar.update
            )

        result = over_units(chunk, n_units, size, is_inner=is_inner)
    return joined(result, resume)


@contextlib.contextmanager
def _advice_on_rules(schedule: Schedule) -> Iterator[None]:
    """Says what to write if the rules of the first steps do not fit the model."""
    try:
        yield
    except BatchAxisError as error:
        if len(schedule) == 1:
            raise
        raise NotImplementedError(
            "maximize: the rules of the first steps do not fit this model. If it "
            "normalizes by the statistics of the batch, let it use stored ones "
            "(`train=False`): else no image is that of its unit alone. If not, write "
            "`composite=Composite([('*', Gradient())])`, the derivative in all steps.\n"
            f"What they ask for:\n{error}"
        ) from error


@jax.jit
def _of_units(objective: Objective, arrays: tuple[Any, Any], index: Any) -> Any:
    """What some of the units have of the objective, and of their keys and states."""
    return units(objective, index), *jax.tree.map(lambda a: a[index], arrays)


def _shape_of_view(
    parametrization: Parametrization, transform: Transform, count: int
) -> jax.ShapeDtypeStruct:
    """The shape and dtype of what the model is shown of an image."""

    def view(parametrization: Parametrization) -> Any:
        params = parametrization.init(jax.random.key(0), count)
        first = parametrization.images(params)[0]
        return transform.at(0.0)(jax.random.key(0), first)

    return jax.eval_shape(view, parametrization)


def _shapes_of_state(
    parametrization: Parametrization,
    optimizer: optax.GradientTransformation,
    keys: Any,
    count: int,
) -> State:
    """The shapes of what all units start from.

    Raises:
        TypeError: if the optimizer needs more than gradients.
    """
    begin = functools.partial(first_state, optimizer, count)
    first = jax.eval_shape(begin, parametrization, keys)
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


def _checked_snapshots(snapshots: Any, steps: int) -> tuple[int, ...]:
    """The numbers of steps after which images are kept, as Python's integers."""
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


def _check_derivative(model: Reader) -> None:
    if not model.has_derivative:
        raise TypeError(
            "maximize: between the images and what the objective reads there are "
            "integers, which have no derivative. Leave out the rounding: "
            "`with_preprocess(apply_fn, lambda images: 255 * images)`."
        )


def _checked_parametrization(shape: Any, parametrization: Any) -> Parametrization:
    """The parametrization of the images, by default by their frequencies."""
    if (shape is None) == (parametrization is None):
        raise ValueError(
            "maximize: say which shape an image has, `shape=(128, 128, 3)`, or how the "
            "images are parametrized, `parametrization=pixels((128, 128, 3))`; "
            f"{'neither' if shape is None else 'both'} was given."
        )
    parametrization = fourier(shape) if parametrization is None else parametrization
    if not isinstance(parametrization, Parametrization):
        raise TypeError(
            f"`parametrization` says what is optimized, and is {parametrization!r}.\n"
            "Write `parametrization=fourier((128, 128, 3))`, or `shape=(128, 128, 3)`."
        )
    return parametrization


def _check_kinds(apply_fn: Any, key: Any, optimizer: Any) -> None:
    if not callable(apply_fn):
        raise TypeError(
            "maximize() takes `apply_fn(variables, images)` first, and was given "
            f"{shown(apply_fn)}.\n"
            "Write `maximize(model.apply, objective, variables, ...)`."
        )
    check_key("maximize", key)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"`optimizer` is an optax optimizer, and is {shown(optimizer)}. Write "
            "`optimizer=optax.adam(0.05)`."
        )
