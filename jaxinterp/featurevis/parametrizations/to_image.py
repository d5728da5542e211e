"""From unbounded values to an image, and back: colors and a squash.

What `fourier`, `pixels`, `pyramid` and `maco` describe are *unbounded values*: an array
of the shape of the image with any entries, in decorrelated colors. `ToImage` makes an
image of it: it recorrelates the colors and squashes the values into [0, 1].
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.checks import check_choice, checked_real
from jaxinterp.featurevis.images import checked_dtype
from jaxinterp.featurevis.parametrizations.color import (
    Color,
    color_matrix,
    decorrelate,
    mean_color,
    recorrelate,
)
from jaxinterp.featurevis.parametrizations.parametrization import PerImage
from jaxinterp.pytree import pytree, static

SquashName = Literal["sigmoid", "clip", "stretch", "clip_stretch"]

# Half a step of 8 bits. Black and white are at infinity for a sigmoid; so near to them
# an image is the same once it is saved, and the sigmoid has a slope.
_EDGE = 1 / 510

# What differs less than a step of 8 bits is not stretched to the whole range.
_LEAST_RANGE = 1 / 255


@jax.custom_jvp
def clip_through(x: Float[Array, "*axes"], low: Any, high: Any) -> Any:
    """Clips to [low, high], but lets the gradient through: nothing gets stuck.

    Args:
        x: the values to clip.
        low: the smallest value of the result.
        high: the largest value of the result.
    """
    return jnp.clip(x, low, high)


@clip_through.defjvp
def _clip_through_jvp(primals: Any, tangents: Any) -> Any:
    return clip_through(*primals), tangents[0]


def _logit(image: Any) -> Any:
    image = jnp.clip(image, _EDGE, 1 - _EDGE)
    return jnp.log(image) - jnp.log1p(-image)


def _stretch(image: Any) -> Any:
    low, high = image.min(), image.max()
    # An image of one gray must not become its rounding errors in full contrast.
    full = 0.5 + (image - (low + high) / 2) / jnp.maximum(high - low, _LEAST_RANGE)
    return clip_through(full, 0.0, 1.0)  # rounding may leave the range


class Squash(NamedTuple):
    """A way to bring values into [0, 1].

    Attributes:
        forward: the function from values to [0, 1].
        inverse: the function back, from [0, 1] to values.
        is_centered: whether the values are differences from a mean color.
    """

    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]
    is_centered: bool = False


SQUASHES: Mapping[str, Squash] = {
    "sigmoid": Squash(jax.nn.sigmoid, _logit),
    "stretch": Squash(lambda x: _stretch(jax.nn.sigmoid(x)), _logit),
    "clip": Squash(lambda x: clip_through(x, 0.0, 1.0), lambda x: x, is_centered=True),
    "clip_stretch": Squash(
        lambda x: _stretch(clip_through(x, 0.0, 1.0)), lambda x: x, is_centered=True
    ),
}


@pytree
class ToImage:
    """Makes an image of unbounded values.

    Attributes:
        color: matrix of decorrelated colors, or `None`.
        mean: color of values that are zero, before the squash; `None` for 0.
        squash: the name of one of `SQUASHES`.
        dtype: the dtype of the image.
    """

    color: Any
    mean: Any
    squash: str = static()
    dtype: Any = static()

    @property
    def computed(self) -> Any:
        """The dtype of what is computed: float32 at least."""
        return self.dtype if jnp.finfo(self.dtype).bits >= 32 else jnp.float32

    def __call__(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns the image, in [0, 1]."""
        values = values.astype(self.computed)
        if self.color is not None:
            values = recorrelate(values, self.color)
        if self.mean is not None:
            values += jnp.broadcast_to(self.mean, values.shape)
        return SQUASHES[self.squash].forward(values).astype(self.dtype)

    def inverse(self, image: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns the unbounded values of an image."""
        values = SQUASHES[self.squash].inverse(image.astype(self.computed))
        if self.mean is not None:
            values -= jnp.broadcast_to(self.mean, values.shape)
        return values if self.color is None else decorrelate(values, self.color)


def unbounded_to_image(
    shape: tuple[int, ...], color: Color, squash: SquashName, dtype: Any
) -> ToImage:
    """Returns what makes images of a shape.

    Args:
        shape: the shape of an image.
        color: `"auto"`, the name of a matrix, a matrix, or `None`.
        squash: the name of one of `SQUASHES`.
        dtype: the dtype of parameters and images.

    Raises:
        ValueError: if there is no such color or squash.
        TypeError: if the dtype is not one of floats.
    """
    check_choice("squash", squash, tuple(SQUASHES))
    plain = ToImage(None, None, squash, checked_dtype(dtype))
    matrix, mean = color_matrix(color, shape), None
    if matrix is not None:
        matrix = jnp.asarray(matrix, plain.computed)
    if SQUASHES[squash].is_centered:
        mean = jnp.broadcast_to(mean_color(color, shape), shape[-1:])
        mean = mean.astype(plain.computed)
    return dataclasses.replace(plain, color=matrix, mean=mean)


class Unbounded(PerImage):
    """A parametrization of unbounded values, of which an image is then made.

    Attributes:
        to_image: the step from values to an image, a `ToImage`.
    """

    to_image: Any

    def values(self, params: Any) -> Float[Array, "*shape"]:
        """Returns the unbounded values of one image from its parameters."""
        raise NotImplementedError

    def params(self, values: Float[Array, "*shape"]) -> Any:
        """Returns the parameters of one image from its unbounded values."""
        raise NotImplementedError

    def image(self, params: Any) -> Float[Array, "*shape"]:
        """Returns one image, in [0, 1]."""
        return self.to_image(self.values(params))

    def inverse_one(self, image: Float[Array, "*shape"]) -> Any:
        """Returns the parameters of one image."""
        return self.params(self.to_image.inverse(image))


def checked_scale(scale: float) -> float:
    """Returns the standard deviation of the noise to start from.

    Raises:
        ValueError: if it is negative or not finite.
    """
    return checked_real("scale", scale, 0)
