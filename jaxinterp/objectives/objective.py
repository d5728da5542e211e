"""What an objective is: a score of images, to be maximized, with an algebra.

An objective describes what one *unit* responds to, and scores a group of images made
for that unit: from what a model computes of them, a number for each image. Its arrays
(an index, a direction, a weight) have the units on their first axis, of length 1 if all
units share them; so `channel("mixed4a", jnp.arange(512))` is 512 units, each of which
is evaluated on its own. Since the arrays are traced, one compiled program serves all
units of a layer.
"""

from __future__ import annotations

import dataclasses
import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_real, is_traced
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


class View(NamedTuple):
    """What an objective reads: the images of one unit, and what a model makes of them.

    Attributes:
        activations: the activation at each site of the objective, `(images, ...)`.
        outputs: the outputs of the model, each leaf `(images, ...)`.
        images: the images themselves, untransformed, `(images, ...)`.
        step: the number of the optimization step, from 0.
    """

    activations: Mapping[Sites, Any]
    outputs: Any
    images: Any
    step: Any


class Shapes(NamedTuple):
    """Shapes of what an objective will read, of one image, without leading axes.

    Attributes:
        activations: the shape of the activation at each site of the objective.
        outputs: the shapes of the model's outputs.
        image: the shape of the image.
        size: the size of all activations up to the sites, in bytes.
    """

    activations: Mapping[Sites, tuple[int, ...]]
    outputs: Any
    image: tuple[int, ...]
    size: int = 0


class Objective:
    """A score of images: add, multiply, negate and clip it as you would a number.

    An objective of your own is a frozen dataclass with this base, registered with
    `jax.tree_util.register_dataclass`: its arrays have the units first, everything else
    is static. `custom` makes one of a function.
    """

    __array_ufunc__ = None  # so that an array of weights times it calls `__rmul__`

    @property
    def sites(self) -> tuple[Sites, ...]:
        """The places whose activations it reads: its field `site`, if it has one."""
        site = getattr(self, "site", None)
        return () if site is None else (site,)

    @property
    def compares(self) -> bool:
        """Whether an image's score depends on the others of its unit, or its place."""
        return False

    def bound(self, shapes: Shapes) -> Objective:
        """Returns the objective with what was left open filled in from the shapes.

        Args:
            shapes: the shapes of what the objective will read.

        Raises:
            ValueError: if the model has no such unit.
        """
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each image, `(images,)`.

        Args:
            view: the images of one unit. The arrays of the objective are those of
                that unit, without an axis in front.
        """
        raise NotImplementedError

    def __add__(self, other: Objective | float) -> Objective:
        return _combined(operator.add, self, other)

    def __radd__(self, other: Objective | float) -> Objective:
        return _combined(operator.add, other, self)

    def __sub__(self, other: Objective | float) -> Objective:
        return _combined(operator.sub, self, other)

    def __rsub__(self, other: Objective | float) -> Objective:
        return _combined(operator.sub, other, self)

    def __mul__(self, other: Objective | float) -> Objective:
        return _combined(operator.mul, self, other)

    def __rmul__(self, other: Objective | float) -> Objective:
        return _combined(operator.mul, other, self)

    def __truediv__(self, other: Objective | float) -> Objective:
        return _combined(operator.truediv, self, other)

    def __rtruediv__(self, other: Objective | float) -> Objective:
        return _combined(operator.truediv, other, self)

    def __pow__(self, other: Objective | float) -> Objective:
        return _combined(operator.pow, self, other)

    def __rpow__(self, other: Objective | float) -> Objective:
        return _combined(operator.pow, other, self)

    def __neg__(self) -> Objective:
        return _combined(operator.neg, self)

    def __abs__(self) -> Objective:
        return _combined(operator.abs, self)

    def clip(self, low: Objective | float, high: Objective | float) -> Objective:
        """Returns the objective between bounds, beyond which it has no slope.

        Args:
            low: the smallest score; `-math.inf` for none.
            high: the largest score; `math.inf` for none.

        Raises:
            TypeError: if a bound is neither an objective nor a number.
            ValueError: if it is not a number (NaN).
        """
        return _combined(jnp.clip, self, low, high)


@pytree
class Combined(Objective):
    """Objectives combined, image by image.

    Attributes:
        operation: the function of the operands' scores.
        operands: the objectives that are combined.
    """

    operation: Callable[..., Any] = static()
    operands: tuple[Any, ...]

    @property
    def sites(self) -> tuple[Sites, ...]:
        """The places that any of the operands reads."""
        return tuple(dict.fromkeys(s for o in self.operands for s in o.sites))

    @property
    def compares(self) -> bool:
        """Whether one of the operands compares images."""
        return any(o.compares for o in self.operands)

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with all operands bound."""
        operands = tuple(o.bound(shapes) for o in self.operands)
        return dataclasses.replace(self, operands=operands)

    def __call__(self, view: View) -> Any:
        """Returns the operation of the operands' scores."""
        return self.operation(*(operand(view) for operand in self.operands))


