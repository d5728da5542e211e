"""Pictures that are bright where a unit is active."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxinterp.plot.pictures import checked_pictures


def masked_pictures(
    images: Any, activations: Any, level: float, *, outside: float = 0.25
) -> np.ndarray:
    r"""Darkens pictures where a unit is below a level: what in them excites it?

    $$y_q = \begin{cases} x_q & \tilde a_q \ge \tau \\ \lambda x_q & \text{else}
      \end{cases}$$

    where $\tilde a$ is the activation at the size of the picture, linear between its
    places. It is laid over the whole picture: where a network reads windows beyond its
    borders or none there, what a place reads is off by a part of a place;
    `receptive_field` says where it is.

    Args:
        images: $x$, `(batch, height, width, channels)` with one channel or three, in
            [0, 1]; a fourth is opacity, and white is seen behind.
        activations: $a$ of the unit for each, `(batch, rows, columns)`, such as
            `capture(apply_fn, site)(variables, images)[1][site][..., unit]`.
        level: $\tau$, for all pictures the same. Network dissection takes what 0.5 % of
            all places exceed, `activation_distribution(...).quantile(0.995)`.
        outside: $\lambda$, in [0, 1].

    Returns:
        Pictures, `(batch, height, width, channels)`, for `picture_grid`.

    Raises:
        ValueError: if the shapes do not fit, or a number is not in its range.

    Example:
        >>> images, activations = np.ones((1, 4, 4, 1)), np.array([[[0.0, 1.0]]])
        >>> masked_pictures(images, activations, 0.5, outside=0.0)[0, 0, :, 0].tolist()
        [0.0, 0.0, 1.0, 1.0]

    References:
        Bau et al., 2017, section 2.2 [bau2017network].
    """
    shown = checked_pictures(images, "masked_pictures", "images", 4)
    maps = np.asarray(activations, np.float32)
    if maps.ndim != 3 or not maps.size or len(maps) != len(shown):
        raise ValueError(
            f"masked_pictures: `activations` are those of one unit for {len(shown)} "
            f"pictures, ({len(shown)}, rows, columns), and have shape {maps.shape}.\n"
            "Of all channels choose one, `activations[..., 3]`."
        )
    if np.ndim(level) or not np.isfinite(level):
        raise ValueError(f"masked_pictures: `level` is one number, and is {level!r}.")
    if np.ndim(outside) or not 0 <= outside <= 1:
        raise ValueError(
            f"masked_pictures: `outside` is a share in [0, 1], and is {outside!r}."
        )
    full = jax.image.resize(maps, shown.shape[:3], "linear", antialias=False)
    is_active = np.asarray(full)[..., None] >= float(level)
    return np.where(is_active, shown, np.float32(outside) * shown)
