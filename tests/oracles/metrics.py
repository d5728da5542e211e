"""Metrics of attributions, one example at a time, as their papers define them."""

from collections.abc import Callable, Sequence

import numpy as np

from .stabilizers import Array


def feature_order(attribution: Array, segments: Array, order: str) -> list[int]:
    """Returns the numbers of the segments in the order in which they are replaced.

    A segment has the sum of the attributions of its entries; of equal ones the smaller
    number comes first.
    """
    numbers = sorted({int(number) for number in segments.ravel() if number >= 0})
    sums = {s: float(attribution[segments == s].sum()) for s in numbers}
    sign = -1 if order == "morf" else 1
    return sorted(numbers, key=lambda s: (sign * sums[s], s))


def perturbation_curve(
    score: Callable[[Array], float],
    x: Array,
    baseline: Array,
    ordered: Sequence[int],
    segments: Array,
    counts: Sequence[int],
    mode: str = "delete",
) -> Array:
    """Returns the score after the first `count` segments were replaced, for each."""
    start, end = (x, baseline) if mode == "delete" else (baseline, x)
    scores = []
    for count in counts:
        changed = start.copy()
        for number in ordered[:count]:
            changed[segments == number] = end[segments == number]
        scores.append(score(changed))
    return np.array(scores)


def trapezoids(t: Array, y: Array) -> float:
    """Returns the area under straight lines between points."""
    return sum((t[i + 1] - t[i]) * (y[i] + y[i + 1]) / 2 for i in range(len(t) - 1))


def mean_ranks(values: Array) -> Array:
    """Returns the rank of each value, from 1; equal values share their mean rank."""
    result = np.zeros(len(values))
    for i, value in enumerate(values):
        places = [1 + k for k, other in enumerate(sorted(values)) if other == value]
        result[i] = sum(places) / len(places)
    return result


def spearman(a: Array, b: Array) -> float:
    """Returns Pearson's correlation of ranks; NaN if one is constant."""
    r, s = mean_ranks(a), mean_ranks(b)
    r, s = r - r.mean(), s - s.mean()
    scale = np.sqrt((r**2).sum() * (s**2).sum())
    return float((r * s).sum() / scale) if scale > 0 else np.nan


def auc(inside: Array, outside: Array) -> float:
    """Returns the share of pairs in which the first is larger; a tie is half a pair."""
    pairs = [(a, b) for a in inside for b in outside]
    if not pairs:
        return np.nan
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def pointing(attribution: Array, mask: Array) -> float:
    """Returns the share of the largest places that lie inside."""
    largest = [i for i, a in enumerate(attribution) if a == max(attribution)]
    return sum(bool(mask[i]) for i in largest) / len(largest)


def relevance_mass(attribution: Array, mask: Array) -> float:
    """Returns the share of positive attribution inside, Arras et al., 2022."""
    positive = [max(a, 0.0) for a in attribution]
    inside = sum(a for a, m in zip(positive, mask, strict=True) if m)
    return inside / sum(positive) if sum(positive) > 0 else np.nan


def relevance_rank(attribution: Array, mask: Array) -> float:
    """Returns the share of the |S| highest places inside S, Arras et al., 2022."""
    highest = sorted(range(len(mask)), key=lambda i: (-attribution[i], i))
    count = int(mask.sum())
    return sum(bool(mask[i]) for i in highest[:count]) / count if count else np.nan
