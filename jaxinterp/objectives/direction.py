r"""Objectives of directions: what lies along a vector of activations.

Notation: $a_x$ is the activation at position $x$, a vector over the channels, and $v$ a
direction. The measure of agreement is their dot product, or

$$(a \cdot v)\,\max(0.1, \cos(a, v))^p,$$

which for $p > 0$ prefers activations that are *like* $v$ over large ones that also are
something else. The floor keeps two negative factors from making a positive score, and a
gradient where there is no agreement yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.objectives import positions
from jaxinterp.objectives.objective import Objective, Shapes, View, Where

_FLOOR = 0.1  # of the cosine


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Direction(Objective):
    """The agreement with a vector, in the mean over a position.

    Attributes:
        site: whose activation is read.
        cosine_power: the exponent $p$.
        is_at_center: whether an open position means the center, rather than the mean.
        is_cosine: whether the length of the activation does not count.
        vector: directions, `(units, channels)`.
        position: arrays `(units,)`, `None` for all of an axis; `None` if it is open.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    cosine_power: float = dataclasses.field(metadata={"static": True})
    is_at_center: bool = dataclasses.field(metadata={"static": True})
    is_cosine: bool = dataclasses.field(metadata={"static": True})
    vector: Any
    position: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the center filled in."""
        shape, name = shapes.activations[self.site], repr(self.site)
        channels = positions.check_channels(shape, name)
        if self.vector.shape[-1] != channels:
            raise ValueError(
                f"The direction has {self.vector.shape[-1]} entries, and {name} has "
                f"{channels} channels: its shape is {shape}.\n"
                "Give one number for each channel."
            )
        position = self.position
        if position is None and self.is_at_center:
            position = positions.center_of(shape)
        position = positions.bound_position(position, shape, name)
        return dataclasses.replace(self, position=position)

    def __call__(self, view: View) -> Any:
        """Returns the agreement of each picture."""
        a = positions.at_position(view.activations[self.site], self.position)
        agreement = dot_cosine(a, self.vector, self.cosine_power)
        if self.is_cosine:
            length = _inverse_length(self.vector.astype(a.dtype))
            agreement = agreement * _inverse_length(a) * length
        return positions.mean_of_places(agreement, kept=0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TensorDirection(Objective):
    """The agreement with a patch of activations.

    Attributes:
        site: whose activation is read.
        cosine_power: the exponent $p$.
        target: patches, `(units, *positions, channels)`.
        position: of the first entry of a patch, arrays `(units,)`, `None` for the
            middle of an axis; `None` for the middle of all.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    cosine_power: float = dataclasses.field(metadata={"static": True})
    target: Any
    position: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the place of the patch filled in."""
        shape, patch = tuple(shapes.activations[self.site]), self.target.shape[1:]
        is_inside = len(patch) == len(shape) and all(
            small <= large for small, large in zip(patch, shape, strict=True)
        )
        if not is_inside or patch[-1:] != shape[-1:]:
            raise ValueError(
                f"A target of shape {patch} for each unit does not fit into "
                f"{self.site!r}, whose shape is {shape}.\n"
                "Give `(units, *positions, channels)`, as `capture` returns it, with "
                "all channels and at most as many positions."
            )
        free = tuple(
            large - small + 1 for small, large in zip(patch, shape, strict=True)
        )
        position = self.position
        if position is None:
            position = (None,) * (len(shape) - 1)
        name = f"the patch in {self.site!r}"
        found = positions.bound_position(position, free, name)
        assert found is not None, "no position was filled with `None`"
        middle = positions.center_of(free)
        filled = tuple(
            m if p is None else p for p, m in zip(found, middle, strict=True)
        )
        return dataclasses.replace(self, position=filled)

    def __call__(self, view: View) -> Any:
        """Returns the agreement of each picture."""
        a = positions.at_position(view.activations[self.site], None)
        for axis, size in enumerate(self.target.shape[:-1], start=1):
            start = self.position[axis - 1]
            a = positions.pick(a, start + jnp.arange(size), axis)
        agreement = dot_cosine(a, self.target, self.cosine_power)
        return positions.mean_of_places(agreement, kept=0)


def direction(
    site: Where,
    vector: Any,
    *,
    cosine_power: float = 0.0,
    position: Sequence[Any] | None = None,
) -> Objective:
    r"""Looks for what lies along a direction, wherever it is.

    $$\frac{1}{|X|} \sum_x (a_x \cdot v)\,\max(0.1, \cos(a_x, v))^p$$

    Args:
        site: whose activation is read.
        vector: the direction $v$, `(channels,)`, or several, `(units, channels)`. Its
            length multiplies the score.
        cosine_power: the exponent $p$; 0 is the dot product.
        position: the mean is over these places only: an entry for each axis in front of
            the channels, an integer or `None` for all of the axis.

    Returns:
        An objective, in the units of the activation times those of the vector.

    Raises:
        TypeError: if the vector is not of numbers, or the position not of integers.
        ValueError: if the vector has other axes, or the power is negative.

    Example:
        >>> both = direction("Conv_0", [1.0, 0.0, 1.0], cosine_power=2.0)

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
        Carter et al., 2019, "Aggregating Multiple Images", for the cosine
        [carter2019activation].
    """
    call = "direction('Conv_0', vector, position=(None, 5))"
    return Direction(
        site,
        check_power(cosine_power),
        is_at_center=False,
        is_cosine=False,
        vector=_as_vector(vector),
        position=positions.as_position(position, call),
    )


def direction_neuron(
    site: Where,
    vector: Any,
    *,
    cosine_power: float = 0.0,
    position: Sequence[Any] | None = None,
) -> Objective:
    r"""Looks for what lies along a direction at one place.

    $$(a_x \cdot v)\,\max(0.1, \cos(a_x, v))^p$$

    Args:
        site: whose activation is read.
        vector: the direction $v$, `(channels,)`, or several, `(units, channels)`.
        cosine_power: the exponent $p$; 0 is the dot product.
        position: the place $x$, an integer for each axis in front of the channels; by
            default the center, of an even number of places the later one.

    Returns:
        An objective, in the units of the activation times those of the vector.

    Raises:
        TypeError: if the vector is not of numbers, or the position not of integers.
        ValueError: if the vector has other axes, or the power is negative.

    Example:
        >>> objective = direction_neuron("Conv_0", [1.0, 0.0, 1.0], position=(0, 4))

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
    """
    call = "direction_neuron('Conv_0', vector, position=(row, column))"
    return Direction(
        site,
        check_power(cosine_power),
        is_at_center=True,
        is_cosine=False,
        vector=_as_vector(vector),
        position=positions.as_position(position, call),
    )


def cosine(
    site: Where, vector: Any, *, position: Sequence[Any] | None = None
) -> Objective:
    r"""Looks for the angle to a direction alone, wherever it is: $\cos(a_x, v)$.

    Weak activations count as much as strong ones, so that `direction` with a
    `cosine_power` is often the better question.

    Args:
        site: whose activation is read.
        vector: the direction $v$, `(channels,)`, or several, `(units, channels)`.
        position: the mean is over these places only, as in `direction`.

    Returns:
        An objective between -1 and 1; 0 where an activation is zero.

    Raises:
        TypeError: if the vector is not of numbers, or the position not of integers.
        ValueError: if the vector has other axes.

    Example:
        >>> along = cosine("Conv_0", [1.0, 0.0, 1.0])
    """
    call = "cosine('Conv_0', vector, position=(None, 5))"
    return Direction(
        site,
        0.0,
        is_at_center=False,
        is_cosine=True,
        vector=_as_vector(vector),
        position=positions.as_position(position, call),
    )


def tensor_direction(
    site: Where,
    target: Any,
    *,
    cosine_power: float = 0.0,
    position: Sequence[Any] | None = None,
) -> Objective:
    r"""Looks for what lies along a patch of activations $t$.

    $$\frac{1}{|X|} \sum_{x \in X} (a_x \cdot t_x)\,\max(0.1, \cos(a_x, t_x))^p$$

    With weights of your own for the target it is a weighted group of neurons: places,
    channels, or both.

    Args:
        site: whose activation is read.
        target: activations, the units first, as `capture` returns them for a batch:
            `(units, *positions, channels)`, or a patch of fewer positions than the
            site has.
        cosine_power: the exponent $p$; 0 is the dot product.
        position: where the first entry of a patch lies, counted among the places where
            the patch fits, so that `(0, -1)` is at the top right: an integer for each
            axis in front of the channels, `None` for the middle of that axis; by
            default the middle of all, of an even number of places the later one.

    Returns:
        An objective, in the units of the activation, squared.

    Raises:
        TypeError: if the target is not of numbers, or the position not of integers.
        ValueError: if it has no axis of units, or the power is negative.

    Example:
        >>> objective = tensor_direction("Conv_0", jnp.ones((1, 3, 3, 16)))
    """
    call = "tensor_direction('Conv_0', target, position=(0, -1))"
    return TensorDirection(
        site,
        check_power(cosine_power),
        as_target(target, "tensor_direction"),
        positions.as_position(position, call),
    )


def dot_cosine(x: Any, y: Any, power: float) -> Any:
    r"""Returns $(x \cdot y)\,\max(0.1, \cos(x, y))^p$ over the last axis.

    Where either vector is zero the cosine counts as zero, and derivatives are finite.

    Args:
        x: vectors on the last axis.
        y: likewise; broadcast against the last axes of `x`.
        power: the exponent $p$.
    """
    y = jnp.broadcast_to(y.astype(x.dtype), x.shape)
    dot = jnp.sum(x * y, axis=-1)
    if power == 0:
        return dot
    cosine = dot * _inverse_length(x) * _inverse_length(y)
    return dot * jnp.maximum(cosine, _FLOOR) ** power


def _inverse_length(x: Any) -> Any:
    square = jnp.sum(x * x, axis=-1)
    return jax.lax.rsqrt(jnp.where(square == 0, 1, square))


def check_power(power: Any) -> float:
    """Returns the exponent of a cosine.

    Args:
        power: what was given.

    Raises:
        ValueError: if it is negative.
    """
    if not power >= 0:
        raise ValueError(
            f"`cosine_power` must not be negative, and is {power}.\n"
            "Write 0 for the dot product, or 1 to 4 to weigh agreement in direction."
        )
    return float(power)


def as_target(target: Any, name: str) -> Any:
    """Returns activations as an array of floats with the units first.

    Args:
        target: `(units, *positions, channels)`.
        name: of the objective, for the error.

    Raises:
        TypeError: if it is not of numbers.
        ValueError: if it has fewer than two axes.
    """
    array = as_floats(target, "target")
    if array.ndim < 2:
        raise ValueError(
            f"The target has shape {array.shape}, and needs the units first, "
            "(units, *positions, channels), as `capture` returns it for a batch.\n"
            f"Write `{name}(site, target[None])` for a single one."
        )
    return array


def as_floats(value: Any, what: str) -> Any:
    """Returns an array of floats.

    Args:
        value: what was given.
        what: it is called.

    Raises:
        TypeError: if it is not of real numbers.
    """
    array = positions.as_array(value)
    if array is None or not (
        jnp.issubdtype(array.dtype, jnp.floating)
        or jnp.issubdtype(array.dtype, jnp.integer)
    ):
        found = positions.described(array, value)
        raise TypeError(f"The {what} is an array of real numbers, and was {found}.")
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return array if is_float else array.astype(jnp.float32)


def _as_vector(vector: Any) -> Any:
    array = as_floats(vector, "direction")
    if array.ndim not in (1, 2):
        raise ValueError(
            f"A direction has shape (channels,), or (units, channels) if there are "
            f"several, and was given with shape {array.shape}.\n"
            "For a patch of activations write `tensor_direction(site, target)`."
        )
    return jnp.atleast_2d(array)
