"""An affine transform: a move by whole pixels, a crop that is a little smaller."""

from __future__ import annotations

from jaxinterp.checks import checked_integer
from jaxinterp.featurevis.transforms.crop import Crop
from jaxinterp.featurevis.transforms.transform import Affine


def jitter(pixels: int) -> Affine:
    """Moves the image at random by whole pixels, and cuts off what may be missing.

    All windows of the smaller size are equally likely, as in lucid: `(pixels + 1)**2`
    of an image.

    Args:
        pixels: the number of pixels by which the size shrinks along each axis.

    Returns:
        A transform to a smaller size.

    Raises:
        ValueError: if it is no integer from 0; if the image has no more pixels.

    Example:
        >>> jitter(2)(jax.random.key(0), jnp.zeros((9, 7, 3))).shape
        (7, 5, 3)
    """
    return Crop(None, checked_integer("pixels", pixels, 0, call="jitter"), "jitter")
