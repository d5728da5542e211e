"""Which part of an activation is read: positions first, channels last.

The activation of one image is `(height, width, channels)`, `(tokens, channels)`,
`(tokens, heads, channels)` or `(channels,)`: all axes but the last are positions. A
*position* has an entry for each of them, an integer or `None` for all of that axis;
`None` instead of a position is all of every axis. What is read of several places is
their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import check_index, shown


def as_index(index: Any, call: str) -> Any:
    """Returns channels as an array `(units,)`; `None`, for all of them, stays.

    Args:
        index: the numbers of channels: one integer, or several.
        call: how the call is written, for the error.

    Raises:
        TypeError: if they are not integers, or have several axes.
    """
    return None if index is None else _as_integers(index, "The index", call)


def as_position(position: Sequence[Any] | None, call: str) -> tuple[Any, ...] | None:
    """Returns a position with an array `(units,)` for each integer.

    Args:
        position: an entry for each axis of positions, or `None`.
        call: how the call is written, for the error.

    Raises:
        TypeError: if it is no sequence, or an entry is neither integers nor `None`.
    """
    if position is None:
        return None
    if not isinstance(position, tuple | list):
        raise TypeError(
            "A position is a tuple with an entry for each axis in front of the "
            f"channels, and was {shown(position)}.\nWrite `{call}`."
        )
    return tuple(
        None if p is None else _as_integers(p, "Each entry of a position", call)
        for p in position
    )


def _as_integers(value: Any, what: str, call: str) -> Any:
    array = as_array(value)
    is_integer = array is not None and jnp.issubdtype(array.dtype, jnp.integer)
    if array is None or array.ndim > 1 or not is_integer:
        raise TypeError(
            f"{what} is an integer, or an integer for each unit, and was "
            f"{description(array, value)}.\nWrite `{call}`."
        )
    return jnp.atleast_1d(array)


def as_array(value: Any) -> Any | None:
    """Returns a value as an array, `None` if it is not of numbers."""
    if any(isinstance(leaf, str) for leaf in jax.tree.leaves(value)):
        return None  # JAX takes some strings for dtypes
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):  # lists of unequal lengths, say
        return None


def description(array: Any | None, value: Any) -> str:
    """Returns how errors call an array, or, where it is `None`, the value.

    Args:
        array: the value as an array, or `None` if it is not one of numbers.
        value: the value as the user gave it.
    """
    return repr(value) if array is None else f"{array.dtype}{list(array.shape)}"


def center_of(shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Returns the position in the middle; of an even number of places the later one."""
    return tuple(jnp.array([size // 2]) for size in shape[:-1])


def bound_position(
    position: tuple[Any, ...] | None, shape: tuple[int, ...], name: str
) -> tuple[Any, ...] | None:
    """Returns a checked position, counted from the start; `None` stays.

    Args:
        position: arrays of integers, `None` for all of an axis.
        shape: the shape of the activation of one image.
        name: the name of the activation.

    Raises:
        ValueError: if there is no such place; the message names the axis, or the number
            of axes.
    """
    if position is None:
        return None
    axes = shape[:-1]
    if len(position) != len(axes):
        entries = ", ".join(["None"] * len(axes)) + "," * (len(axes) == 1)
        raise ValueError(
            f"The position has {len(position)} entries, and {name} has {len(axes)} "
            f"axes in front of its channels: its shape is {shape}.\n"
            f"Write `position=({entries})` with an integer where one place is meant."
        )
    bound: list[Any] = []
    for axis, (where, size) in enumerate(zip(position, axes, strict=True)):
        if where is not None:
            check_index(where, size, f"place on axis {axis} of {name}")
            where = from_start(where, size)
        bound.append(where)
    return tuple(bound)


def from_start(index: Any, size: int) -> Any:
    """Returns indices counted from the start, where negative ones were from the end.

    Args:
        index: integers; those that are in neither range become `size`, which is out of
            range as well.
        size: the number of entries.
    """
    index = jnp.where(index < 0, index + size, index)
    return jnp.where(index < 0, size, index)


def check_channels(shape: tuple[int, ...], name: str) -> int:
    """Returns the number of channels of an activation of one image.

    Args:
        shape: the shape of the activation of one image.
        name: the name of the activation, for the message.

    Raises:
        ValueError: if it has no axis; the name of the activation is in the message.
    """
    if not shape:
        raise ValueError(
            f"{name} is one number for each image and has no channels.\n"
            "For that number itself write "
            f"`jaxinterp.objectives.custom(lambda view: view.activations[{name}], "
            f"{name})`."
        )
    return shape[-1]


def bound_index(index: Any, shape: tuple[int, ...], name: str) -> Any:
    """Returns checked channels, counted from the start; all of them for `None`.

    Args:
        index: an array `(units,)` or `None`.
        shape: the shape of the activation of one image.
        name: the name of the activation.

    Raises:
        ValueError: if there is no such channel.
    """
    channels = check_channels(shape, name)
    if index is None:
        return jnp.arange(channels)
    check_index(index, channels, f"channel of {name}")
    return from_start(index, channels)


def at_position(activation: Any, position: tuple[Any, ...] | None) -> Any:
    """Returns what lies at a position, in float32 at least.

    Args:
        activation: the activation of some images, `(images, *positions, channels)`.
        position: integers, which may be traced, and `None` for all of an axis.

    Returns:
        An array `(images, *rest, channels)`; the rest are the axes with `None`.
    """
    dtype = activation.dtype
    is_wide = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 32
    x = activation if is_wide else activation.astype(jnp.float32)
    for axis, where in reversed(list(enumerate(position or (), start=1))):
        if where is not None:
            x = pick(x, where, axis)
    return x


def pick(x: Any, index: Any, axis: int) -> Any:
    """Returns some entries along an axis: NaN if a traced index is out of range.

    With a single index the axis disappears; negative ones count from the end.

    Args:
        x: the array to pick from.
        index: one integer, with which the axis disappears, or several.
        axis: the axis along which entries are picked.
    """
    return jnp.take(x, index, axis=axis, mode="fill", fill_value=jnp.nan)


def mean_of_places(x: Any, n_last: int) -> Any:
    """Returns the mean over the axes between the images and the last `n_last` axes.

    Args:
        x: an array with the images on the first axis.
        n_last: how many of the last axes are kept.
    """
    return x.mean(axis=tuple(range(1, x.ndim - n_last)))
