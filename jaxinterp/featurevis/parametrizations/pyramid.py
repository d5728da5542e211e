"""An image as a sum of layers of several resolutions; shared layers for groups.

A coarse layer moves a whole region with one number, so structures of all sizes grow at
once. A layer that several images have in common keeps them alike, which is what a row
of images from one unit to another needs.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.checks import is_integer
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
class Pyramid(Unbounded):
    """The layers of which the values are the sum, the coarsest last.

    The fields are the arguments of `pyramid`.
    """

    to_image: Any
    factors: tuple[int, ...] = static()
    scale: float = static()
    shape: tuple[int, ...] = static()

    def init_one(self, key: Array) -> Any:
        """Returns normal noise for each layer."""
        keys = jax.random.split(key, len(self.factors))
        return [
            self.scale
            * jax.random.normal(k, smaller_shape(self.shape, f), self.to_image.dtype)
            for k, f in zip(keys, self.factors, strict=True)
        ]

    def values(self, params: Any) -> Float[Array, "*shape"]:
        """Returns the sum of the layers."""
        return sum(resized_layer(layer, self) for layer in params)  # pyright: ignore[reportReturnType]  at least one layer

    def params(self, values: Float[Array, "*shape"]) -> Any:
        """Returns the layers: the coarsest holds all it can, finer ones the rest."""
        layers = []
        for factor in self.factors[::-1]:
            small = jax.image.resize(
                values, smaller_shape(self.shape, factor), "linear"
            )
            values = values - jax.image.resize(small, self.shape, "linear")
            layers.append(small.astype(self.to_image.dtype))
        return layers[::-1]


def pyramid(
    shape: Iterable[int],
    *,
    factors: Iterable[int] = (1, 2, 4, 8),
    color: Color = "auto",
    squash: SquashName = "sigmoid",
    scale: float = 0.01,
    dtype: Any = jnp.float32,
) -> Parametrization:
    r"""Parametrizes an image as a Laplacian pyramid: layers of several resolutions.

    $$x = \sigma\Bigl(M \sum_k \mathrm{up}(z_k)\Bigr)$$

    where $z_k$ is `factors[k]` times smaller than the image along each spatial axis,
    rounded up, and enlarged linearly.

    Args:
        shape: the shape of one image, `(height, width, channels)`, or of any rank.
        factors: the factor by which each layer is smaller. `(8,)` alone is an image of
            low resolution, which cannot show anything finer.
        color: the decorrelation of colors, as in `fourier`.
        squash: the function that brings values into [0, 1], as in `pixels`.
        scale: the standard deviation of the parameters at the start.
        dtype: the dtype of parameters and images. Layers are added in float32 at least.

    Returns:
        A parametrization. Its inverse is exact if 1 is among the factors; without, it
        gives the image back as blurred as the finest layer.

    Raises:
        ValueError: if the shape, the color or the squash does not exist, or the
            factors are not positive integers that ascend.
        TypeError: if `dtype` is not one of floats.

    Example:
        >>> image = pyramid((25, 30, 3), factors=(1, 4))
        >>> params = image.init(jax.random.key(0), 2)
        >>> [layer.shape for layer in params]
        [(2, 25, 30, 3), (2, 7, 8, 3)]

    References:
        Burt and Adelson, 1983, section III [burt1983laplacian].
    """
    shape = checked_shape(shape, 2)
    to_image = unbounded_to_image(shape, color, squash, dtype)
    return Pyramid(to_image, checked_factors(factors), checked_scale(scale), shape)


def smaller_shape(shape: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Returns the shape of a layer that is coarser by a factor, but not in channels.

    Args:
        shape: the shape of the image, with the channels last.
        factor: how many pixels of the image one entry of the layer spans along an axis.
    """
    *spatial, channels = shape
    return (*(-(-n // factor) for n in spatial), channels)


def resized_layer(layer: Any, whole: Unbounded) -> Any:
    """Returns a layer in the size of the whole parametrization's images.

    Args:
        layer: the entries of the layer, with the channels last.
        whole: the parametrization whose shape of images the layer gets.
    """
    layer = layer.astype(whole.to_image.computed)
    return jax.image.resize(layer, whole.shape, "linear")


def checked_factors(factors: Iterable[int]) -> tuple[int, ...]:
    """Returns by how much each layer of a pyramid is coarser than the image.

    Raises:
        ValueError: unless they are positive integers that ascend.
    """
    values = tuple(factors) if isinstance(factors, Iterable) else (factors,)
    whole = all(is_integer(f) and f > 0 for f in values)
    if not values or not whole or list(values) != sorted(set(values)):
        raise ValueError(
            "`factors` are positive integers that ascend, such as (1, 2, 4, 8), and "
            f"were {values}."
        )
    return tuple(int(f) for f in values)
