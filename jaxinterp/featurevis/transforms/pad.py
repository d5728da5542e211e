"""Transforms that add a margin."""

from __future__ import annotations

import dataclasses

from jaxinterp.checks import checked_integer
from jaxinterp.featurevis.transforms.axes import checked_fill
from jaxinterp.featurevis.transforms.transform import Affine, Fill
from jaxinterp.featurevis.transforms.warp import Size


@dataclasses.dataclass(frozen=True)
class Pad(Affine):
    """A border on all sides; fields as in `pad`."""

    width: int
    fill: Fill = 0.5

    def size(self, size: Size, first_size: Size) -> Size:
        """Returns the size with the border."""
        return tuple(n + 2 * self.width for n in size)

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether there is a border."""
        return self.width > 0


def pad(width: int, *, fill: Fill = 0.5) -> Affine:
    """Adds a border, so that what moves out of sight later was none of the image.

    Args:
        width: the width of the border on each side, in pixels.
        fill: what the border shows: a brightness, `"edge"`, `"reflect"` (the outermost
            pixels are not repeated), or `"random"` for one color each time.

    Returns:
        A transform to a larger size.

    Raises:
        ValueError: if the width is no integer from 0, or there is no such fill.

    Example:
        >>> pad(1)(jax.random.key(0), jnp.ones((1, 2, 1)))[:, :, 0].tolist()
        [[0.5, 0.5, 0.5, 0.5], [0.5, 1.0, 1.0, 0.5], [0.5, 0.5, 0.5, 0.5]]
    """
    return Pad(checked_integer("width", width, 0, call="pad"), checked_fill(fill))
