"""Transforms that blur an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxinterp.featurevis.transforms.random_number import (
    RandomNumber,
    Sampler,
    random_number,
)
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Blur(Transform):
    """A Gaussian blur along all axes but the last, of standard deviation `sigma`."""

    sigma: RandomNumber

    def __call__(self, key: Key, image: Any) -> Any:
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


def blur(
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Iterable[float] | None = None,
    distribution: Sampler | None = None,
) -> Transform:
    """Blurs with a Gaussian of random width, along all axes but the last.

    Near the border, the weights of the pixels that there are still add up to 1, so a
    constant image stays constant.

    Args:
        low: the smallest standard deviation in pixels; without `high` the only one.
        high: the largest standard deviation.
        choices: the standard deviations to choose from instead.
        distribution: a function from a key to one, clipped to the range, as in `scale`.

    Returns:
        A transform that keeps the size. Time grows with the side of the image times
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
    sigma = random_number("blur", low, high, choices, distribution)
    if sigma.low < 0:
        raise ValueError(
            f"blur() takes standard deviations from 0: {sigma.low} is less."
        )
    return Blur(sigma)


def _bell(size: int, sigma: Any) -> Any:
    """Returns the matrix of a Gaussian blur along an axis; each row adds up to 1."""
    place = jnp.arange(size, dtype=sigma.dtype)
    distance = place[:, None] - place[None, :]
    # A blur by nothing is allowed, and is then the identity.
    weights = jnp.exp(-((distance / jnp.maximum(sigma, 1e-6)) ** 2) / 2)
    return weights / weights.sum(1, keepdims=True)
