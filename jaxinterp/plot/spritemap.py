"""Images side by side in one array, for other programs."""

from __future__ import annotations

import numpy as np

from jaxinterp.plot.checked_images import checked_columns, checked_images
from jaxinterp.types import Images


def spritemap(images: Images, *, columns: int | None = None) -> np.ndarray:
    """Returns images side by side in one array, without any margin.

    Image `i` is `sheet[r * height : (r + 1) * height, c * width : (c + 1) * width]`
    with `r, c = divmod(i, columns)`.

    Args:
        images: `(batch, height, width, channels)` with one channel or three, in [0, 1];
            a fourth is opacity, over white.
        columns: how many images a row has, from 1; by default about as many as there
            are rows, the square root of the number of images rounded up.

    Returns:
        `(rows * height, columns * width, channels)`, float32; cells without an image
        are white, and NaN stays NaN.

    Raises:
        ValueError: if the images are not of that shape and range, or `columns` is no
            integer or less than 1.

    Example:
        >>> spritemap(np.zeros((5, 8, 6, 3)), columns=3).shape
        (16, 18, 3)
    """
    pixels = checked_images(images, "spritemap", "images", 4)
    n_images, tall, wide, channels = pixels.shape
    columns = checked_columns("spritemap", columns, n_images)
    rows = -(-n_images // columns)
    white = np.ones((rows * columns - n_images, tall, wide, channels), np.float32)
    cells = np.concatenate([pixels, white]).reshape(rows, columns, tall, wide, channels)
    return cells.swapaxes(1, 2).reshape(rows * tall, columns * wide, channels)
