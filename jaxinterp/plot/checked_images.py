"""What images, their names and their number in a row have to be, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxinterp.checks import check_outside, checked_integer, is_integer

# One name for each image or row: texts, or numbers such as those of classes.
Names = Sequence[str | int] | np.ndarray | jax.Array


def checked_numbers(
    values: Any, call: str, name: str, dtype: Any = np.float32
) -> np.ndarray:
    """Returns numbers that can be drawn as an array of NumPy.

    Args:
        values: an array, or a list of arrays of one shape.
        call: the name of the public function, for the error message.
        name: the name of the argument, for the error message.
        dtype: the dtype of the array.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the numbers.
        ValueError: if the values are no array of real numbers.
    """
    check_outside(call, "draws numbers", values)
    advice = f"Write an array, `numpy.stack({name})` of a list of arrays of one shape."
    if isinstance(values, Mapping):
        keys = ", ".join(map(repr, values))
        advice = f"Choose one of its values, `{name}[key]`; the keys are {keys}."
    elif hasattr(values, "images"):
        advice = f"Write `{name}.images`."
    else:
        try:
            numbers = np.asarray(values)
            if not np.iscomplexobj(numbers):
                return numbers.astype(dtype)
            advice = f"Choose a part, `{name}.real`, or the size, `abs({name})`."
        except (TypeError, ValueError):
            pass
    kind = getattr(values, "dtype", None) or type(values).__name__
    raise ValueError(
        f"{call}: `{name}` must be an array of real numbers, and is {kind}.\n{advice}"
    )


def advice_on_shape(name: str, shape: tuple[int, ...], n_axes: int) -> str:
    """Returns what to write where the shape of an argument is not that of images.

    Args:
        name: the name of the argument.
        shape: its shape.
        n_axes: how many axes images have, those of the units or the batch included.
    """
    if len(shape) == n_axes - 2:
        return f"Of one image without channels write `{name}[None, ..., None]`."
    if len(shape) == n_axes - 1:
        return (
            f"Of one image write `{name}[None]`, and of images without channels "
            f"`{name}[..., None]`."
        )
    if len(shape) == n_axes and shape[-3] in (1, 3) and shape[-1] > 4:
        return f"Channels come last: write `numpy.moveaxis({name}, -3, -1)`."
    return (
        f"Choose what to show, such as `{name}[..., :3]`, or all in false colors, "
        f"`jaxinterp.plot.false_colors({name})`."
    )


def checked_images(images: Any, call: str, name: str, n_axes: int) -> np.ndarray:
    """Returns images that can be drawn: clipped to [0, 1], and opaque.

    Args:
        images: `(units, height, width, channels)`, or `(units, k, height, width,
            channels)` with `k` images of each unit.
        call: the name of the public function, for the error message.
        name: the name of the argument, for the error message.
        n_axes: how many axes the array must have, 4 or 5.

    Returns:
        The images in float32, with one channel or three: an image of four is laid
        over white, by the opacity in its last channel.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the images.
        ValueError: if the images are not of that shape and range.
    """
    pixels = checked_numbers(images, call, name)
    axes = ("units", *("k",) * (n_axes - 4), "height", "width", "channels")
    if pixels.ndim == n_axes and not pixels.size:
        raise ValueError(
            f"{call}: `{name}` holds no image; its shape is {pixels.shape}."
        )
    if pixels.ndim != n_axes or pixels.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"{call}: `{name}` must be images ({', '.join(axes)}) with one channel "
            f"or three, or four with the opacity last, and has shape {pixels.shape}.\n"
            f"{advice_on_shape(name, pixels.shape, n_axes)}"
        )
    numbers = pixels[~np.isnan(pixels)]
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    # Resized and half-precision images leave the range by rounding.
    if not (low >= -1e-2 and high <= 1 + 1e-2):
        raise ValueError(
            f"{call}: `{name}` must be in [0, 1], and is in [{low:g}, {high:g}].\n"
            "Undo what the model's preprocessing did, `preprocess.inverse(inputs)`; of "
            f"8 bits write `{name} / 255`."
        )
    pixels = np.clip(pixels, 0, 1)
    if pixels.shape[-1] < 4:
        return pixels
    colors, opacity = pixels[..., :3], pixels[..., 3:]
    return opacity * colors + (1 - opacity)


def checked_names(
    call: str, names: Any, count: int, argument: str, named: str = "images"
) -> list[str]:
    """Returns the names of images or other things, as a list with one text for each.

    Args:
        call: the name of the public function, for the error message.
        names: texts or integers, in a sequence or an array.
        count: how many things there are.
        argument: the name of the argument that holds the names, such as `"titles"`.
        named: the word for what has the names.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the names.
        ValueError: if there are more or fewer names than things, or one is neither a
            text nor an integer.
    """
    check_outside(call, "writes names", names)
    values = np.asarray(names) if isinstance(names, jax.Array) else names
    is_array = isinstance(values, np.ndarray) and values.ndim
    is_list = isinstance(values, Sequence) or is_array
    if not is_list or len(values) != count:
        value = f"{len(values)} {argument}" if is_list else repr(values)
        raise ValueError(
            f"{call}: there are {count} {named} and {value}. Write a text or an "
            f"integer for each in `{argument}`."
        )
    for name in values:
        if not isinstance(name, str) and not is_integer(name):
            raise ValueError(
                f"{call}: `{argument}` are texts or integers, and one is {name!r}. "
                f"Write `{argument}=[str(name) for name in {argument}]`."
            )
    return [str(name) for name in values]


def checked_columns(call: str, columns: int | None, n_images: int) -> int:
    """Returns how many images a row has: about as many as there are rows by default.

    Args:
        call: the name of the public function, for the error message.
        columns: how many images the caller wants in a row, or `None`.
        n_images: how many images there are.

    Raises:
        ValueError: if `columns` is no integer, or less than one.
    """
    if columns is None:
        return int(np.ceil(np.sqrt(n_images)))
    return checked_integer("columns", columns, 1, call=call)
