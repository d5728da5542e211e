"""Directions of concepts, the sensitivity to them, tests, and overlaps of pixels."""

import numpy as np

from .stabilizers import Array


def pattern(positives: Array, negatives: Array) -> Array:
    """The unit vector along cov(a, t) / var(t), with the same weight for both sets."""
    weights = np.concatenate(
        [np.full(len(s), 0.5 / len(s)) for s in (positives, negatives)]
    )
    t = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
    a = np.concatenate([positives, negatives])
    mean_t = weights @ t
    covariance = (weights * (t - mean_t)) @ a
    return covariance / np.linalg.norm(covariance)


def sensitivities(head, activations: Array, direction: Array) -> Array:
    """The slope of the score of each example along a direction, by differences."""
    step = 1e-6
    return np.array(
        [
            (head(a + step * direction) - head(a - step * direction)) / (2 * step)
            for a in activations
        ]
    )


def holm(p: Array) -> Array:
    """Holm's step-down correction: test after test, from the smallest p value."""
    result = np.zeros(len(p))
    largest = 0.0
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        result[i] = largest
    return result


def enlarged(x: Array, size: int) -> Array:
    """A map brought to `size` x `size` bilinearly; pixels are squares, not points."""
    old = x.shape[0]
    result = np.zeros((size, size))
    for i, j in np.ndindex(size, size):
        places = [(k + 0.5) * old / size - 0.5 for k in (i, j)]
        places = [min(max(place, 0), old - 1) for place in places]
        low = [int(place) for place in places]
        high = [min(k + 1, old - 1) for k in low]
        (r, c) = (place - k for place, k in zip(places, low, strict=True))
        result[i, j] = (
            (1 - r) * (1 - c) * x[low[0], low[1]]
            + (1 - r) * c * x[low[0], high[1]]
            + r * (1 - c) * x[high[0], low[1]]
            + r * c * x[high[0], high[1]]
        )
    return result


def overlap(maps: Array, mask: Array, threshold: float) -> tuple[float, float]:
    """The IoU over a whole dataset of one unit, and its cap."""
    both = either = active = shown = pixels = 0
    for image, pixel_mask in zip(maps, mask, strict=True):
        fires = enlarged(image, len(pixel_mask)) > threshold
        both += (fires & pixel_mask).sum()
        either += (fires | pixel_mask).sum()
        active += fires.sum()
        shown += pixel_mask.sum()
        pixels += pixel_mask.size
    return both / either, min(active, shown) / max(active, shown)
