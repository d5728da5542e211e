"""Images that stay near a given one: an image and a bounded change of it.

With a small radius this finds adversarial examples; with a larger one, what a unit adds
to an image.
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import check_choice, is_traced
from jaxinterp.featurevis.images import check_range, checked_dtype, checked_shape
from jaxinterp.featurevis.parametrizations.parametrization import (
    Parametrization,
    PerImage,
)
from jaxinterp.featurevis.parametrizations.to_image import checked_scale, clip_through
from jaxinterp.pytree import pytree, static

Norm = Literal["l2", "linf"]


@pytree
class Ball(PerImage):
    """The change of an image, brought back to the radius where it goes beyond.

    The other fields are the arguments of `ball`.

    Attributes:
        center: the image $x_0$ in the middle of the ball.
    """

    center: Any
    radius: Any
    norm: str = static()
    scale: float = static()
    shape: tuple[int, ...] = static()

    def init_one(self, key: Array) -> Any:
        """Returns normal noise."""
        return self.scale * jax.random.normal(key, self.shape, self.center.dtype)

    def image(self, params: Any) -> Float[Array, "*shape"]:
        """Returns one image, in [0, 1]."""
        if self.norm == "linf":
            change = clip_through(params, -self.radius, self.radius)
        else:
            # Where the square of the norm is 0 its root has no gradient.
            square = jnp.maximum(jnp.sum(params**2), self.radius**2)
            change = params * (self.radius / jnp.sqrt(square))
        # To move a value into [0, 1] brings it nearer to the center, which lies there.
        return clip_through(self.center + change, 0.0, 1.0)

    def inverse_one(self, image: Float[Array, "*shape"]) -> Any:
        """Returns the change that makes one image, if it lies in the ball."""
        return image.astype(self.center.dtype) - self.center


def ball(
    image: Float[Array | np.ndarray, "..."],
    radius: float,
    *,
    norm: Norm = "linf",
    scale: float = 0.0,
    dtype: Any = jnp.float32,
) -> Parametrization:
    r"""Parametrizes an image by its change from an image, of bounded norm.

    $$x = \mathrm{clip}_{[0, 1]}(x_0 + P(z)), \quad \lVert P(z) \rVert \le
    \mathrm{radius}$$

    where $P$ scales the parameters $z$ down to the radius (`"l2"`), or clips each of
    them (`"linf"`), and both clips pass the gradient through. The parameters may leave
    the ball, the images do not.

    Args:
        image: $x_0$, one image in [0, 1], of any shape; without the axis of a batch.
        radius: the greatest norm of the change, in units of the image's values; for
            `"l2"` that of the change of a whole image.
        norm: the norm of the change, `"l2"` or `"linf"`.
        scale: the standard deviation of $z$ at the start; without noise it is the
            image.
        dtype: the dtype of parameters and images.

    Returns:
        A parametrization. Its inverse brings images outside the ball to its surface.

    Raises:
        ValueError: if the radius is not positive, there is no such norm, or the image
            is not in [0, 1], or has the axis of a batch of one.
        TypeError: if `dtype` is not one of floats.

    Example:
        >>> near = ball(jnp.array([0.5, 0.5, 1.0]), 0.25)
        >>> near.images(jnp.array([[3.0, -0.125, 0.25]])).tolist()
        [[0.75, 0.375, 1.0]]

    References:
        Goodfellow et al., 2015, section 3 [goodfellow2015explaining].
    """
    check_choice("norm", norm, ("l2", "linf"), call="ball")
    if not is_traced(radius) and not 0 < radius < math.inf:
        raise ValueError(f"`radius` is positive and finite, and was {radius}.")
    dtype = checked_dtype(dtype)
    center = jnp.asarray(image)
    check_range(center)
    return Ball(
        center.astype(dtype),
        jnp.asarray(radius, dtype),
        norm,
        checked_scale(scale),
        checked_shape(center.shape, 0),
    )
