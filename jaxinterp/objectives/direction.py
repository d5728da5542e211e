r"""Objectives of directions: what lies along a vector, or a patch, of activations.

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
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxinterp.checks import checked_real
from jaxinterp.objectives import positions
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites

_FLOOR = 0.1  # of the cosine


@pytree
class Direction(Objective):
    """The agreement with a vector or a patch, in the mean over its places.

    Attributes:
        site: the layer whose activation is read.
        cosine_power: the exponent $p$.
        keep_length: whether the lengths of activation and vector count.
        is_at_center: whether an open position means the center, rather than the mean.
        vector: directions `(units, channels)`, or patches `(units, *places, channels)`.
        position: arrays `(units,)`, `None` for all of an axis, or for its middle in a
            patch; `None` if it is open.
    """

    site: Sites = static()
    cosine_power: float = static()
    keep_length: bool = static()
    is_at_center: bool = static()
    vector: Any
    position: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the center, or the place of the patch, filled in."""
        shape, name = tuple(shapes.activations[self.site]), repr(self.site)
        channels = positions.check_channels(shape, name)
        if self.vector.ndim > 2:
            return dataclasses.replace(self, position=self._patch_position(shape))
        if self.vector.shape[-1] != channels:
            raise ValueError(
                f"The direction has {self.vector.shape[-1]} entries, and {name} has "
                f"{channels} channels: its shape is {shape}.\n"
                "Give one number for each channel."
            )
        position = positions.center_of(shape) if self.is_at_center else self.position
        position = positions.bound_position(position, shape, name)
        return dataclasses.replace(self, position=position)

    def _patch_position(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Returns where the first entry of the patch lies, counted from the start."""
        patch = self.vector.shape[1:]
        if (
            len(patch) != len(shape)
            or patch[-1] != shape[-1]
            or any(small > large for small, large in zip(patch, shape, strict=True))
        ):
            raise ValueError(
                f"A patch of shape {patch} for each unit does not fit into "
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
        start = positions.bound_position(position, free, name)
        assert start is not None, "no position was filled with `None`"
        middle = positions.center_of(free)
        return tuple(m if s is None else s for s, m in zip(start, middle, strict=True))

    def __call__(self, view: View) -> Any:
        """Returns the agreement of each image."""
        is_patch = self.vector.ndim > 1  # there is no axis of units here
        position = None if is_patch else self.position
        a = positions.at_position(view.activations[self.site], position)
        for axis, size in enumerate(self.vector.shape[:-1], start=1):
            a = positions.pick(a, self.position[axis - 1] + jnp.arange(size), axis)
        agreement = dot_cosine(a, self.vector, self.cosine_power)
        if not self.keep_length:
            length = _inverse_length(self.vector.astype(a.dtype))
            agreement = agreement * _inverse_length(a) * length
        return positions.mean_of_places(agreement, n_last=0)


def direction(
    site: Sites,
    vector: Any,
    *,
    cosine_power: float = 0.0,
    keep_length: bool = True,
    position: Sequence[Any] | Literal["center"] | None = None,
) -> Objective:
    r"""Looks for what lies along a direction, everywhere or at some places $X$.

    $$\frac{1}{|X|} \sum_{x \in X} (a_x \cdot v_x)\,\max(0.1, \cos(a_x, v_x))^p$$

    A vector is the same $v$ at each place; a *patch* of activations has a vector of its
    own for each of its places, and with weights of your own it is a weighted group of
    neurons: places, channels, or both. Published variants are
    `direction(site, v, position="center")`, the direction of a neuron;
    `direction(site, v, keep_length=False)`, the cosine alone, with which weak
    activations count as much as strong ones; and `direction(site, patch)`, lucid's
    tensor direction.

    Args:
        site: the layer whose activation is read.
        vector: the direction $v$, `(channels,)`, or several, `(units, channels)`; or
            patches `(units, *positions, channels)`, as `capture` returns activations
            of a batch, of at most as many positions as the site has.
        cosine_power: the exponent $p$; 0 is the dot product.
        keep_length: whether the lengths of activation and vector count; without, the
            score is divided by both, and 0 where one is zero.
        position: for a vector, the places of the mean: an entry for each axis in front
            of the channels, an integer or `None` for all of the axis; `"center"` is the
            middle, of an even number of places the later one; by default everywhere.
            For a patch, where its first entry lies, counted among the places where the
            patch fits, so that `(0, -1)` is at the top right: integers, or `None` for
            the middle of that axis; by default the middle of all. Integers may be
            arrays, one for each unit.

    Returns:
        An objective, in the units of the activation times those of the vector; without
        unit, between -1 and 1, if `keep_length` is false.

    Raises:
        TypeError: if the vector is not of numbers, or the position not of integers.
        ValueError: if the vector has no axis, or the power is negative; where it is
            used, if the vector does not fit the site.

    Example:
        >>> objective = direction("Conv_0", [1.0, 0.0, 1.0], cosine_power=2.0)
        >>> in_the_corner = direction("Conv_0", [1.0, 0.0, 1.0], position=(0, 0))
        >>> patch = direction("Conv_0", jnp.ones((1, 3, 3, 16)))

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
        Carter et al., 2019, "Aggregating Multiple Images", for the cosine
        [carter2019activation].
    """
    array = as_floats(vector, "direction")
    if not array.ndim:
        raise ValueError(
            "A direction has shape (channels,), (units, channels) if there are several,"
            " or (units, *positions, channels) for patches of activations, and was "
            f"given with shape {array.shape}."
        )
    is_at_center = isinstance(position, str) and position == "center"
    call = "direction('Conv_0', vector, position=(None, 5))"
    return Direction(
        site,
        checked_real("cosine_power", cosine_power, 0, call="direction"),
        bool(keep_length),
        is_at_center,
        jnp.atleast_2d(array),
        None if is_at_center else positions.as_position(position, call),
    )


def dot_cosine(x: Any, y: Any, power: float) -> Any:
    r"""Returns $(x \cdot y)\,\max(0.1, \cos(x, y))^p$ over the last axis.

    Where either vector is zero the cosine counts as zero, and derivatives are finite.

    Args:
        x: vectors on the last axis.
        y: vectors as well, broadcast against the last axes of `x`.
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


def as_target(target: Any, name: str) -> Any:
    """Returns activations as an array of floats with the units first.

    Args:
        target: activations `(units, *positions, channels)`.
        name: the name of the objective, for the error.

    Raises:
        TypeError: if they are not of numbers.
        ValueError: if they have fewer than two axes.
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
        value: an array, or what `jnp.asarray` makes one of.
        what: the name of the array, for the error.

    Raises:
        TypeError: if it is not of real numbers.
    """
    array = positions.as_array(value)
    if array is None or not jnp.isdtype(array.dtype, ("real floating", "integral")):
        kind = positions.description(array, value)
        raise TypeError(f"The {what} is an array of real numbers, and was {kind}.")
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return array if is_float else array.astype(jnp.float32)
