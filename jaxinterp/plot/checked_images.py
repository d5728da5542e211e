"""What images, their names and their number in a row have to be, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinterp.checks import checked_integer


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
        ValueError: if the images are not of that shape and range.
    """
    pixels = np.asarray(images, np.float32)
    axes = ("units", *("k",) * (n_axes - 4), "height", "width", "channels")
    if pixels.ndim == n_axes and not pixels.size:
        raise ValueError(
            f"{call}: `{name}` holds no image; its shape is {pixels.shape}."
        )
    if pixels.ndim != n_axes or pixels.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"{call}: `{name}` must be images ({', '.join(axes)}) with one channel "
            f"or three, or four with the opacity last, and has shape {pixels.shape}.\n"
            f"Choose what to show, such as `{name}[..., :3]`, or all in false colors, "
            f"`jaxinterp.plot.false_colors({name})`."
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


def checked_names(call: str, names: Any, n_images: int, argument: str) -> list[str]:
    """Returns the texts that name images, as a list with one text for each image.

    Args:
        call: the name of the public function, for the error message.
        names: the texts, in a sequence or an array.
        n_images: how many images there are.
        argument: the name of the argument that holds the texts, such as `"titles"`.

    Raises:
        ValueError: if there are more or fewer texts than images, or one is no text.
    """
    is_list = isinstance(names, Sequence) or (
        isinstance(names, np.ndarray) and names.ndim
    )
    if not is_list or len(names) != n_images:
        value = f"{len(names)} {argument}" if is_list else repr(names)
        raise ValueError(
            f"{call}: there are {n_images} images and {value}. Write a text for each "
            f"in `{argument}`."
        )
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"{call}: `{argument}` are texts, and one is {name!r}. Write "
                f"`{argument}=[str(name) for name in {argument}]`."
            )
    return [str(name) for name in names]


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
