"""An image as a function of place: a small network from coordinates to colors.

Its parameters are the network's weights. It has no resolution of its own: weights that
were optimized at one size draw the same image at any other.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import checked_integer
from jaxinterp.featurevis.images import checked_dtype, checked_shape
from jaxinterp.featurevis.parametrizations.parametrization import (
    Parametrization,
    PerImage,
)
from jaxinterp.featurevis.parametrizations.to_image import SQUASHES
from jaxinterp.pytree import pytree, static


@pytree
class Cppn(PerImage):
    """The weights of a network from coordinates to colors; fields as in `cppn`."""

    width: int = static()
    depth: int = static()
    dtype: Any = static()
    shape: tuple[int, ...] = static()

    def init_one(self, key: Array) -> Any:
        """Returns kernel and bias of each layer; those of the last are 0."""
        sizes = [len(self.shape) - 1] + [2 * self.width] * self.depth
        layers = []
        for i, size in enumerate(sizes[:-1]):
            for_kernel, for_bias = jax.random.split(jax.random.fold_in(key, i))
            kernel = jax.random.normal(for_kernel, (size, self.width), self.dtype)
            bias = jax.random.normal(for_bias, (self.width,), self.dtype)
            layers.append({"kernel": kernel / math.sqrt(size), "bias": 0.1 * bias})
        last = jnp.zeros((sizes[-1], self.shape[-1]), self.dtype)
        return [*layers, {"kernel": last, "bias": last[0]}]

    def image(self, params: Any) -> Float[Array, "*shape"]:
        """Returns one image, in [0, 1]."""
        x = jnp.asarray(coordinates(self.shape[:-1]), self.dtype)
        *hidden, last = params
        for layer in hidden:
            angle = jnp.arctan(_affine(layer, x))
            # An odd and an even function, each divided by its usual size.
            x = jnp.concatenate([angle / 0.67, angle**2 / 0.6], axis=-1)
        return SQUASHES["sigmoid"].forward(_affine(last, x)).reshape(self.shape)


def cppn(
    shape: Iterable[int],
    *,
    width: int = 24,
    depth: int = 8,
    dtype: Any = jnp.float32,
) -> Parametrization:
    r"""Parametrizes an image by a compositional pattern-producing network.

    At each pixel, from its coordinates $h_0$,

    $$h_{l+1} = \left[\frac{a_l}{0.67}, \frac{a_l^2}{0.6}\right],\quad
    a_l = \arctan(W_l h_l + b_l),\quad x = \mathrm{sigmoid}(W h + b)$$

    The images are smooth, with lines as sharp as the weights allow. They start gray.
    Coordinates are 0 in the middle of the image and $\pm\sqrt3$ at the ends of its
    longest side, so pixels are square. It needs a small learning rate, 0.005, that
    falls to 0: at a constant one the weights do not settle.

    Args:
        shape: the shape of one image, `(height, width, channels)`, or of any rank.
            Parameters depend on it only through its rank and channels, so another
            `cppn` draws them at another size.
        width: features of each hidden layer before the activation, which doubles them.
        depth: number of hidden layers.
        dtype: the dtype of parameters and images.

    Returns:
        A parametrization without an inverse.

    Raises:
        ValueError: if the shape is none, or `width` or `depth` is not positive.
        TypeError: if `dtype` is not one of floats.

    Example:
        >>> small, large = cppn((8, 8, 3)), cppn((80, 40, 3))
        >>> params = small.init(jax.random.key(0), 2)
        >>> large.images(params).shape
        (2, 80, 40, 3)

    References:
        Stanley, 2007 [stanley2007compositional]; Mordvintsev et al., 2018,
        "Compositional Pattern Producing Networks" [mordvintsev2018differentiable].
    """
    shape = checked_shape(shape, 2)
    width = checked_integer("width", width, 1, call="cppn")
    depth = checked_integer("depth", depth, 1, call="cppn")
    return Cppn(width, depth, checked_dtype(dtype), shape)


def coordinates(spatial: tuple[int, ...]) -> np.ndarray:
    """Returns the place of each pixel, `(pixels, axes)`, from the size."""
    step = 2 * math.sqrt(3) / max(max(spatial) - 1, 1)
    axes = [step * (np.arange(n) - (n - 1) / 2) for n in spatial]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _affine(layer: Any, x: Any) -> Any:
    return x @ layer["kernel"] + layer["bias"][None, :]
