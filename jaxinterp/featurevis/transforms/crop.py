"""Transforms that cut a window out of an image: jitter, crop, crop or pad."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import checked_integer
from jaxinterp.featurevis.transforms.axes import (
    Target,
    checked_fill,
    checked_target,
    in_axes,
)
from jaxinterp.featurevis.transforms.transform import Affine, Fill
from jaxinterp.featurevis.transforms.warp import Move, Size, stay


@dataclasses.dataclass(frozen=True)
class Crop(Affine):
    """A window of fixed size, or smaller than the image by a fixed number of pixels.

    Attributes:
        target: size of the window, or its side; `None` is that of the image less
            `margin`.
        margin: how much is lost along each axis.
        name: of the transform, for errors.
    """

    target: Target | None
    margin: int
    name: str

    def size(self, size: Size, own: Size) -> Size:
        """Returns the size of the window."""
        if self.target is None:
            target = tuple(n - self.margin for n in size)
        else:
            target = in_axes(self.name, self.target, size)
        if min(target) < 1 or any(map(operator.gt, target, size)):
            asked = self.margin if self.target is None else self.target
            raise ValueError(
                f"{self.name}({asked}) is too large for an image of size {size}. "
                "Write a smaller one, or `pad(...)` before it."
            )
        return target

    def draw(self, key: Any, size: Size, out: Size, dtype: Any) -> Move:
        """Returns a whole number of pixels, all windows being equally likely."""
        room = jnp.array([n - seen for n, seen in zip(size, out, strict=True)])
        start = jax.random.randint(key, room.shape, 0, room + 1, jnp.int32)
        shift = start.astype(dtype) - room.astype(dtype) / 2
        return stay(len(size), dtype)._replace(shift=shift)


@dataclasses.dataclass(frozen=True)
class CropOrPad(Affine):
    """The middle of an image, at a fixed size.

    Attributes:
        target: that size, or its side; `None` is that of the image given to the
            composition.
        fill: what is seen where the image is too small.
    """

    target: Target | None = None
    fill: Fill = 0.5

    @property
    def is_relative(self) -> bool:
        """Whether there is no size of its own."""
        return self.target is None

    def size(self, size: Size, own: Size) -> Size:
        """Returns the fixed size."""
        if self.target is None:
            return own
        return in_axes("crop_or_pad", self.target, size)

    def draw(self, key: Any, size: Size, out: Size, dtype: Any) -> Move:
        """Returns a shift by half a pixel at most, to whole pixels."""

        def one(n: int, target: int) -> float:
            spare = abs(n - target)
            return (spare // 2 - spare / 2) * (1 if n > target else -1)

        shift = [one(n, target) for n, target in zip(size, out, strict=True)]
        return stay(len(size), dtype)._replace(shift=jnp.array(shift, dtype))

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether the image is smaller."""
        return any(map(operator.gt, out, size))


def jitter(pixels: int) -> Affine:
    """Moves the image at random by whole pixels, and cuts off what may be missing.

    All windows of the smaller size are equally likely, as in lucid: `(pixels + 1)**2`
    of an image.

    Args:
        pixels: by how much the size shrinks.

    Returns:
        A transform to a smaller size.

    Raises:
        ValueError: if it is no integer from 0; if the image has no more pixels.

    Example:
        >>> jitter(2)(jax.random.key(0), jnp.zeros((9, 7, 3))).shape
        (7, 5, 3)
    """
    return Crop(None, checked_integer("pixels", pixels, 0, call="jitter"), "jitter")


def crop(size: int | Size) -> Affine:
    """Shows a window at a random place.

    Args:
        size: of the window, or its side.

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


def crop_or_pad(size: int | Size | None = None, *, fill: Fill = 0.5) -> Affine:
    """Shows the middle of the image at a fixed size, with a border if it is smaller.

    Args:
        size: of the view, or its side; by default that of the image that was given to
            the composition.
        fill: what is seen outside, as in `pad`.

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
