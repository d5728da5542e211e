"""Parametrizations of which a part stays as it is."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxinterp.featurevis.images import check_range
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.pytree import pytree, static


@pytree
class Frozen(Parametrization):
    """A parametrization of which a part is fixed.

    The other fields are the arguments of `frozen`.

    Attributes:
        inner: the parametrization that is changed.
    """

    inner: Any
    image: Any
    where: Any
    shape: tuple[int, ...] = static()

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters to start from."""
        return self.inner.init(key, count)

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the images, in [0, 1]."""
        free = self.inner.images(params)
        image = jnp.broadcast_to(self.image, free.shape).astype(free.dtype)
        return jnp.where(jnp.broadcast_to(self.where, free.shape), image, free)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose images are the given ones, where they are free."""
        return self.inner.inverse(images)


def frozen(
    parametrization: Parametrization,
    image: Float[Array | np.ndarray, "..."] | float,
    where: Shaped[Array | np.ndarray, "..."],
) -> Parametrization:
    """Holds a part of the images fixed: some channels, or a region.

    Args:
        parametrization: the parametrization of the whole images.
        image: the image that the fixed part shows, in [0, 1]; broadcast against the
            images.
        where: booleans, true where the images are fixed; broadcast against them, so
            one boolean for each channel fixes channels.

    Returns:
        A parametrization with the same parameters, some of which may not matter now.

    Raises:
        ValueError: if `image` or `where` does not broadcast to the shape of an image,
            or `image` is not in [0, 1].
        TypeError: if `where` is not boolean.

    Example:
        >>> from jaxinterp.featurevis.parametrizations.pixels import pixels
        >>> last = jnp.array([False, False, True])
        >>> free = frozen(pixels((4, 4, 3)), 1.0, last)
        >>> images = free.images(free.init(jax.random.key(0), 2))
        >>> images[0, 0, 0].round(1).tolist()
        [0.5, 0.5, 1.0]
    """
    shape = parametrization.shape
    where, image = jnp.asarray(where), jnp.asarray(image)
    if where.dtype != bool:
        raise TypeError(
            "`where` is made of booleans, true where the image is fixed, and is "
            f"{where.dtype}{list(where.shape)}. For the first of three channels write "
            "`jnp.array([True, False, False])`."
        )
    for name, array in (("image", image), ("where", where)):
        # Trailing axes decide, as everywhere in NumPy.
        fits = array.ndim <= len(shape) and all(
            size in (1, own)
            for size, own in zip(array.shape[::-1], shape[::-1], strict=False)
        )
        if not fits:
            raise ValueError(
                f"`{name}` has shape {array.shape}, which does not broadcast to that "
                f"of an image, {shape}."
            )
    check_range(image)
    return Frozen(parametrization, image, where, shape)
