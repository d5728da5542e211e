"""Transforms that mirror an image."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import checked_integer, checked_share
from jaxinterp.featurevis.transforms.transform import Affine
from jaxinterp.featurevis.transforms.warp import Move, Size, stay
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Flip(Affine):
    """The mirror image, sometimes; fields as in `flip`."""

    axis: int
    probability: float

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns the reflection, or nothing."""
        if self.axis >= len(size):
            raise ValueError(
                f"flip({self.axis}) reverses an axis that an image of size {size} "
                f"does not have. Write `flip({len(size) - 1})` for its last."
            )
        sign = jnp.where(jax.random.bernoulli(key, self.probability), -1, 1)
        identity = stay(len(size), dtype)
        linear = identity.linear.at[self.axis, self.axis].multiply(sign.astype(dtype))
        return identity._replace(linear=linear)


def flip(axis: int = 1, *, probability: float = 0.5) -> Affine:
    """Mirrors the image at random.

    Args:
        axis: the axis that is reversed: 0 exchanges top and bottom of an image, 1 left
            and right; 0 reverses a signal.
        probability: the probability that the image is mirrored.

    Returns:
        A transform that keeps the size.

    Raises:
        ValueError: if the axis is no integer from 0, or the probability is not in
            [0, 1]; if the image has no such axis.

    Example:
        >>> image = jnp.array([[[1.0], [2.0]]])
        >>> flip(probability=1.0)(jax.random.key(0), image).tolist()
        [[[2.0], [1.0]]]
    """
    axis = checked_integer("axis", axis, 0, call="flip")
    return Flip(axis, checked_share("probability", probability, call="flip"))
