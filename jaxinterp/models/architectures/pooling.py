"""Pooling as Caffe and torch define it, since that of Flax differs.

Flax drops the rows of an image that fill no whole window, or pads both ends until they
fill one (`SAME`). Caffe, and torch's `ceil_mode`, begin at the first pixel and add a
last window that reaches over the end. Windows of 3 at strides of 2 over 111 x 111
features then give 55 x 55, and `SAME` gives 56 x 56, the first of them half outside;
over 112 x 112 they give 56 x 56, and Flax's default 55 x 55. Weights trained with one
of them lose accuracy with another.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float


def max_pool(
    x: Float[Array, "batch height width channels"],
    window: int,
    stride: int,
    padding: int = 0,
) -> Float[Array, "batch rows columns channels"]:
    """Takes the maximum of every whole window, after padding all sides equally.

    Args:
        x: images or features.
        window: height and width of a window, in pixels.
        stride: how many pixels one window is from the next.
        padding: how many pixels of minus infinity are added to each side.

    Example:
        >>> max_pool(jnp.arange(36.0).reshape(1, 6, 6, 1), 3, 2)[0, :, 0, 0].tolist()
        [14.0, 26.0]
    """
    return _max_pool(x, window, stride, ((padding, padding), (padding, padding)))


def ceil_max_pool(
    x: Float[Array, "batch height width channels"], window: int, stride: int
) -> Float[Array, "batch rows columns channels"]:
    r"""Takes the maximum of windows until the last one reaches the end of the image.

    There are $\lceil (n - \text{window}) / \text{stride} \rceil + 1$ windows along a
    side of $n$ pixels. Pixels beyond the end are never the maximum.

    Args:
        x: images or features.
        window: height and width of a window, in pixels.
        stride: how many pixels one window is from the next, at most `window`.

    Raises:
        ValueError: if the image is so small that there is no window.

    Example:
        >>> ceil_max_pool(jnp.arange(36.0).reshape(1, 6, 6, 1), 3, 2)[
        ...     0, :, 0, 0].tolist()
        [14.0, 26.0, 32.0]
    """
    padding = []
    for pixels in x.shape[1:3]:
        windows = -((window - pixels) // stride) + 1
        if windows < 1:
            raise ValueError(
                f"ceil_max_pool: features of shape {x.shape} have no window of "
                f"{window} pixels at strides of {stride}.\n"
                "Give the model larger images."
            )
        padding.append((0, (windows - 1) * stride + window - pixels))
    return _max_pool(x, window, stride, tuple(padding))


def adaptive_mean(
    x: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch size size channels"]:
    r"""Averages an image of any size over a grid of `size` x `size` cells.

    Cell $i$ of a side of $n$ pixels averages the pixels from $\lfloor i n / s \rfloor$
    to $\lceil (i + 1) n / s \rceil$, the latter not included. So cells overlap if
    `size` does not divide $n$, and an image of `size` pixels stays as it is. The
    address of the result is `adaptive_mean`, below that of the model.

    Args:
        x: images or features.
        size: how many cells there are along each side.

    Raises:
        ValueError: if there is no pixel to average.

    Example:
        >>> adaptive_mean(jnp.arange(9.0).reshape(1, 3, 3, 1), 2)[0, :, :, 0].tolist()
        [[2.0, 3.0], [5.0, 6.0]]
    """
    if not (x.shape[1] and x.shape[2]):
        raise ValueError(
            f"adaptive_mean: features of shape {x.shape} have no pixel.\n"
            "Give the model larger images."
        )
    for axis, name in ((1, "rows"), (2, "columns")):
        if x.shape[axis] != size:
            shares = jnp.asarray(_shares(x.shape[axis], size), x.dtype)
            # In a scope, because a matrix product looks like a layer in a trace.
            with jax.named_scope(f"adaptive_mean/{name}"):
                x = jnp.moveaxis(jnp.tensordot(x, shares, (axis, 1)), -1, axis)
    return x


def _shares(pixels: int, cells: int) -> np.ndarray:
    """Returns the weight of every pixel in the mean of every cell, cells first."""
    shares = np.zeros((cells, pixels))
    for cell in range(cells):
        start, stop = cell * pixels // cells, -(-(cell + 1) * pixels // cells)
        shares[cell, start:stop] = 1 / (stop - start)
    return shares


def _max_pool(
    x: Float[Array, "batch height width channels"],
    window: int,
    stride: int,
    padding: tuple[tuple[int, int], ...],
) -> Float[Array, "batch rows columns channels"]:
    # Flax annotates a string and documents pairs as well.
    return nn.max_pool(x, (window, window), (stride, stride), padding)  # pyright: ignore[reportArgumentType]
