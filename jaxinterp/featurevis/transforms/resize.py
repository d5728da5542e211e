"""An affine transform: the whole image at a fixed size."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import jax.numpy as jnp

from jaxinterp.featurevis.transforms.axes import Target, checked_target, in_axes
from jaxinterp.featurevis.transforms.transform import Affine, Fill
from jaxinterp.featurevis.transforms.warp import Move, Size
from jaxinterp.types import Key


@dataclasses.dataclass(frozen=True)
class Resize(Affine):
    """The whole image at a size or side `target`.

    `fill` is what the outer halves of the outermost pixels show.
    """

    target: Target
    fill: Fill = "edge"

    def size(self, size: Size, first_size: Size) -> Size:
        """Returns the fixed size."""
        return in_axes("resize", self.target, size)

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns the magnification about the middle."""
        ratios = [n / m for n, m in zip(size, out, strict=True)]
        return Move(jnp.diag(jnp.array(ratios, dtype)), jnp.zeros(len(size), dtype))

    def stretch(self, size: Size, out: Size) -> float:
        """Returns the largest magnification."""
        return max(1.0, *(m / n for n, m in zip(size, out, strict=True)))

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether there are more pixels than before along an axis."""
        return any(map(operator.gt, out, size))


def resize(size: int | Size) -> Affine:
    """Shows the whole image at a fixed size, between its pixels.

    Pixels are areas, as in `jax.image.resize(..., "linear", antialias=False)`: what is
    reduced is not smoothed first.

    Args:
        size: the size of the view in pixels, or its side.

    Returns:
        A transform to that size.

    Raises:
        ValueError: if it is no size; if the image has another number of axes.

    Example:
        >>> image = jnp.array([[[0.0], [1.0]]])
        >>> resize((1, 4))(jax.random.key(0), image)[0, :, 0].tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    return Resize(checked_target("resize", size))
