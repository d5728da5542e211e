"""Shapley values, as the mean over all orders in which the players may join."""

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np


def shapley_by_permutations(
    players: int,
    value: Callable[[frozenset[int]], float],
    partitions: Iterable[Sequence[int]] = (),
) -> np.ndarray:
    """Shapley, 1953: the mean of what each player adds to those before it.

    Owen, 1977, and Winter, 1989: over the orders alone in which the players of every
    group of each partition follow one another.
    """
    gains = np.zeros(players)
    orders = [
        order
        for order in itertools.permutations(range(players))
        if all(len(set(p)) == runs([p[i] for i in order]) for p in partitions)
    ]
    for order in orders:
        joined: frozenset[int] = frozenset()
        for player in order:
            larger = joined | {player}
            gains[player] += value(larger) - value(joined)
            joined = larger
    return gains / len(orders)


def runs(labels: list[int]) -> int:
    """How many groups of equal labels follow one another."""
    return len(list(itertools.groupby(labels)))
