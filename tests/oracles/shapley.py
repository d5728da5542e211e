"""Shapley values, as the mean over all orders in which the players may join."""

import itertools
from collections.abc import Callable

import numpy as np


def shapley_by_permutations(
    players: int, value: Callable[[frozenset[int]], float]
) -> np.ndarray:
    """Shapley, 1953: the mean of what each player adds to those before it."""
    gains = np.zeros(players)
    orders = list(itertools.permutations(range(players)))
    for order in orders:
        joined: frozenset[int] = frozenset()
        for player in order:
            larger = joined | {player}
            gains[player] += value(larger) - value(joined)
            joined = larger
    return gains / len(orders)
