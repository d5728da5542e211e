"""Attributions as colors: one number per pixel, on a scale whose middle is zero.

$a$ is the attribution of one example, of shape `(height, width)` or with channels last.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import matplotlib
import numpy as np
from jaxtyping import Float

from jaxinterp.checks import check_choice, is_real
from jaxinterp.plot.checked_images import checked_numbers

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
        TypeError: if a transformation such as `jax.jit` is tracing the attributions.
        ValueError: if there is no such reduction, or the shape is not that of a batch
            of images: a single image needs the axis of the batch.

    References:
        Simonyan et al., 2013, section 3.1 [simonyan2013deep].

    Example:
        >>> pixel = np.array([3.0, -4.0]).reshape(1, 1, 1, 2)
        >>> [reduce_channels(pixel, r).item() for r in ("sum", "norm", "largest")]
        [-1.0, 5.0, -4.0]
    """
    check_choice("reduction", reduction, get_args(Reduction))
    maps = checked_numbers(attributions, "heatmap", "attributions", np.float64)
    check_batch(maps, "heatmap", "attributions")
    if maps.ndim == 3:
        maps = maps[..., None]
    if reduction == "sum":
        return maps.sum(axis=-1)
    if reduction == "norm":
        return np.sqrt((maps**2).sum(axis=-1))
    largest = np.abs(maps).argmax(axis=-1)[..., None]
    return np.take_along_axis(maps, largest, axis=-1)[..., 0]


def check_batch(maps: np.ndarray, call: str, name: str) -> None:
    """Raises unless numbers are a batch of images, with or without channels.

    Args:
        maps: the numbers.
        call: the name of the public function, for the error message.
        name: the name of the argument, for the error message.

    Raises:
        ValueError: if they have another number of axes, or three of which the last can
            only be that of the channels.
    """
    shape, advice = maps.shape, f"Of a single image write `{name}[None]`."
    if len(shape) == 3 and shape[2] in (1, 3, 4) and min(shape[:2]) > shape[2]:
        advice += (
            f" For {shape[0]} images of {shape[1]} x {shape[2]} pixels write "
            f"`{name}[..., None]`."
        )
    elif len(shape) in (3, 4) and maps.size:
        return
    raise ValueError(
        f"{call}: `{name}` must be a batch of images, (batch, height, width) or\n"
        f"(batch, height, width, channels), and have shape {shape}.\n{advice}"
    )


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
        TypeError: if a transformation such as `jax.jit` is tracing the attributions.
        ValueError: if the attributions are no batch of images, or hold NaN or infinity;
            or if a percentile is out of range.

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
    if not is_real(percentile) or not 0 < percentile <= 100:
        raise ValueError(
            f"`percentile` must be above 0 and at most 100, and is {percentile!r}."
        )
    invalid = np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2)))
    if invalid.size:
        raise ValueError(
            f"The attributions of example {invalid[0]} hold NaN or infinity, which "
            "have no color.\nThey come from a NaN in the inputs, "
            "`jnp.isfinite(inputs).all()`, from a model that makes one, "
            "`jnp.isfinite(outputs).all()`, or under `jax.jit` from a target that is "
            "no class: without `jax.jit` that is an error which names it."
        )
    sizes = np.abs(maps)
    limits = np.percentile(sizes, percentile, axis=(1, 2), keepdims=True)
    # A map that is zero but for a few pixels has the percentile 0.
    limits = np.where(limits > 0, limits, sizes.max(axis=(1, 2), keepdims=True))
    return np.where(limits > 0, limits, 1.0)
