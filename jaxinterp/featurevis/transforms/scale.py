"""Transforms that enlarge or shrink what an image shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

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
class Scale(Affine):
    """A zoom about the middle by `factor`, above 1 larger; the size stays."""

    factor: RandomNumber
    fill: Fill = 0.5

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns the zoom, from the view to the image."""
        identity = stay(len(size), dtype)
        return identity._replace(linear=identity.linear / self.factor.draw(key, dtype))

    def stretch(self, size: Size, out: Size) -> float:
        """Returns the largest factor."""
        return self.factor.high

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether the image may become smaller."""
        return self.factor.low < 1


def scale(
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Iterable[float] | None = None,
    distribution: Sampler | None = None,
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
        fill: what the view shows outside of the image, as in `pad`.

    Returns:
        A transform that keeps the size.

    Raises:
        TypeError: if the distribution is no function from a key to one float.
        ValueError: if the factors are not positive, or said in neither or both ways, or
            there is no such fill; if a distribution has no range.

    Example:
        >>> image = jnp.ones((3, 3, 1))
        >>> scale(0.5)(jax.random.key(0), image)[1, :, 0].tolist()
        [0.5, 1.0, 0.5]
        >>> scale(choices=[0.95, 1.0, 1.05])(jax.random.key(0), image).shape
        (3, 3, 1)
        >>> zoom = scale(
        ...     0.8, 1.25, distribution=lambda key: 1 + 0.1 * jax.random.normal(key))

    References:
        Factors of any distribution are those of captum's branch for optimization,
        `RandomScale`.
    """
    factor = random_number("scale", low, high, choices, distribution, above=0.0)
    return Scale(factor, checked_fill(fill))
