"""An affine transform: a turn, of an image or of two axes of a volume."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from jaxinterp.checks import is_integer, shown
from jaxinterp.featurevis.transforms.axes import checked_fill
from jaxinterp.featurevis.transforms.random_number import (
    RandomNumber,
    Sampler,
    random_number,
)
from jaxinterp.featurevis.transforms.transform import Affine, Fill
from jaxinterp.featurevis.transforms.warp import Move, Size, stay
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Rotate(Affine):
    """A turn by `angle` degrees, counterclockwise; the other fields as in `rotate`."""

    angle: RandomNumber
    fill: Fill = 0.5
    axes: tuple[int, int] | None = None

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns the turn back, from the view to the image."""
        down, right = self._plane(size)
        angle = self.angle.draw(key, dtype)
        # Quarter turns apart, since they are then exact.
        quarters = jnp.round(angle / 90)
        rest = jnp.deg2rad(angle - 90 * quarters)
        cos, sin = jnp.cos(rest), jnp.sin(rest)
        around = jnp.stack([cos, -sin, -cos, sin])
        index = quarters.astype(jnp.int32)
        cos, sin = around[jnp.mod(index, 4)], around[jnp.mod(index - 1, 4)]
        # Rows count downwards, so this turns clockwise.
        entries = {(down, down): cos, (right, right): cos}
        entries |= {(down, right): sin, (right, down): -sin}
        zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
        n = range(len(size))
        rows = ([entries.get((i, j), one if i == j else zero) for j in n] for i in n)
        linear = jnp.stack([jnp.stack(row) for row in rows])
        return stay(len(size), dtype)._replace(linear=linear)

    def stretch(self, size: Size, out: Size) -> float:
        """Returns the largest sum of cosine and sine."""
        low, high = self.angle.low, self.angle.high
        angles = self.angle.choices or (low, high)
        # It is largest at 45 degrees and every quarter turn from there.
        if not self.angle.choices and math.floor((high - 45) / 90) * 90 + 45 >= low:
            angles = (45.0,)
        turns = [math.radians(angle) for angle in angles]
        return max(abs(math.cos(turn)) + abs(math.sin(turn)) for turn in turns)

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns that corners turn out of sight."""
        return True

    def _plane(self, size: Size) -> tuple[int, int]:
        """Returns the axes that turn into one another."""
        if self.axes is None and len(size) == 2:
            return 0, 1
        if self.axes is None:
            raise ValueError(
                "rotate() turns one image, (height, width, channels), and was given "
                f"{len(size)} axes beside that of the channels: {size}.\nFor a batch "
                "write `jax.vmap(transform)(keys, images)`; for a volume which axes "
                "turn, `rotate(-5.0, 5.0, axes=(0, 1))`. A signal cannot turn, and "
                "lucid's, Distill's and similar recipes turn images."
            )
        if len(size) > 3:
            raise ValueError(
                "rotate() turns images and volumes, of two axes or three beside that "
                f"of the channels, and was given {len(size)}: {size}."
            )
        if max(self.axes) >= len(size):
            raise ValueError(
                f"rotate(axes={self.axes}) was given what does not have these axes: "
                f"{size}, beside the channels."
            )
        return self.axes


def rotate(
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Iterable[float] | None = None,
    distribution: Sampler | None = None,
    fill: Fill = 0.5,
    axes: tuple[int, int] | None = None,
) -> Affine:
    """Turns the image about its middle at random.

    Args:
        low: the smallest angle in degrees, counterclockwise; without `high` the only
            one.
        high: the largest angle in degrees.
        choices: the angles to choose from instead; one that stands there twice is twice
            as likely.
        distribution: a function from a key to an angle, as in `scale`.
        fill: what the view shows outside of the image, as in `pad`.
        axes: the two axes that turn, of a volume, or of an image: counterclockwise
            with the first downward and the second to the right. For images `(0, 1)`
            is the default; `(1, 0)` turns the other way.

    Returns:
        A transform that keeps the size.

    Raises:
        TypeError: if the distribution is no function from a key to one float.
        ValueError: if the angles are said in neither or both ways, or there is no such
            fill; if a distribution has no range; if the axes are no two, or what is
            turned does not have them, or more than three; if it is no image, and none
            are given.

    Example:
        >>> image = jnp.arange(9.0).reshape(3, 3, 1)
        >>> rotate(90.0)(jax.random.key(0), image)[:, :, 0].tolist()
        [[2.0, 5.0, 8.0], [1.0, 4.0, 7.0], [0.0, 3.0, 6.0]]
    """
    angle = random_number("rotate", low, high, choices, distribution)
    return Rotate(angle, checked_fill(fill), None if axes is None else _two(axes))


def _two(axes: Any) -> tuple[int, int]:
    is_pair = isinstance(axes, tuple | list) and len(axes) == 2
    if not is_pair or not all(is_integer(a) and a >= 0 for a in axes):
        raise ValueError(
            f"rotate() turns two axes, a tuple of integers from 0, `axes=(0, 1)`; "
            f"{shown(axes)} was given."
        )
    first, second = map(int, axes)
    if first == second:
        raise ValueError(f"rotate() turns two axes, and not one: axes={shown(axes)}.")
    return first, second
