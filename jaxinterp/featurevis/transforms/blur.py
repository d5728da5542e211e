"""Transforms that blur an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from jaxinterp.featurevis.transforms.random_number import (
    RandomNumber,
    Sampler,
    random_number,
)
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.perturbation.blur import blurred
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Blur(Transform):
    """A Gaussian blur along all axes but the last, of standard deviation `sigma`."""

    sigma: RandomNumber

    def __call__(self, key: Key, image: Any) -> Any:
        """Returns the blurred image."""
        dtype = image.dtype if image.dtype.itemsize > 4 else jnp.float32
        sigma = self.sigma.draw(key, dtype)
        wide = image.astype(dtype)
        return blurred(wide, sigma, range(image.ndim - 1)).astype(image.dtype)


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
        >>> result = blur(1.0)(jax.random.key(0), step)[:, 0]
        >>> [f"{value:.2f}" for value in result]
        ['0.08', '0.32', '0.68', '0.92']
    """
    sigma = random_number("blur", low, high, choices, distribution)
    if sigma.low < 0:
        raise ValueError(
            f"blur() takes standard deviations from 0: {sigma.low} is less."
        )
    return Blur(sigma)
