"""Images that are bright where a unit is active."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxinterp.plot.checked_images import checked_images, checked_numbers
from jaxinterp.types import Images


def masked_images(
    images: Images, activations: Any, level: float, *, outside: float = 0.25
) -> np.ndarray:
    r"""Darkens images where a unit is below a level: what in them excites it?

    $$y_q = \begin{cases} x_q & \tilde a_q \ge \tau \\ \lambda x_q & \text{else}
      \end{cases}$$

    where $\tilde a$ is the activation map resized to the image, linearly. The map is
    stretched over the whole image. Where a network's windows reach beyond the borders
    of the image, or stop short of them, a pixel is therefore off by a part of the
    distance between two entries of the map; `receptive_field` says where each entry
    looks.

    Args:
        images: $x$, `(batch, height, width, channels)` with one channel or three, in
            [0, 1]; a fourth is opacity, over white.
        activations: $a$, the activation map of the unit for each image, `(batch, rows,
            columns)`, such as
            `capture(apply_fn, site)(variables, images)[1][site][..., unit]`.
        level: $\tau$, the same for all images. Network dissection takes what 0.5 % of
            all activations exceed, `activation_distribution(...).quantile(0.995)`.
        outside: $\lambda$, the brightness that is left where the unit is below the
            level, in [0, 1].

    Returns:
        Images, `(batch, height, width, channels)`, for `image_grid`.

    Raises:
        ValueError: if the shapes do not fit, or a number is not in its range.

    Example:
        >>> images, activations = np.ones((1, 4, 4, 1)), np.array([[[0.0, 1.0]]])
        >>> masked_images(images, activations, 0.5, outside=0.0)[0, 0, :, 0].tolist()
        [0.0, 0.0, 1.0, 1.0]

    References:
        Bau et al., 2017, section 2.2 [bau2017network].
    """
    pixels = checked_images(images, "masked_images", "images", 4)
    maps = checked_numbers(activations, "masked_images", "activations")
    if maps.ndim != 3 or not maps.size or len(maps) != len(pixels):
        raise ValueError(
            f"masked_images: `activations` are those of one unit for {len(pixels)} "
            f"images, ({len(pixels)}, rows, columns), and have shape {maps.shape}.\n"
            "Of all channels choose one, `activations[..., 3]`."
        )
    if np.ndim(level) or not np.isfinite(level):
        raise ValueError(f"masked_images: `level` is one number, and is {level!r}.")
    if np.ndim(outside) or not 0 <= outside <= 1:
        raise ValueError(
            f"masked_images: `outside` is a share in [0, 1], and is {outside!r}."
        )
    full = jax.image.resize(maps, pixels.shape[:3], "linear", antialias=False)
    is_active = np.asarray(full)[..., None] >= float(level)
    return np.where(is_active, pixels, np.float32(outside) * pixels)
