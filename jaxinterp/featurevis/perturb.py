"""Transforms that are no affine warp: blur, noise and roll. They take any rank."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinterp.featurevis.chance import Chance, Distribution, chance
from jaxinterp.featurevis.integers import checked_integer
from jaxinterp.featurevis.transform import Transform


@dataclasses.dataclass(frozen=True)
class Blur(Transform):
    """A Gaussian blur along all axes but the last.

    Attributes:
        sigma: its standard deviation in pixels.
    """

    sigma: Chance

    def __call__(self, key: Any, image: Any) -> Any:
        """Returns the blurred image."""
        dtype = image.dtype if image.dtype.itemsize > 4 else jnp.float32
        sigma = self.sigma.draw(key, dtype)
        blurred = image.astype(dtype)
        for axis in range(image.ndim - 1):
            # A product of matrices is faster than a sum of shifts, and so is its
            # transpose; accelerators round its factors unless told not to.
            weights = _bell(image.shape[axis], sigma)
            product = jnp.tensordot(
                weights, blurred, axes=(1, axis), precision=lax.Precision.HIGHEST
            )
            blurred = jnp.moveaxis(product, 0, axis)
        return blurred.astype(image.dtype)


@dataclasses.dataclass(frozen=True)
class Noise(Transform):
    """Noise added to every entry.

    Attributes:
        normal: standard deviation of a Gaussian part.
        uniform: width of a uniform part, which is centered at zero.
    """

    normal: float
    uniform: float

    def __call__(self, key: Any, image: Any) -> Any:
        """Returns the noisy image."""
        dtype = image.dtype if image.dtype.itemsize > 4 else jnp.float32
        bell, box = jax.random.split(key)
        noise = self.normal * jax.random.normal(bell, image.shape, dtype)
        half = self.uniform / 2
        noise = noise + jax.random.uniform(box, image.shape, dtype, -half, half)
        return (image.astype(dtype) + noise).astype(image.dtype)


@dataclasses.dataclass(frozen=True)
class Roll(Transform):
    """A shift along all axes but the last; what leaves comes in on the other side.

    Attributes:
        pixels: the largest shift.
    """

    pixels: int

    def __call__(self, key: Any, image: Any) -> Any:
        """Returns the shifted image."""
        axes = tuple(range(image.ndim - 1))
        bound = self.pixels + 1
        shifts = jax.random.randint(key, (len(axes),), -self.pixels, bound, jnp.int32)
        return jnp.roll(image, shifts, axes)


def blur(
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Iterable[float] | None = None,
    distribution: Distribution | None = None,
) -> Transform:
    """Blurs with a Gaussian of random width, along all axes but the last.

    Near the border, the weights of the pixels that there are still add up to 1, so a
    constant picture stays constant.

    Args:
        low: the smallest standard deviation in pixels; without `high` the only one.
        high: the largest.
        choices: those to choose from instead.
        distribution: as in `scale`, of the standard deviation.

    Returns:
        A transform that keeps the size. Time grows with the side of the picture times
        the number of its pixels, whatever the width of the Gaussian.

    Raises:
        TypeError: if the distribution is no function from a key to one float.
        ValueError: if one is negative, or they are said in neither or both ways; if a
            distribution has no range.

    Example:
        >>> step = jnp.array([[0.0], [0.0], [1.0], [1.0]])
        >>> blurred = blur(1.0)(jax.random.key(0), step)[:, 0]
        >>> [f"{value:.2f}" for value in blurred]
        ['0.08', '0.32', '0.68', '0.92']
    """
    sigma = chance("blur", low, high, choices, distribution)
    if sigma.low < 0:
        raise ValueError(
            f"blur() takes standard deviations from 0: {sigma.low} is less."
        )
    return Blur(sigma)


def noise(normal: float = 0.0, *, uniform: float = 0.0) -> Transform:
    """Adds noise to every entry of the picture, which may then leave [0, 1].

    Args:
        normal: standard deviation of a Gaussian part.
        uniform: width of a uniform part, from `-uniform / 2` to `uniform / 2`.

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
        if not isinstance(value, numbers.Real) or not 0 <= value < math.inf:
            raise ValueError(
                "noise() takes a standard deviation and a width from 0; normal="
                f"{normal!r} and uniform={uniform!r} were given."
            )
    return Noise(normal, uniform)


def roll(pixels: int) -> Transform:
    """Shifts the picture at random; what leaves on one side comes in on the other.

    Args:
        pixels: the largest shift along each axis but the last, either way.

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


def _bell(size: int, sigma: Any) -> Any:
    """Returns the matrix of a Gaussian blur along an axis; each row adds up to 1."""
    place = jnp.arange(size, dtype=sigma.dtype)
    distance = place[:, None] - place[None, :]
    # A blur by nothing is allowed, and is then the identity.
    weights = jnp.exp(-((distance / jnp.maximum(sigma, 1e-6)) ** 2) / 2)
    return weights / weights.sum(1, keepdims=True)
