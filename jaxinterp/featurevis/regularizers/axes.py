"""Differences and means of neighboring pixels, which several penalties share."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.objectives.objective import Shapes


def check_spatial(name: str, shapes: Shapes) -> None:
    """Raises if pixels have no neighbors.

    Args:
        name: the penalty that looks at neighbors.
        shapes: of what the penalty will see.

    Raises:
        ValueError: if images have no axis but that of the channels.
    """
    if len(shapes.image) < 2:
        raise ValueError(
            f"{name}() is about neighbors, and a picture of shape {shapes.image} has "
            "channels alone. Give pictures an axis before them."
        )


def spatial_axes(pictures: Any) -> tuple[int, ...]:
    """Returns the axes that are neither those of images nor of channels.

    Args:
        pictures: `(images, ..., channels)`.
    """
    return tuple(range(1, pictures.ndim - 1))


def along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Returns values of one axis, so that they broadcast to an array.

    Args:
        values: one for each entry of the axis.
        axis: which.
        ndim: how many axes the array has.
    """
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def blurred(pictures: Any, width: int) -> Any:
    """Returns pictures under lucid's kernel: 1 inside and one half on its rim.

    It is the sum of two boxes, the larger of which reaches the rim. Near the border, it
    is the mean of the pixels that there are.

    Args:
        pictures: `(images, ..., channels)`.
        width: of the kernel.
    """
    once = jnp.ones((1, *pictures.shape[1:-1], 1), pictures.dtype)
    weight = box_sum(once, width) + box_sum(once, width - 2)
    return (box_sum(pictures, width) + box_sum(pictures, width - 2)) / weight


def box_sum(pictures: Any, width: int) -> Any:
    """Returns sums over neighbors along all axes but those of images and channels.

    Args:
        pictures: `(images, ..., channels)`.
        width: of the window.
    """
    zero, still = np.zeros((), pictures.dtype), (1,) * pictures.ndim
    for axis in spatial_axes(pictures):
        window = tuple(width if i == axis else 1 for i in range(pictures.ndim))
        pictures = lax.reduce_window(pictures, zero, lax.add, window, still, "SAME")
    return pictures
