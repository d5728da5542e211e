"""Transforms that shift an image around its edges."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import checked_integer
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Roll(Transform):
    """A shift along all axes but the last; what leaves comes in on the other side.

    The fields are the arguments of `roll`.
    """

    pixels: int

    def __call__(self, key: Key, image: Any) -> Any:
        """Returns the shifted image."""
        axes = tuple(range(image.ndim - 1))
        bound = self.pixels + 1
        shifts = jax.random.randint(key, (len(axes),), -self.pixels, bound, jnp.int32)
        return jnp.roll(image, shifts, axes)


def roll(pixels: int) -> Transform:
    """Shifts the image at random; what leaves on one side comes in on the other.

    Args:
        pixels: the largest shift in pixels along each axis but the last, either way.

    Returns:
        A transform that keeps the size.

    Raises:
        ValueError: if it is no integer from 0.

    Example:
        >>> rolled = roll(5)(jax.random.key(0), jnp.arange(12.0).reshape(4, 3, 1))
        >>> sorted(rolled.ravel().tolist()) == list(range(12))
        True
    """
    return Roll(checked_integer("pixels", pixels, 0, call="roll"))
