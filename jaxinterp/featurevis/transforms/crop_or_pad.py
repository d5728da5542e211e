"""An affine transform: the middle of an image at a fixed size."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import jax.numpy as jnp

from jaxinterp.featurevis.transforms.axes import (
    Target,
    checked_fill,
    checked_target,
    in_axes,
)
from jaxinterp.featurevis.transforms.transform import Affine, Fill
from jaxinterp.featurevis.transforms.warp import Move, Size, stay
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class CropOrPad(Affine):
    """The middle of an image, at a size or side `target`, with `fill` around it.

    No target is the size of the image given to the composition.
    """

    target: Target | None = None
    fill: Fill = 0.5

    @property
    def is_relative(self) -> bool:
        """Whether there is no size of its own."""
        return self.target is None

    def size(self, size: Size, first_size: Size) -> Size:
        """Returns the fixed size."""
        if self.target is None:
            return first_size
        return in_axes("crop_or_pad", self.target, size)

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns a shift by half a pixel at most, to whole pixels."""

        def one(n: int, target: int) -> float:
            spare = abs(n - target)
            return (spare // 2 - spare / 2) * (1 if n > target else -1)

        shift = [one(n, target) for n, target in zip(size, out, strict=True)]
        return stay(len(size), dtype)._replace(shift=jnp.array(shift, dtype))

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether the image is smaller."""
        return any(map(operator.gt, out, size))


def crop_or_pad(size: int | Size | None = None, *, fill: Fill = 0.5) -> Affine:
    """Shows the middle of the image at a fixed size, with a border if it is smaller.

    Args:
        size: the size of the view in pixels, or its side; by default that of the image
            that was given to the composition.
        fill: what the view shows outside of the image, as in `pad`.

    Returns:
        A transform to that size.

    Raises:
        ValueError: if it is no size, or there is no such fill; if the image has another
            number of axes.

    Example:
        >>> crop_or_pad(2)(jax.random.key(0), jnp.zeros((9, 7, 3))).shape
        (2, 2, 3)
    """
    target = None if size is None else checked_target("crop_or_pad", size)
    return CropOrPad(target, checked_fill(fill))
