"""An affine transform: a window at a random place."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.featurevis.transforms.axes import Target, checked_target, in_axes
from jaxinterp.featurevis.transforms.transform import Affine
from jaxinterp.featurevis.transforms.warp import Move, Size, stay
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Crop(Affine):
    """A window of fixed size, or smaller than the image by a fixed number of pixels.

    Attributes:
        target: the size of the window, or its side; `None` is that of the image less
            `margin`.
        margin: the number of pixels that are lost along each axis.
        name: the name of the transform, for errors.
    """

    target: Target | None
    margin: int
    name: str

    def size(self, size: Size, first_size: Size) -> Size:
        """Returns the size of the window."""
        if self.target is None:
            target = tuple(n - self.margin for n in size)
        else:
            target = in_axes(self.name, self.target, size)
        if min(target) < 1 or any(map(operator.gt, target, size)):
            size_or_margin = self.margin if self.target is None else self.target
            raise ValueError(
                f"{self.name}({size_or_margin}) is too large for an image of size "
                f"{size}. Write a smaller one, or `pad(...)` before it."
            )
        return target

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns a whole number of pixels, all windows being equally likely."""
        room = jnp.array([n - kept for n, kept in zip(size, out, strict=True)])
        start = jax.random.randint(key, room.shape, 0, room + 1, jnp.int32)
        shift = start.astype(dtype) - room.astype(dtype) / 2
        return stay(len(size), dtype)._replace(shift=shift)


def crop(size: int | Size) -> Affine:
    """Shows a window at a random place.

    Args:
        size: the size of the window in pixels, or its side.

    Returns:
        A transform to that size.

    Raises:
        ValueError: if it is no size; if the image is smaller, or has another number of
            axes.

    Example:
        >>> crop((4, 5))(jax.random.key(0), jnp.zeros((9, 7, 3))).shape
        (4, 5, 3)
    """
    return Crop(checked_target("crop", size), 0, "crop")