@pytree
class Number(Objective):
    """A number that no image changes: a weight.

    Attributes:
        value: the number of each unit, `(units,)`, or of each image of each unit,
            `(units, images)`.
    """

    value: Any

    def __call__(self, view: View) -> Any:
        """Returns the number."""
        return self.value


@pytree
class Schedule(Objective):
    """A number that depends on the step alone.

    Attributes:
        function: the function from the step to the number, such as an optax schedule.
    """

    function: Callable[[Any], Any] = static()

    def __call__(self, view: View) -> Any:
        """Returns the number of this step."""
        return self.function(view.step)


@pytree
class Custom(Objective):
    """A function of what the objective reads.

    Attributes:
        function: the function from a `View` to scores `(images,)`.
        reads: the sites whose activations it reads.
    """

    function: Callable[[View], Any] = static()
    reads: tuple[Sites, ...] = static()

    @property
    def sites(self) -> tuple[Sites, ...]:
        """The sites whose activations the function reads."""
        return self.reads

    def __call__(self, view: View) -> Any:
        """Returns what the function says."""
        activations = _Listed(view.activations)
        try:
            return self.function(view._replace(activations=activations))
        except (AttributeError, TypeError) as error:
            error.add_note(
                "custom(): the function was given a `View`, of which it reads "
                "`view.activations['Conv_0']`, `view.outputs`, `view.images` or "
                "`view.step`."
            )
            raise


class _Listed(OrderedDict[Sites, Any]):
    """The activations at the sites that were listed."""

    def __missing__(self, site: Sites) -> Any:
        sites = (*self, site)
        raise ValueError(
            f"custom(): the function reads the activation at {site!r}, and the sites "
            f"that were listed are {list(self)}.\nList every site that it reads: "
            f"`custom(function, {', '.join(map(repr, sites))})`."
        )


jax.tree_util.register_pytree_node(
    _Listed,
    lambda listed: (tuple(listed.values()), tuple(listed)),
    lambda sites, values: _Listed(zip(sites, values, strict=True)),
)


def schedule(function: Callable[[Any], Any]) -> Objective:
    """Returns a weight that changes with the steps.

    Args:
        function: a function from the number of the step, an integer array from 0, to
            the weight. Every optax schedule is one.

    Raises:
        TypeError: if it is no function.

    Example:
        >>> from jaxinterp.featurevis import channel, total_variation
        >>> late = schedule(lambda step: jnp.where(step < 100, 0.0, 1.0))
        >>> objective = channel("Conv_0", 3) - late * total_variation()
    """
    if not callable(function):
        raise TypeError(f"A schedule is a function of the step, and is {function!r}.")
    return Schedule(function)


def custom(function: Callable[[View], Any], *sites: Sites) -> Objective:
    """Makes an objective of a function.

    Args:
        function: a function from a `View` of the images of one unit to a score of
            each, `(images,)`.
        *sites: the sites whose activations the function reads, as
            `view.activations[site]`.

    Raises:
        TypeError: if it is no function.
        ValueError: where it is used, if the function reads a site that is not listed.

    Example:
        >>> energy = custom(lambda view: (view.activations["c"] ** 2).sum((1, 2)), "c")
        >>> energy.sites
        ('c',)
    """
    if not callable(function):
        raise TypeError(
            "custom() takes a function of a `View` first, and was given "
            f"{function!r}. Write `custom(lambda view: ..., 'Conv_0')`."
        )
    return Custom(function, sites)


def _combined(operation: Callable[..., Any], *operands: Any) -> Objective:
    return Combined(operation, tuple(map(_as_objective, operands)))


def _as_objective(value: Any) -> Objective:
    if isinstance(value, Objective):
        return value
    if isinstance(value, str) or value is None:
        raise TypeError(
            f"Objectives combine with objectives and numbers, and not with {value!r}. "
            "Of a string, `as_objective('Conv_0:3')` makes an objective."
        )
    number = jnp.asarray(value)
    is_numeric = jnp.issubdtype(number.dtype, jnp.number) and not jnp.iscomplexobj(
        number
    )
    if number.ndim > 1 or not is_numeric:
        raise TypeError(
            "Objectives combine with objectives, numbers, or one number for each unit, "
            f"`(units,)`; {number.dtype}{list(number.shape)} was given."
        )
    if not is_traced(value) and np.isnan(np.asarray(value, float)).any():
        raise ValueError(
            f"An objective was combined with {value!r}, which is not a number (NaN), "
            "so that no image would have a score.\nA bound that is open is "
            "`-math.inf` or `math.inf`, as in `objective.clip(0.0, math.inf)`."
        )
    # A float, since integers tell units apart, and a weight is none. Python's numbers
    # stay of weak type, so that scores keep their precision.
    if is_real(value):
        return Number(jnp.atleast_1d(jnp.asarray(float(value))))
    return Number(jnp.atleast_1d(number.astype(jnp.result_type(number, jnp.float32))))
