"""What a parametrization is: how the numbers that are optimized become pictures.

The pixels themselves are a poor thing to optimize: their gradient is mostly high
frequency. A parametrization is another description of the same picture in which steps
of one size are sensible everywhere. It is asked for a *group*, the `count` pictures of
one unit. Picture $j$ of a group gets its own key, the key of the unit folded with $j$,
so it does not depend on how many pictures are made beside it.

`from_image` and `frozen` change a parametrization: where it starts, and what of it
stays as it is.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Shaped

from jaxinterp.featurevis.integers import is_integer

# How many images of an array the functions that fit statistics look at together.
_TOGETHER = 64


class Parametrization:
    """How parameters become the pictures of one unit.

    One of your own is a frozen dataclass with this base, registered with
    `jax.tree_util.register_dataclass`: its `shape` is static, its arrays are not.

    Attributes:
        shape: of one picture, `(height, width, channels)` or whatever the model sees;
            the last axis are the channels.
    """

    shape: tuple[int, ...]

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters to start from.

        Args:
            key: random key of the unit.
            count: number of pictures in the group.

        Returns:
            A pytree of arrays. Those of one picture do not depend on `count`, unless
            the parametrization says so.
        """
        raise NotImplementedError

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the pictures of a group, in [0, 1].

        Args:
            params: as `init` returns them.
        """
        raise NotImplementedError

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose pictures are the given ones.

        Args:
            images: in [0, 1].

        Raises:
            ValueError: if the images have another shape, or are not in [0, 1].
            NotImplementedError: if there is no such inverse.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot start from an image: no parameters are "
            "known that give it. `pixels`, `fourier`, `pyramid` and `maco` can."
        )


class PerImage(Parametrization):
    """A parametrization whose pictures have nothing in common.

    It is written for one picture: `init_one`, `image` and, if there is one,
    `inverse_one`.
    """

    def init_one(self, key: Array) -> Any:
        """Returns the parameters of one picture.

        Args:
            key: random key of that picture.
        """
        raise NotImplementedError

    def image(self, params: Any) -> Float[Array, "*shape"]:
        """Returns one picture, in [0, 1].

        Args:
            params: as `init_one` returns them.
        """
        raise NotImplementedError

    def inverse_one(self, image: Float[Array, "*shape"]) -> Any:
        """Returns the parameters of one picture.

        Args:
            image: in [0, 1], of the right shape.
        """
        return super().inverse(image[None])

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of each picture, stacked."""
        return jax.vmap(self.init_one)(image_keys(key, count))

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the pictures, in [0, 1]."""
        return jax.vmap(self.image)(params)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose pictures are the given ones."""
        return jax.vmap(self.inverse_one)(checked_images(images, self.shape))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class FromImage(Parametrization):
    """A parametrization that starts from images.

    Attributes:
        inner: the parametrization.
        image: one for all pictures, or one for each of them.
        noise: how much of the usual random start is added.
        shape: of one picture.
    """

    inner: Any
    image: Any
    noise: float = dataclasses.field(metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of the image, with noise."""
        if self.image.ndim > len(self.shape) and self.image.shape[0] != count:
            raise ValueError(
                f"There are {self.image.shape[0]} images to start from, and {count} "
                "pictures of each unit. Give one image, or one for each picture."
            )
        start = self.inner.inverse(jnp.broadcast_to(self.image, (count, *self.shape)))
        if not self.noise:
            return start
        random = self.inner.init(key, count)
        return jax.tree.map(lambda s, r: s + self.noise * r, start, random)

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the pictures, in [0, 1]."""
        return self.inner.images(params)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose pictures are the given ones."""
        return self.inner.inverse(images)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Frozen(Parametrization):
    """A parametrization of which a part is given.

    Attributes:
        inner: the parametrization.
        image: what is given.
        where: true where the picture is that image.
        shape: of one picture.
    """

    inner: Any
    image: Any
    where: Any
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters to start from."""
        return self.inner.init(key, count)

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the pictures, in [0, 1]."""
        free = self.inner.images(params)
        image = jnp.broadcast_to(self.image, free.shape).astype(free.dtype)
        return jnp.where(jnp.broadcast_to(self.where, free.shape), image, free)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters whose pictures, where they are free, are the given."""
        return self.inner.inverse(images)


def from_image(
    parametrization: Parametrization,
    image: Float[Array | np.ndarray, "..."],
    *,
    noise: float = 0.0,
) -> Parametrization:
    """Starts a parametrization from an image rather than from noise.

    Args:
        parametrization: one that has an inverse, such as `fourier`.
        image: in [0, 1], of the parametrization's shape; or with one more axis in
            front, an image for each picture of a unit.
        noise: how much of the usual random start is added, in units of it. Without, all
            pictures of a unit start the same.

    Returns:
        A parametrization with the same parameters. With a sigmoid, black and white
        start a little away from 0 and 1, by half a step of 8 bits, where it still has a
        slope; of `squash="stretch"` and `"clip_stretch"`, an image that has not the
        whole range starts with it.

    Raises:
        ValueError: if the image has another shape, or is not in [0, 1].
        NotImplementedError: if the parametrization has no inverse.

    Example:
        >>> from jaxinterp.featurevis.fourier import fourier
        >>> image = jnp.full((8, 9, 3), 0.25)
        >>> start = from_image(fourier((8, 9, 3)), image)
        >>> params = start.init(jax.random.key(0), 2)
        >>> start.images(params)[1, 4, 4].round(3).tolist()
        [0.25, 0.25, 0.25]
    """
    shape, image = parametrization.shape, jnp.asarray(image)
    several = image.ndim == len(shape) + 1
    checked = checked_images(image if several else image[None], shape)
    jax.eval_shape(parametrization.inverse, checked)
    return FromImage(
        parametrization, checked if several else checked[0], float(noise), shape
    )


def frozen(
    parametrization: Parametrization,
    image: Float[Array | np.ndarray, "..."] | float,
    where: Shaped[Array | np.ndarray, "..."],
) -> Parametrization:
    """Holds a part of the pictures fixed: some channels, or a region.

    Args:
        parametrization: of the whole pictures.
        image: in [0, 1], what the fixed part shows; broadcast against the pictures.
        where: booleans, true where the pictures are fixed; broadcast against them, so
            one boolean for each channel fixes channels.

    Returns:
        A parametrization with the same parameters, some of which may not matter now.

    Raises:
        ValueError: if `image` or `where` does not broadcast to the shape of a picture,
            or `image` is not in [0, 1].
        TypeError: if `where` is not boolean.

    Example:
        >>> from jaxinterp.featurevis.canvas import pixels
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
            "`where` is made of booleans, true where the picture is fixed, and is "
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
                f"of a picture, {shape}."
            )
    check_range(image)
    return Frozen(parametrization, image, where, shape)


def image_keys(key: Array, count: int) -> Array:
    """Returns the key of each picture of a group.

    Args:
        key: of the unit.
        count: number of pictures.
    """
    numbers = jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(lambda j: jax.random.fold_in(key, j))(numbers)


def checked_shape(
    shape: Iterable[int], least: int, most: int | None = None
) -> tuple[int, ...]:
    """Returns the shape of a picture as integers.

    Args:
        shape: spatial axes and channels.
        least: number of axes it must have.
        most: number of axes it may have; any by default.

    Raises:
        ValueError: if it has others, or one that is not positive.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    are_sizes = all(is_integer(n) and n > 0 for n in sizes)
    if not are_sizes or not least <= len(sizes) <= (most or len(sizes)):
        axes = f"{least} to {most} axes" if most else f"at least {least} of them"
        raise ValueError(
            "The shape of a picture has positive integers, such as (128, 128, 3) with "
            f"the channels last, and {axes}; it was {sizes}."
        )
    return tuple(int(n) for n in sizes)


def checked_dtype(dtype: Any) -> np.dtype:
    """Returns the dtype of parameters and pictures.

    Args:
        dtype: of floats.

    Raises:
        TypeError: if it is of something else.
    """
    if not jnp.issubdtype(dtype, jnp.floating) or dtype == jnp.float16:
        raise TypeError(
            "Parameters are optimized, so `dtype` is one of floats such as jnp.float32 "
            f"or jnp.bfloat16, and was {jnp.dtype(dtype)}. In float16, what keeps "
            "optimizers from dividing by zero is zero."
        )
    return jax.dtypes.canonicalize_dtype(dtype)


def checked_images(images: Any, shape: tuple[int, ...]) -> Array:
    """Returns images as an array, if they are what a parametrization makes.

    Args:
        images: with one axis more than a picture, in front.
        shape: of a picture.

    Raises:
        ValueError: if they have another shape, or are not in [0, 1].
    """
    images = jnp.asarray(images)
    if images.shape[1:] != shape or not images.ndim:
        raise ValueError(
            f"The images have shape {images.shape}, and this parametrization makes "
            f"pictures of shape {shape}: give {('count', *shape)}. "
            "`jax.image.resize` brings an image to another size."
        )
    check_range(images)
    return images


def check_range(images: Any) -> None:
    """Raises if images are not floats in [0, 1]; what is traced cannot be looked at.

    Args:
        images: of any shape.

    Raises:
        ValueError: naming their range.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"Images are floats in [0, 1], and these are {images.dtype}. Those of 8 "
            "bits become that by `images / 255`."
        )
    if isinstance(images, Tracer):
        return
    # NumPy's, since JAX traces what is computed of constants under a transformation.
    values = np.asarray(images)
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if low != low or high != high:
        raise ValueError(
            "Images are in [0, 1], and some of these are not numbers (NaN). Leave them "
            "out: `images[~jnp.isnan(images).any(axis=(1, 2, 3))]`."
        )
    if not (low >= 0 and high <= 1):  # also where one is not a number
        raise ValueError(
            f"Images are in [0, 1], and these are in [{low:g}, {high:g}]. Undo their "
            "normalization, or divide by 255."
        )


def image_batches(images: Any) -> Iterator[np.ndarray]:
    """Returns images in batches of float64, of which not too many are held at once.

    Args:
        images: `(count, ..., channels)` in [0, 1], or an iterable of such arrays.

    Raises:
        TypeError: if an iterable yields something else.
        ValueError: if there are none, they are not in [0, 1], or their sizes differ.
    """
    batches, first = images, None
    if isinstance(images, np.ndarray | jax.Array):
        starts = range(0, len(images), _TOGETHER)
        batches = (images[i : i + _TOGETHER] for i in starts)
    for batch in batches:
        if not isinstance(batch, np.ndarray | jax.Array):
            raise TypeError(
                "Images come as an array or an iterable of arrays, and one of "
                f"{type(batch).__name__} was found. Of the batches of `images`, write "
                "`(batch.images for batch in batches)`."
            )
        first = batch.shape[1:] if first is None else first
        if batch.shape[1:] != first or not math.prod(batch.shape):
            raise ValueError(
                f"All images must have one shape, {first}, and come with the axis of "
                f"the batch in front; an array of shape {batch.shape} was found."
            )
        check_range(batch)
        yield np.asarray(batch, np.float64)
    if first is None:
        raise ValueError("There are no images to fit to.")
