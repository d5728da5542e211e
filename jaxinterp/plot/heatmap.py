"""Attributions as colors: one number per pixel, on a scale whose middle is zero.

$a$ is the attribution of one example, of shape `(height, width)` or with channels last.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import matplotlib
import numpy as np
from jaxtyping import Float

Reduction = Literal["sum", "norm", "largest"]


def reduce_channels(
    attributions: Any, reduction: Reduction = "sum"
) -> Float[np.ndarray, "batch height width"]:
    r"""Returns one number per pixel.

    Args:
        attributions: $a$, `(batch, height, width, channels)` or without channels.
        reduction: `"sum"` keeps units and conservation, $\sum_c a_c$; `"norm"` is
            $\sqrt{\sum_c a_c^2}$ and loses the sign; `"largest"` is the $a_c$ of
            largest magnitude, which for `saliency` is the map of Simonyan et al.

    Returns:
        `(batch, height, width)`, in the units of the attributions.

    Raises:
        ValueError: if there is no such reduction, or the shape is not that of images.

    References:
        Simonyan et al., 2013, section 3.1 [simonyan2013deep].

    Example:
        >>> pixel = np.array([3.0, -4.0]).reshape(1, 1, 1, 2)
        >>> [reduce_channels(pixel, r).item() for r in ("sum", "norm", "largest")]
        [-1.0, 5.0, -4.0]
    """
    maps = np.asarray(attributions, np.float64)
    if reduction not in get_args(Reduction):
        raise ValueError(
            f"`reduction` is one of {get_args(Reduction)}, and is {reduction!r}."
        )
    if maps.ndim not in (3, 4):
        raise ValueError(
            "Images have the shape (batch, height, width) or (batch, height, width, "
            f"channels), and these attributions have the shape {maps.shape}.\n"
            "Write `attributions[None]` for a single image."
        )
    if maps.ndim == 3:
        maps = maps[..., None]
    if reduction == "sum":
        return maps.sum(axis=-1)
    if reduction == "norm":
        return np.sqrt((maps**2).sum(axis=-1))
    largest = np.abs(maps).argmax(axis=-1)[..., None]
    return np.take_along_axis(maps, largest, axis=-1)[..., 0]


def heatmap(
    attributions: Any,
    *,
    reduction: Reduction = "sum",
    percentile: float = 100.0,
    colors: str = "RdBu_r",
) -> Float[np.ndarray, "batch height width 3"]:
    r"""Returns the colors of attributions; zero is the middle of the color map.

    Each example has a range of its own, $[-m, m]$, where $m$ is a percentile of $|a|$:
    the scale is symmetric, so color tells the sign, and strength compares within one
    image but not between images.

    Args:
        attributions: `(batch, height, width, channels)`, or without channels.
        reduction: how channels become one number, see `reduce_channels`.
        percentile: which percentile of the magnitudes $|a|$ is $m$; what exceeds it
            gets the full color, too. Below 100 a few extreme pixels do not wash out
            the rest.
        colors: the name of a diverging color map of matplotlib.

    Returns:
        Colors in $[0, 1]$: red raises the score and blue lowers it, unless `colors`
        says otherwise.

    Raises:
        ValueError: if attributions hold NaN or infinity, or a percentile is out of
            range.

    Example:
        >>> red, white, blue = heatmap(np.array([[[2.0, 0.0, -2.0]]]))[0, 0]
        >>> [bool(red[0] > red[2]), len(set(white.tolist())), bool(blue[0] < blue[2])]
        [True, 1, True]
    """
    maps = reduce_channels(attributions, reduction)
    limits = _limits(maps, percentile)
    # An odd number of colors, of which the middle one means zero.
    scale = matplotlib.colormaps[colors].resampled(257)
    return scale(0.5 + 0.5 * np.clip(maps / limits, -1, 1))[..., :3]


def _limits(maps: np.ndarray, percentile: float) -> np.ndarray:
    """The magnitude of each map that gets the full color, of shape `(batch, 1, 1)`."""
    if not 0 < percentile <= 100:
        raise ValueError(
            f"`percentile` must be above 0 and at most 100, and is {percentile}."
        )
    invalid = np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2)))
    if invalid.size:
        raise ValueError(
            f"The attributions of example {invalid[0]} hold NaN or infinity, which "
            "have no color.\nA NaN in an input gives NaN: look for it with "
            "`jnp.isfinite(inputs).all()`."
        )
    sizes = np.abs(maps)
    limits = np.percentile(sizes, percentile, axis=(1, 2), keepdims=True)
    # A map that is zero but for a few pixels has the percentile 0.
    limits = np.where(limits > 0, limits, sizes.max(axis=(1, 2), keepdims=True))
    return np.where(limits > 0, limits, 1.0)
