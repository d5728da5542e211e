"""Images described by their pixels."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import checked_shape
from jaxinterp.featurevis.parametrizations.color import Color
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.parametrizations.to_image import (
    SquashName,
    Unbounded,
    checked_scale,
    unbounded_to_image,
)
from jaxinterp.pytree import pytree, static


@pytree
class Pixels(Unbounded):
    """The unbounded values themselves; fields as in `pixels`."""

    to_image: Any
    scale: float = static()
    shape: tuple[int, ...] = static()

    def init_one(self, key: Array) -> Any:
        """Returns normal noise."""
        return self.scale * jax.random.normal(key, self.shape, self.to_image.dtype)

    def values(self, params: Any) -> Float[Array, "*shape"]:
        """Returns the parameters."""
        return params

    def params(self, values: Float[Array, "*shape"]) -> Any:
        """Returns the values, in the dtype of the parameters."""
        return values.astype(self.to_image.dtype)


def pixels(
    shape: Iterable[int],
    *,
    color: Color = None,
    squash: SquashName = "sigmoid",
    scale: float = 0.01,
    dtype: Any = jnp.float32,
) -> Parametrization:
    """Parametrizes an image by its pixels; for any array of numbers in [0, 1].

    Its optima are full of high frequencies; take `fourier` for images.

    Args:
        shape: the shape of one image, `(..., channels)`.
        color: `None` for the channels themselves; `"imagenet"`, `"i1i2i3"` or a matrix
            for decorrelated colors, see `fit_color_matrix`.
        squash: the function to [0, 1]: `"sigmoid"`; `"clip"` about 1/2, or with
            `color="imagenet"`, which `"auto"` may be, about the mean color of ImageNet,
            (0.48, 0.46, 0.41); it passes the gradient through where it clips. Or
            `"stretch"`, a sigmoid and then the whole range, from the darkest value of
            the image to the brightest, as Xplique has it, or `"clip_stretch"`, which
            clips as `"clip"` does, without a sigmoid, and then stretches. These two
            give images back that have the whole range; an image of one value is gray.
        scale: the standard deviation of the normal noise to start from, before the
            squash.
        dtype: the dtype of parameters and images.

    Returns:
        A parametrization that has an inverse.

    Raises:
        ValueError: if the shape, the color or the squash does not exist.
        TypeError: if `dtype` is not one of floats.

    Example:
        >>> signal = pixels((100, 2))
        >>> signal.images(signal.init(jax.random.key(0), 4)).shape
        (4, 100, 2)
    """
    shape = checked_shape(shape, 1)
    to_image = unbounded_to_image(shape, color, squash, dtype)
    return Pixels(to_image, checked_scale(scale), shape)
