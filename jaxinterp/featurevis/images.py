"""Checks of images, and images by unit.

Images come in the order of their units, as `maximize` returns them: with `count` for
each unit, the first `count` are the first unit's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinterp.checks import checked_integer, is_integer, is_traced
from jaxinterp.types import Images


def by_unit(images: Images, count: int, n_units: int | None = None) -> Any:
    """Returns images `(units * count, ...)` as `(units, count, ...)`.

    Args:
        images: the images, in the order of the units.
        count: the number of images of each unit.
        n_units: the number of units; any number by default.

    Raises:
        TypeError: if they are not floats.
        ValueError: if their number does not fit.
    """
    count = checked_integer("count", count, 1)
    check_float_images(images, "`images`")
    n_images = images.shape[0]
    expected = None if n_units is None else n_units * count
    if not n_images or n_images % count or expected not in (None, n_images):
        units = "some units" if n_units is None else f"{n_units} units"
        raise ValueError(
            f"There are {n_images} images, and count={count} for each of {units} "
            "does not fit that.\nGive the images of all units in their order, and the "
            "`count` that `maximize` had."
        )
    return jnp.asarray(images).reshape(n_images // count, count, *images.shape[1:])


def check_float_images(images: Any, name: str) -> None:
    """Raises unless these are arrays of floats.

    Args:
        images: one or more images.
        name: the name of the argument, for the error.

    Raises:
        TypeError: if they are not.
    """
    is_array = isinstance(images, jax.Array | np.ndarray)
    if (
        not is_array
        or not images.ndim
        or not jnp.issubdtype(images.dtype, jnp.floating)
    ):
        kind = f"{images.dtype}{list(images.shape)}" if is_array else repr(type(images))
        raise TypeError(
            f"{name} are an array of floats in [0, 1], with the images first, and "
            f"are {kind}.\nWrite `result.images`, or `jnp.asarray(images) / 255`."
        )


# How many images of an array the functions that fit statistics look at together.
_TOGETHER = 64


def checked_shape(
    shape: Iterable[int], least: int, most: int | None = None
) -> tuple[int, ...]:
    """Returns the shape of an image as integers.

    Args:
        shape: the sizes of the spatial axes, and the number of channels.
        least: the smallest number of axes.
        most: the largest number of axes; any by default.

    Raises:
        ValueError: if it has others, or one that is not positive; if it begins with the
            axis of a batch of one, as a volume of one slice would.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    are_sizes = all(is_integer(n) and n > 0 for n in sizes)
    if not are_sizes or not least <= len(sizes) <= (most or len(sizes)):
        axes = f"{least} to {most} axes" if most else f"at least {least} of them"
        raise ValueError(
            "The shape of an image has positive integers, such as (128, 128, 3) with "
            f"the channels last, and {axes}; it was {sizes}."
        )
    if len(sizes) > 3 and sizes[0] == 1:
        raise ValueError(
            "The shape is that of one image, without the axis of the batch, and was "
            f"{sizes}.\nDrop the first axis: write {sizes[1:]}; `count=` says how many "
            "images are made."
        )
    return tuple(int(n) for n in sizes)


def checked_dtype(dtype: Any) -> np.dtype:
    """Returns the dtype of parameters and images.

    Args:
        dtype: a dtype of floats.

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
        images: the images, `(images, *shape)`.
        shape: the shape of one image.

    Raises:
        ValueError: if they have another shape, or are not in [0, 1].
    """
    images = jnp.asarray(images)
    if images.shape[1:] != shape or not images.ndim:
        raise ValueError(
            f"The images have shape {images.shape}, and this parametrization makes "
            f"images of shape {shape}: give {('count', *shape)}. "
            "`jax.image.resize` brings an image to another size."
        )
    check_range(images)
    return images


def check_range(images: Any) -> None:
    """Raises if images are not floats in [0, 1]; what is traced cannot be looked at.

    Args:
        images: the images, of any shape.

    Raises:
        ValueError: naming their range.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"Images are floats in [0, 1], and these are {images.dtype}. Those of 8 "
            "bits become that by `images / 255`."
        )
    if is_traced(images):
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
        images: the images, `(images, ..., channels)` in [0, 1], or an iterable of such
            arrays.

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
