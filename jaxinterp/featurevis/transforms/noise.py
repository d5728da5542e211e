"""Transforms that add noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import is_real, shown
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Noise(Transform):
    """Noise added to every entry; fields as in `noise`."""

    normal: float
    uniform: float

    def __call__(self, key: Key, image: Any) -> Any:
        """Returns the noisy image."""
        dtype = image.dtype if image.dtype.itemsize > 4 else jnp.float32
        bell, box = jax.random.split(key)
        noise = self.normal * jax.random.normal(bell, image.shape, dtype)
        half = self.uniform / 2
        noise = noise + jax.random.uniform(box, image.shape, dtype, -half, half)
        return (image.astype(dtype) + noise).astype(image.dtype)


def noise(normal: float = 0.0, *, uniform: float = 0.0) -> Transform:
    """Adds noise to every entry of the image, which may then leave [0, 1].

    Args:
        normal: the standard deviation of a Gaussian part.
        uniform: the width of a uniform part, from `-uniform / 2` to `uniform / 2`.

    Returns:
        A transform that keeps the size.

    Raises:
        ValueError: if one is negative, or no finite number.

    Example:
        >>> noisy = noise(0.1)(jax.random.key(0), jnp.zeros((100, 100, 1)))
        >>> 0.09 < float(noisy.std()) < 0.11
        True
    """
    for value in (normal, uniform):
        if not is_real(value) or value < 0:
            raise ValueError(
                "noise() takes a standard deviation and a width from 0; normal="
                f"{shown(normal)} and uniform={shown(uniform)} were given."
            )
    return Noise(normal, uniform)
