"""What penalties share: sums over an image, and the neighbors of its pixels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.objectives.objective import Shapes, View


def in_full(view: View) -> Any:
    """Returns the images of a view, in enough precision to add up many pixels.

    Args:
        view: what the penalty sees.

    Raises:
        TypeError: if the model takes a pytree of arrays in place of images.
    """
    _check_one_array(view.images, hasattr(view.images, "dtype"))
    dtype = view.images.dtype if view.images.dtype.itemsize > 4 else jnp.float32
    return jnp.asarray(view.images, dtype)


def total(cost: Any) -> Any:
    """Returns the sum over all entries of each image, from `(images, ...)`."""
    return cost.sum(range(1, cost.ndim))


def image_shape(shapes: Shapes) -> tuple[int, ...]:
    """Returns the shape of one image.

    Args:
        shapes: the shapes of what the penalty will see.

    Raises:
        TypeError: if the model takes a pytree of arrays in place of images.
    """
    shape = shapes.image
    is_shape = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape)
    _check_one_array(shape, is_shape)
    return shape


def _check_one_array(images: Any, is_one: bool) -> None:
    if not is_one:
        raise TypeError(
            "Penalties are of images that are one array, and the inputs of this model "
            f"are several: {jax.tree.map(np.shape, images)}.\nPenalize one of them, "
            "`custom(lambda view: penalty(view._replace(images=view.images['name'])))`,"
            " or an activation, `penalty_on(penalty, site='Conv_0')`."
        )


def check_spatial(name: str, shapes: Shapes) -> None:
    """Raises unless pixels have neighbors, as the penalty of this name needs.

    Args:
        name: the name of the penalty, for the message.
        shapes: the shapes of what the penalty will see.

    Raises:
        TypeError: if the model takes a pytree of arrays in place of images.
        ValueError: if images have no axis but that of the channels.
    """
    if len(image_shape(shapes)) < 2:
        raise ValueError(
            f"{name}() is about neighbors, and an image of shape {shapes.image} has "
            "channels alone. Give images an axis before them."
        )


def spatial_axes(images: Any) -> tuple[int, ...]:
    """Returns the axes of `(images, ..., channels)` between images and channels."""
    return tuple(range(1, images.ndim - 1))


def along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Returns the values of one axis, so that they broadcast to `ndim` axes.

    Args:
        values: one number for each entry of the axis.
        axis: the axis that the values belong to.
        ndim: the number of axes of the array they are to broadcast to.
    """
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def blurred(images: Any, width: int) -> Any:
    """Returns images under lucid's kernel: 1 inside and one half on its rim.

    It is the sum of two boxes, the larger of which reaches the rim. Near the border, it
    is the mean of the pixels that there are. The width of the kernel is in pixels.

    Args:
        images: the images, `(images, ..., channels)`.
        width: the width of the kernel in pixels.
    """
    ones = jnp.ones((1, *images.shape[1:-1], 1), images.dtype)
    weight = _box_sum(ones, width) + _box_sum(ones, width - 2)
    return (_box_sum(images, width) + _box_sum(images, width - 2)) / weight


def _box_sum(images: Any, width: int) -> Any:
    """Returns sums over a window along all axes but those of images and channels."""
    zero, strides = np.zeros((), images.dtype), (1,) * images.ndim
    for axis in spatial_axes(images):
        window = tuple(width if i == axis else 1 for i in range(images.ndim))
        images = lax.reduce_window(images, zero, lax.add, window, strides, "SAME")
    return images
