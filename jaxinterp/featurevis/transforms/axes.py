"""Which axes a transform works on, and the sizes and fills that they take."""

from __future__ import annotations

from typing import Any

from jaxinterp.checks import is_integer, is_real, shown
from jaxinterp.featurevis.transforms.transform import Fill
from jaxinterp.featurevis.transforms.warp import Size

# A size, or the side of an image that is equally long along all axes.
Target = int | Size


def checked_target(name: str, value: Any) -> Target:
    """Returns a size, or a side, as integers.

    Args:
        name: the name of the transform.
        value: the argument of the user.

    Raises:
        ValueError: if it is no size.
    """
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not sizes or not all(map(is_integer, sizes)) or min(sizes) < 1:
        raise ValueError(
            f"{name}() takes a size in pixels, (height, width) of an image, or one "
            f"side for all axes, and was given {shown(value)}."
        )
    if isinstance(value, (tuple, list)):
        return tuple(map(int, sizes))
    return int(value)


def in_axes(name: str, target: Target, size: Size) -> Size:
    """Returns a size with as many axes as an image.

    Args:
        name: the name of the transform.
        target: the size, or its side.
        size: the size of the image.

    Raises:
        ValueError: if the image has another number of axes.
    """
    if isinstance(target, int):
        return (target,) * len(size)
    if len(target) != len(size):
        raise ValueError(
            f"{name}({target}) is for images of {len(target)} axes beside that of "
            f"the channels, and was given one of {len(size)}: {size}."
        )
    return target


def checked_fill(fill: Any) -> Fill:
    """Returns what a view shows outside of an image.

    Raises:
        ValueError: if there is no such fill.
    """
    if isinstance(fill, str) and fill in ("edge", "reflect", "random"):
        return fill
    if not is_real(fill):
        raise ValueError(
            "Outside an image is a brightness such as 0.5, or 'edge', 'reflect' or "
            f"'random'; fill={shown(fill)} was given."
        )
    return float(fill)
