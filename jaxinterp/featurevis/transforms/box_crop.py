"""An affine transform: random boxes of an image, magnified."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import is_share, shown
from jaxinterp.featurevis.transforms.axes import Target, checked_target, in_axes
from jaxinterp.featurevis.transforms.transform import Affine
from jaxinterp.featurevis.transforms.warp import Move, Size
from jaxinterp.types import Key

# Up to which the sides of a random box may shrink, as a share of the image's.
_SMALLEST_BOX = 0.05


@dataclasses.dataclass(frozen=True)
class BoxCrop(Affine):
    """A box of the image anywhere, magnified or reduced to a size `target`.

    `progress` is the share of the steps that are done; other fields as in `box_crop`.
    """

    target: Target
    sides: tuple[float, float]
    deviation: float
    spread: float
    progress: Any = 0.0

    def at(self, progress: Any) -> BoxCrop:
        """Returns it with the boxes of that time."""
        return dataclasses.replace(self, progress=progress)

    def size(self, size: Size, first_size: Size) -> Size:
        """Returns the fixed size."""
        return in_axes("box_crop", self.target, size)

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns the box: its outermost pixels lie on those of the view."""
        place, width = jax.random.split(key)
        first, last = self.sides
        mean = first + (last - first) * jnp.asarray(self.progress, dtype)
        noise = jax.random.normal(width, (), jnp.float32).astype(dtype)
        side = jnp.clip(mean + self.deviation * noise, _SMALLEST_BOX, 1)
        # Boxes lie within the image, so that nothing has to be made up.
        room = (1 - side) / 2
        noise = jax.random.normal(place, (len(size),), jnp.float32).astype(dtype)
        middle = jnp.clip(self.spread * noise, -room, room)
        spans = jnp.array([n - 1 for n in size], dtype)
        steps = jnp.array([max(n - 1, 1) for n in out], dtype)
        return Move(jnp.diag(side * spans / steps), middle * spans)

    def stretch(self, size: Size, out: Size) -> float:
        """Returns the magnification of the smallest box."""
        ratios = ((b - 1) / max(a - 1, 1) for a, b in zip(size, out, strict=True))
        return max(*ratios, 1.0) / _SMALLEST_BOX


def box_crop(
    size: int | Size,
    *,
    sides: tuple[float, float] = (0.5, 0.05),
    deviation: float = 0.05,
    spread: float = 0.15,
) -> Affine:
    """Shows a random box of the image, magnified or reduced to a fixed size.

    The boxes have the proportions of the image, and lie within it. Their mean side
    goes linearly from one number to another while the image is made.

    Args:
        size: the size of the view in pixels, or its side.
        sides: the mean side at the first and at the last step, as shares of the
            image's; drawn sides are clipped to [0.05, 1].
        deviation: the standard deviation of the side.
        spread: the standard deviation of the middle of the box, as a share of the
            image's sides.

    Returns:
        A transform to that size. What is reduced is not smoothed first.

    Raises:
        ValueError: if it is no size, or the numbers are not shares; if the image has
            another number of axes.

    Example:
        >>> box_crop(8)(jax.random.key(0), jnp.zeros((32, 48, 3))).shape
        (8, 8, 3)
    """
    is_pair = isinstance(sides, tuple | list) and len(sides) == 2
    if not is_pair or not all(map(is_share, (*sides, deviation, spread))):
        raise ValueError(
            "box_crop() takes shares of the image's side, in [0, 1]; sides="
            f"{shown(sides)}, deviation={shown(deviation)} and spread={shown(spread)} "
            "were given."
        )
    target = checked_target("box_crop", size)
    first, last = map(float, sides)
    return BoxCrop(target, (first, last), float(deviation), float(spread))
