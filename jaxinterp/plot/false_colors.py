"""Images of any number of channels, shown in colors."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import hsv_to_rgb

from jaxinterp.plot.checked_images import checked_numbers
from jaxinterp.types import Images


def false_colors(images: Images) -> np.ndarray:
    r"""Returns images of any number of channels in colors: each channel has a hue.

    $$y_k = \sum_c x_c h_{ck} \Big/ \sum_c h_{ck}$$

    where $h_c$ is the pure color of hue $c / C$. Where all channels are 1 it is white,
    and red, green and blue stay what they are.

    Args:
        images: $x$, `(..., channels)`, in [0, 1].

    Returns:
        Images $y$, `(..., 3)`, in [0, 1], float32.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the images.
        ValueError: if there is no channel, or the images are not in [0, 1].

    Example:
        >>> false_colors(np.array([[0.0, 1.0], [1.0, 1.0]])).tolist()
        [[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    pixels = checked_numbers(images, "false_colors", "images")
    if not pixels.ndim or not pixels.shape[-1]:
        raise ValueError(
            "false_colors: `images` must have channels, (..., channels), and the shape "
            f"is {pixels.shape}."
        )
    # Half precision leaves the range by rounding.
    if ((pixels < -1e-2) | (pixels > 1.01)).any():
        raise ValueError(
            "false_colors: `images` must be in [0, 1], and are in "
            f"[{np.nanmin(pixels):g}, {np.nanmax(pixels):g}]."
        )
    channels = pixels.shape[-1]
    if channels == 1:
        return np.repeat(pixels, 3, axis=-1)
    hue = np.arange(channels) / channels
    hues = hsv_to_rgb(np.stack([hue, np.ones(channels), np.ones(channels)], axis=-1))
    return pixels @ (hues / hues.sum(axis=0)).astype(np.float32)
