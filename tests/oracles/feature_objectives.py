"""Objectives of feature visualization, one picture, one position, one pair at a time.

`a` is the activation of one picture, `(*positions, channels)`, and `group` those of
several.
"""

import numpy as np

from .stabilizers import Array


def places(a: Array) -> list[tuple[int, ...]]:
    """Returns all positions."""
    return list(np.ndindex(*a.shape[:-1]))


def channel(a: Array, index: int) -> float:
    """The mean of a channel over the positions."""
    return sum(a[x][index] for x in places(a)) / len(places(a))


def dot_cosine(x: Array, y: Array, power: float) -> float:
    r"""$(x \cdot y) \max(0.1, \cos(x, y))^p$ of two vectors."""
    dot = float(np.dot(x, y))
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    cosine = dot / lengths if lengths > 0 else 0.0
    return dot * max(0.1, cosine) ** power


def direction(a: Array, vector: Array, power: float) -> float:
    """The mean over positions of the agreement with a vector."""
    return sum(dot_cosine(a[x], vector, power) for x in places(a)) / len(places(a))


def gram(a: Array) -> Array:
    """The mean over positions of the outer product with itself."""
    return np.mean([np.outer(a[x], a[x]) for x in places(a)], axis=0)


def diversity(group: Array) -> float:
    """Lucid's term: the sum over ordered pairs, divided by the number of pictures."""
    grams = [gram(a) for a in group]
    grams = [g / np.sqrt((g**2).sum()) for g in grams]
    total = 0.0
    for i, one in enumerate(grams):
        for j, other in enumerate(grams):
            if i != j:
                total += (one * other).sum()
    return total / len(group)


def alignment(group: Array, decay: float = 2.0, reach: int = 4) -> float:
    """Lucid's term: the sum over pairs at most `reach` apart, negated."""
    total = 0.0
    for step in range(1, reach + 1):
        for i in range(len(group) - step):
            total += ((group[i] - group[i + step]) ** 2).mean() / decay**step
    return -total


def style(a: Array, target: Array) -> float:
    """-4 times the term of Gatys et al., 2016, eq. 4, of which $N$ are channels."""
    positions, channels = len(places(a)), a.shape[-1]
    difference = positions * (gram(a) - gram(target))  # their Gram matrix is a sum
    return -4 * (difference**2).sum() / (4 * channels**2 * positions**2)


def match(a: Array, target: Array) -> float:
    """The squared distance, as a fraction of the target's squared length, negated."""
    return -((a - target) ** 2).sum() / (target**2).sum()


def facet(a: Array, score: float, slope: Array, probe: Array) -> float:
    """What a probe, a weight for each channel, says of contributions to a score."""
    for x in places(a):
        for c, weight in enumerate(probe):
            score = score + weight * a[x][c] * slope[x][c]
    return score
