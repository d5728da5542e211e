r"""Coalitions that respect a hierarchy of features, and the Owen values they give.

Features are the leaves of a tree: groups, groups of groups, and so on. Who joins brings
in the group before others do: a coalition holds parts of one group alone at each level.
A hierarchy is an array $(levels, n)$ with the number of every feature's group at each
level, coarse to fine; without levels, Owen values are Shapley values.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.perturbation.coalitions import (
    MOST_FEATURES,
    all_coalitions,
    size_weights,
)
from jaxinterp.perturbation.segments import Segments, fill_segments

# As many gains as all coalitions of 16 features without a hierarchy have.
_MOST_GAINS = MOST_FEATURES * 2 ** (MOST_FEATURES - 1)


class OwenGame(NamedTuple):
    """The coalitions whose values give Owen values.

    Attributes:
        coalitions: masks of features, each one once, `(coalitions, features)`.
        without: for every feature, the numbers of coalitions that it may join,
            `(features, gains)`.
        joined: the numbers of the same coalitions with the feature.
        weights: what each gain counts; they add up to 1 for each feature.
    """

    coalitions: np.ndarray
    without: np.ndarray
    joined: np.ndarray
    weights: np.ndarray


def hierarchy_of(groups: Sequence[Any], segments: Segments, inputs: Any) -> np.ndarray:
    """Returns the group of every segment at each level of a hierarchy.

    Args:
        groups: a segment map for each level, coarse to fine, whose segments are the
            groups.
        segments: the segments that are grouped.
        inputs: the batch whose entries the maps number.

    Returns:
        Integers `(levels, segments)`; the groups of each level are numbered from 0.

    Raises:
        TypeError: if a map is not of integers.
        ValueError: if a map does not fit the inputs, a segment is in several groups or
            in none, or a group in several of those of the level before.

    Example:
        >>> from jaxinterp.perturbation.segments import grid_segments
        >>> x = jnp.ones((1, 8))
        >>> pairs, halves = (fill_segments(grid_segments((8,), n), x) for n in (2, 4))
        >>> hierarchy_of([halves.labels], pairs, x).tolist()
        [[0, 0, 1, 1]]
    """
    levels = np.zeros((len(groups), segments.count), int)
    for level, group_map in enumerate(groups):
        coarse = fill_segments(group_map, inputs)
        low, high = np.full((2, segments.count), [[coarse.count], [-1]])
        pairs = zip(
            *map(jax.tree.leaves, (segments.labels, coarse.labels)), strict=True
        )
        for label, group in pairs:
            label, group = np.broadcast_arrays(label, group)
            is_in = label >= 0
            np.minimum.at(low, label[is_in], group[is_in])
            np.maximum.at(high, label[is_in], group[is_in])
        if ((low < high) | (low < 0)).any():
            number = int(np.argmax((low < high) | (low < 0)))
            raise ValueError(
                f"`groups[{level}]`: segment {number} reaches from group {low[number]} "
                f"to {high[number]}, and each segment lies in one group.\nMake groups "
                "of whole segments: `groups = np.array(group_of_segment)[segments]`."
            )
        levels[level] = np.unique(high, return_inverse=True)[1]
    for level, (coarse, fine) in enumerate(itertools.pairwise(levels)):
        if len(np.unique(np.stack([coarse, fine]), axis=1).T) > fine.max() + 1:
            raise ValueError(
                f"A group of `groups[{level + 1}]` lies in several of "
                f"`groups[{level}]`.\nGive the coarsest map first, with groups made "
                "of whole groups of the next."
            )
    return levels


def owen_game(hierarchy: np.ndarray) -> OwenGame:
    r"""Returns the coalitions that respect a hierarchy, and what a gain in each counts.

    A feature joins any of the other features of its group, of its group any of the
    other groups, and so on. What that counts is the product over levels of $|S|!\,(k -
    |S| - 1)! / k!$ for $S$ of the $k$ siblings.

    Args:
        hierarchy: the group of every feature at each level, `(levels, features)`.

    Raises:
        ValueError: if the gains are more than those of 16 features without a hierarchy.

    References:
        Owen, 1977 [owen1977values]; of several levels, Winter, 1989 [winter1989value].

    Example:
        >>> game = owen_game(np.array([[0, 0, 1, 1]]))
        >>> len(game.coalitions)  # of 16, four have a part of both groups
        12
    """
    features = hierarchy.shape[1]
    labels = [*hierarchy, np.arange(features)]
    if _count(labels) > _MOST_GAINS:
        raise ValueError(
            f"owen: {features} segments in this hierarchy have {_count(labels)} gains, "
            f"and {_MOST_GAINS} are computed at most.\nDraw random orders, "
            "`owen(apply_fn, groups=groups, samples=64)`, or give more levels, so that "
            "a group has fewer parts."
        )
    nobody = np.zeros((1, features), bool)
    gains = sorted(
        _gains(labels, np.arange(features), nobody, np.ones(1)),
        key=lambda gain: gain[0],
    )
    counts = [len(rows) for _, rows, _ in gains]
    rows = np.concatenate([rows for _, rows, _ in gains])
    owners = np.repeat(np.arange(features), counts)
    each = np.concatenate([rows, rows | (np.arange(features) == owners[:, None])])
    packed = np.packbits(each, axis=1)
    _, first, numbers = np.unique(
        packed, axis=0, return_index=True, return_inverse=True
    )

    def padded(flat: np.ndarray) -> np.ndarray:
        # A feature with fewer gains than others gets some that count nothing.
        parts = np.split(flat, np.cumsum(counts)[:-1])
        return np.stack([np.pad(part, (0, max(counts) - len(part))) for part in parts])

    without, joined = map(padded, numbers.reshape(2, -1))
    weights = padded(np.concatenate([weights for _, _, weights in gains]))
    return OwenGame(each[first], without, joined, weights)


def owen_values(values: Any, game: OwenGame) -> jax.Array:
    """Returns Owen values from the values of coalitions.

    Args:
        values: the value of each coalition of the game, `(coalitions, ...)`.
        game: the coalitions, as `owen_game` returns them.

    Returns:
        An array `(features, ...)`; its sum is the value of all features minus that of
        none.

    Example:
        >>> game = owen_game(np.array([[0, 0, 1]]))
        >>> owen_values(jnp.asarray(game.coalitions.all(1) * 4.0), game).tolist()
        [1.0, 1.0, 2.0]
    """
    values = jnp.asarray(values)
    gains = values[game.joined] - values[game.without]
    weights = game.weights.reshape(*game.weights.shape, *[1] * (gains.ndim - 2))
    return (gains * jnp.asarray(weights, gains.dtype)).sum(1)


def _count(labels: list[np.ndarray]) -> int:
    """The number of gains of all features."""
    above = np.zeros(len(labels[-1]), int)
    counts = np.ones(len(above), object)  # integers of any size
    for own in labels:
        for parent in np.unique(above):
            siblings = len(np.unique(own[above == parent]))
            counts[above == parent] *= 2 ** (siblings - 1)
        above = own
    return counts.sum()


def _gains(
    labels: list[np.ndarray], members: np.ndarray, rows: np.ndarray, weights: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For each of some features, the coalitions that it joins, and what that counts.

    Args:
        labels: the groups of all features, of the levels below.
        members: the features of one group.
        rows: the coalitions of features outside of it, `(coalitions, features)`.
        weights: what each of them counts.
    """
    if not labels:
        yield int(members[0]), rows, weights
        return
    own = labels[0][members]
    parts = [members[own == number] for number in np.unique(own)]
    is_part = np.stack([np.isin(np.arange(rows.shape[1]), part) for part in parts])
    subsets = (
        all_coalitions(len(parts) - 1) if len(parts) > 1 else np.zeros((1, 0), bool)
    )
    shares = size_weights(len(parts))[subsets.sum(1)]
    for number, part in enumerate(parts):
        siblings = np.delete(is_part, number, axis=0)
        added = subsets @ siblings  # of booleans: the members of any part
        grown = (rows[:, None] | added[None]).reshape(-1, rows.shape[1])
        counted = (weights[:, None] * shares[None]).reshape(-1)
        yield from _gains(labels[1:], part, grown, counted)
