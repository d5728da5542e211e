"""What a parametrization is: how the numbers that are optimized become images.

Pixels are hard to optimize directly, since their gradient is mostly high frequency. A
parametrization is another description of the same image in which steps of one size are
sensible everywhere. It makes a *group*, the `count` images of one unit. Image $j$ of a
group gets its own key, the key of the unit folded with $j$, so it does not depend on
how many images are made beside it.

`from_image` and `frozen` change a parametrization: where it starts, and what of it
stays as it is.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import checked_images
from jaxinterp.keys import each_folded


class Parametrization:
    """How parameters become the images of one unit.

    One of your own is a frozen dataclass with this base, registered with
    `jax.tree_util.register_dataclass`: its `shape` is static, its arrays are not.

    Attributes:
        shape: the shape of one image, `(height, width, channels)` or whatever the model
            sees; the last axis are the channels.
    """

    shape: tuple[int, ...]

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters to start from.

        Args:
            key: the random key of the unit.
            count: the number of images in the group.

        Returns:
            A pytree of arrays. Those of one image do not depend on `count`, unless
            the parametrization says so.
        """
        raise NotImplementedError

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the images of a group, in [0, 1].

        Args:
            params: parameters as `init` returns them.
        """
        raise NotImplementedError

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose images are the given ones.

        Args:
            images: images in [0, 1].

        Raises:
            ValueError: if the images have another shape, or are not in [0, 1].
            NotImplementedError: if there is no such inverse.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot start from an image: no parameters are "
            "known that give it. `pixels`, `fourier`, `pyramid` and `maco` can."
        )


class PerImage(Parametrization):
    """A parametrization whose images have nothing in common.

    It is written for one image: `init_one`, `image` and, if there is one,
    `inverse_one`.
    """

    def init_one(self, key: Array) -> Any:
        """Returns the parameters of one image to start from, of its random key."""
        raise NotImplementedError

    def image(self, params: Any) -> Float[Array, "*shape"]:
        """Returns one image, in [0, 1], of parameters as `init_one` returns them."""
        raise NotImplementedError

    def inverse_one(self, image: Float[Array, "*shape"]) -> Any:
        """Returns the parameters of one image, which has the right shape."""
        return super().inverse(image[None])

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of each image, stacked."""
        return jax.vmap(self.init_one)(image_keys(key, count))

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the images, in [0, 1]."""
        return jax.vmap(self.image)(params)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose images are the given ones."""
        return jax.vmap(self.inverse_one)(checked_images(images, self.shape))


def image_keys(key: Array, count: int) -> Array:
    """Returns the keys of `count` images of a group, from the key of its unit.

    Args:
        key: the random key of the unit.
        count: the number of images in the group.
    """
    return each_folded(key, jnp.arange(count, dtype=jnp.uint32))
