r"""How much of an explanation lies where the truth is.

$h = |\sum_c a_c|$ is the heat of a pixel or a token: the magnitude of its attribution,
summed over channels. $M$ is the true mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def heat(attribution: Any) -> np.ndarray:
    """Returns the heat of each place of each example.

    Args:
        attribution: of shape `(batch, ..., channels)`.

    Raises:
        ValueError: if it holds something that is not a number.
    """
    summed = np.abs(np.asarray(attribution, np.float64).sum(axis=-1))
    if not np.isfinite(summed).all():
        raise ValueError("The attribution is not finite: there is nothing to measure.")
    return summed


def mass(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    r"""Returns the share of heat inside the mask, $\sum_{i \in M} h_i / \sum_i h_i$.

    An explanation without any heat gets 0.

    Args:
        heat: of shape `(batch, ...)`.
        mask: where the truth is, of the same shape.
    """
    axes = tuple(range(1, heat.ndim))
    whole = heat.sum(axis=axes)
    return (heat * mask).sum(axis=axes) / np.where(whole > 0, whole, 1)


def points_inside(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns whether the hottest place lies inside the mask: the pointing game.

    Args:
        heat: of shape `(batch, ...)`.
        mask: where the truth is, of the same shape.
    """
    flat, inside = heat.reshape(len(heat), -1), mask.reshape(len(mask), -1)
    return inside[np.arange(len(flat)), flat.argmax(axis=1)]


def rank(heat: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Returns the rank of a position by heat: 1 is the hottest. Ties count half.

    Args:
        heat: of shape `(batch, length)`.
        position: of shape `(batch,)`.
    """
    own = heat[np.arange(len(heat)), position][:, None]
    return 1 + (heat > own).sum(axis=1) + ((heat == own).sum(axis=1) - 1) / 2


def edges(images: np.ndarray) -> np.ndarray:
    """Returns the magnitude of the slope of brightness: it knows nothing of a model.

    Args:
        images: of shape `(batch, height, width, channels)`.
    """
    brightness = np.asarray(images, np.float64).mean(axis=-1)
    down, across = np.gradient(brightness, axis=(1, 2))
    return np.hypot(down, across)
