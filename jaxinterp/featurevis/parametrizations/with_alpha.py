"""Images with a channel of opacity: what of an image matters to the unit.

The image is laid over a background that is new in every step. What the unit does
not need may then be transparent, and an objective that also rewards little opacity
makes it so.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import checked_images
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.pytree import pytree, static


@pytree
class WithAlpha(Parametrization):
    """An image and its opacity, each with a parametrization.

    Attributes:
        color: the parametrization of the channels of color.
        opacity: the parametrization of one channel.
        shape: the shape of one image with its opacity.
    """

    color: Any
    opacity: Any
    shape: tuple[int, ...] = static()

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of `color` and of `opacity`."""
        colors_key, opacity_key = jax.random.split(key)
        return {
            "color": self.color.init(colors_key, count),
            "opacity": self.opacity.init(opacity_key, count),
        }

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the images, the opacity in the last channel."""
        color = self.color.images(params["color"])
        opacity = self.opacity.images(params["opacity"])
        return jnp.concatenate([color, opacity.astype(color.dtype)], axis=-1)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose images are the given ones."""
        images = checked_images(images, self.shape)
        return {
            "color": self.color.inverse(images[..., :-1]),
            "opacity": self.opacity.inverse(images[..., -1:]),
        }


def with_alpha(
    parametrization: Parametrization, *, opacity: Parametrization | None = None
) -> Parametrization:
    """Adds a channel of opacity, the last.

    Put `collapse_alpha()` before the other transforms: the model sees the image over
    a background.

    Args:
        parametrization: the parametrization of the channels of color.
        opacity: a parametrization of its opacity, of one channel; `fourier` by default.

    Returns:
        A parametrization whose images have one channel more, 1 where they are opaque.

    Raises:
        ValueError: if the opacity is of another size, or has more than one channel.

    Example:
        >>> image = with_alpha(fourier((8, 9, 3)))
        >>> image.images(image.init(jax.random.key(0), 2)).shape
        (2, 8, 9, 4)

    References:
        Mordvintsev et al., 2018, "Generation of Semi-Transparent Patterns"
        [mordvintsev2018differentiable].
    """
    *spatial, channels = parametrization.shape
    opacity_shape = (*spatial, 1)
    if opacity is None:
        images_like = jax.eval_shape(
            lambda key: parametrization.images(parametrization.init(key, 1)),
            jax.random.key(0),
        )
        opacity = fourier(opacity_shape, dtype=images_like.dtype)
    if opacity.shape != opacity_shape:
        raise ValueError(
            f"The opacity of images of shape {parametrization.shape} has shape "
            f"{opacity_shape}, and the one that was given has {opacity.shape}. Write "
            f"`opacity=fourier({opacity_shape})`."
        )
    return WithAlpha(parametrization, opacity, (*spatial, channels + 1))
