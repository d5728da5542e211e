"""Affine transforms: pad, jitter, scale, crop, flip (and see `rotate`, `box_crop`).

Each says how places move; `compose` joins neighbors to one warp. Sizes are pixels.
Pictures may be signals and volumes, with any number of axes beside that of the
channels.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.featurevis.chance import Chance, Distribution, chance, is_share
from jaxinterp.featurevis.integers import checked_integer, is_integer
from jaxinterp.featurevis.transform import Affine, Fill
from jaxinterp.featurevis.warp import Move, Size, stay

# A size, or the side of a picture that is equally long along all axes.
Target = int | Size


def checked_target(name: str, value: Any) -> Target:
    """Returns a size or a side that was given.

    Args:
        name: of the transform.
        value: what was given.

    Raises:
        ValueError: if it is no size.
    """
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not given or not all(map(is_integer, given)) or min(given) < 1:
        raise ValueError(
            f"{name}() takes a size in pixels, (height, width) of a picture, or one "
            f"side for all axes, and was given {value!r}."
        )
    if isinstance(value, (tuple, list)):
        return tuple(map(int, given))
    return int(value)


def in_axes(name: str, target: Target, size: Size) -> Size:
    """Returns a size with as many axes as an image.

    Args:
        name: of the transform.
        target: the size, or its side.
        size: of the image.

    Raises:
        ValueError: if the image has another number of axes.
    """
    if isinstance(target, int):
        return (target,) * len(size)
    if len(target) != len(size):
        raise ValueError(
            f"{name}({target}) is for pictures of {len(target)} axes beside that of "
            f"the channels, and was given one of {len(size)}: {size}."
        )
    return target


@dataclasses.dataclass(frozen=True)
class Pad(Affine):
    """A border on all sides.

    Attributes:
        width: of the border.
        fill: what is seen there.
    """

    width: int
    fill: Fill = 0.5

    def size(self, size: Size, own: Size) -> Size:
        """Returns the size with the border."""
        return tuple(n + 2 * self.width for n in size)

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether there is a border."""
        return self.width > 0


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


@dataclasses.dataclass(frozen=True)
class Scale(Affine):
    """A zoom about the middle; the size stays.

    Attributes:
        factor: above 1, things become larger.
        fill: what is seen outside.
    """

    factor: Chance
    fill: Fill = 0.5

    def draw(self, key: Any, size: Size, out: Size, dtype: Any) -> Move:
        """Returns the zoom, from the view to the image."""
        still = stay(len(size), dtype)
        return still._replace(linear=still.linear / self.factor.draw(key, dtype))

    def stretch(self, size: Size, out: Size) -> float:
        """Returns the largest factor."""
        return self.factor.high

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether the image may become smaller."""
        return self.factor.low < 1


@dataclasses.dataclass(frozen=True)
class Flip(Affine):
    """The mirror image, sometimes.

    Attributes:
        axis: that is reversed.
        probability: of doing so.
    """

    axis: int
    probability: float

    def draw(self, key: Any, size: Size, out: Size, dtype: Any) -> Move:
        """Returns the reflection, or nothing."""
        if self.axis >= len(size):
            raise ValueError(
                f"flip({self.axis}) reverses an axis that a picture of size {size} "
                f"does not have. Write `flip({len(size) - 1})` for its last."
            )
        sign = jnp.where(jax.random.bernoulli(key, self.probability), -1, 1)
        still = stay(len(size), dtype)
        linear = still.linear.at[self.axis, self.axis].multiply(sign.astype(dtype))
        return still._replace(linear=linear)


def pad(width: int, *, fill: Fill = 0.5) -> Affine:
    """Adds a border, so that what moves out of sight later was none of the picture.

    Args:
        width: in pixels, on each side.
        fill: a brightness, `"edge"`, `"reflect"` (the outermost pixels are not
            repeated), or `"random"` for one color each time.

    Returns:
        A transform to a larger size.

    Raises:
        ValueError: if the width is no integer from 0, or there is no such fill.

    Example:
        >>> pad(1)(jax.random.key(0), jnp.ones((1, 2, 1)))[:, :, 0].tolist()
        [[0.5, 0.5, 0.5, 0.5], [0.5, 1.0, 1.0, 0.5], [0.5, 0.5, 0.5, 0.5]]
    """
    return Pad(checked_integer("width", width, 0, call="pad"), checked_fill(fill))


def jitter(pixels: int) -> Affine:
    """Moves the picture at random by whole pixels, and cuts off what may be missing.

    All windows of the smaller size are equally likely, as in lucid: `(pixels + 1)**2`
    of a picture.

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
    """Shows the middle of the picture at a fixed size, with a border if it is smaller.

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


def scale(
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Iterable[float] | None = None,
    distribution: Distribution | None = None,
    fill: Fill = 0.5,
) -> Affine:
    """Zooms about the middle at random. The size stays, so that shapes are static.

    Args:
        low: the smallest factor; without `high` the only one. Above 1, things grow.
        high: the largest factor.
        choices: the factors to choose from instead.
        distribution: a function from a key to a factor, which is clipped to the range
            from `low` to `high`, where by default all are equally likely. Make it once:
            a new function is a new program.
        fill: what is seen outside, as in `pad`.

    Returns:
        A transform that keeps the size.

    Raises:
        TypeError: if the distribution is no function from a key to one float.
        ValueError: if the factors are not positive, or said in neither or both ways, or
            there is no such fill; if a distribution has no range.

    Example:
        >>> picture = jnp.ones((3, 3, 1))
        >>> scale(0.5)(jax.random.key(0), picture)[1, :, 0].tolist()
        [0.5, 1.0, 0.5]
        >>> scale(choices=[0.95, 1.0, 1.05])(jax.random.key(0), picture).shape
        (3, 3, 1)
        >>> zoom = scale(
        ...     0.8, 1.25, distribution=lambda key: 1 + 0.1 * jax.random.normal(key))

    References:
        Factors of any distribution are those of captum's branch for optimization,
        `RandomScale`.
    """
    factor = chance("scale", low, high, choices, distribution, above=0.0)
    return Scale(factor, checked_fill(fill))


def flip(axis: int = 1, *, probability: float = 0.5) -> Affine:
    """Mirrors the picture at random.

    Args:
        axis: the one that is reversed: 0 exchanges top and bottom of a picture, 1 left
            and right; 0 reverses a signal.
        probability: of doing so.

    Returns:
        A transform that keeps the size.

    Raises:
        ValueError: if the axis is no integer from 0, or the probability is not in
            [0, 1]; if the picture has no such axis.

    Example:
        >>> picture = jnp.array([[[1.0], [2.0]]])
        >>> flip(probability=1.0)(jax.random.key(0), picture).tolist()
        [[[2.0], [1.0]]]
    """
    axis = checked_integer("axis", axis, 0, call="flip")
    if not is_share(probability):
        raise ValueError(
            f"flip() takes a probability in [0, 1]; probability={probability!r} was "
            "given."
        )
    return Flip(axis, float(probability))


def checked_fill(fill: Any) -> Fill:
    """Returns what is seen outside of a picture.

    Args:
        fill: what was given.

    Raises:
        ValueError: if there is no such fill.
    """
    if isinstance(fill, str) and fill in ("edge", "reflect", "random"):
        return fill
    is_number = isinstance(fill, numbers.Real) and not isinstance(fill, bool)
    if not is_number or not math.isfinite(float(fill)):
        raise ValueError(
            "Outside a picture is a brightness such as 0.5, or 'edge', 'reflect' or "
            f"'random'; fill={fill!r} was given."
        )
    return float(fill)
