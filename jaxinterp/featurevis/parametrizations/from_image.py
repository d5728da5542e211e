"""Parametrizations that start from given images instead of from noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import checked_real
from jaxinterp.featurevis.images import checked_images
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.pytree import pytree, static


@pytree
class FromImage(Parametrization):
    """A parametrization that starts from images.

    The other fields are the arguments of `from_image`.

    Attributes:
        inner: the parametrization that is changed.
    """

    inner: Any
    image: Any
    noise: float = static()
    shape: tuple[int, ...] = static()

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of the image, with noise."""
        if self.image.ndim > len(self.shape) and self.image.shape[0] != count:
            raise ValueError(
                f"There are {self.image.shape[0]} images to start from, and {count} "
                "images of each unit. Give one image, or one for each image."
            )
        start = self.inner.inverse(jnp.broadcast_to(self.image, (count, *self.shape)))
        if not self.noise:
            return start
        random = self.inner.init(key, count)
        return jax.tree.map(lambda s, r: s + self.noise * r, start, random)

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the images, in [0, 1]."""
        return self.inner.images(params)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose images are the given ones."""
        return self.inner.inverse(images)


def from_image(
    parametrization: Parametrization,
    image: Float[Array | np.ndarray, "..."],
    *,
    noise: float = 0.0,
) -> Parametrization:
    """Starts a parametrization from an image rather than from noise.

    Args:
        parametrization: a parametrization that has an inverse, such as `fourier`.
        image: an image in [0, 1], of the parametrization's shape; or with one more axis
            in front, an image for each image of a unit.
        noise: the multiple of the usual random start that is added to the image; with
            0, the default, all images of a unit start the same.

    Returns:
        A parametrization with the same parameters. With a sigmoid, black and white
        start a little away from 0 and 1, by half a step of 8 bits, where it still has a
        slope; of `squash="stretch"` and `"clip_stretch"`, an image that has not the
        whole range starts with it.

    Raises:
        ValueError: if the image has another shape, or is not in [0, 1], or the noise is
            no number or negative.
        NotImplementedError: if the parametrization has no inverse.

    Example:
        >>> from jaxinterp.featurevis.parametrizations.fourier import fourier
        >>> image = jnp.full((8, 9, 3), 0.25)
        >>> start = from_image(fourier((8, 9, 3)), image)
        >>> params = start.init(jax.random.key(0), 2)
        >>> start.images(params)[1, 4, 4].round(3).tolist()
        [0.25, 0.25, 0.25]
    """
    noise = checked_real("noise", noise, 0, call="from_image")
    shape, image = parametrization.shape, jnp.asarray(image)
    is_one_each = image.ndim == len(shape) + 1
    images = checked_images(image if is_one_each else image[None], shape)
    jax.eval_shape(parametrization.inverse, images)
    return FromImage(
        parametrization, images if is_one_each else images[0], noise, shape
    )
