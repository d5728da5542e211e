"""Owen values of games of which everything is known, and orders within groups."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.perturbation.coalitions import (
    antithetic_permutations,
    prefixes,
    shapley_of_all,
    shapley_of_prefixes,
)
from jaxinterp.perturbation.hierarchy import hierarchy_of, owen_game, owen_values
from jaxinterp.perturbation.segments import fill_segments, grid_segments
from tests.oracles.shapley import runs, shapley_by_permutations

KEY = jax.random.key(0)
HIERARCHIES = {
    "none": np.zeros((0, 5), int),
    "one group": np.zeros((1, 5), int),
    "a group each": np.arange(5)[None],
    "pairs": np.array([[0, 0, 1, 1, 2]]),
    "apart": np.array([[1, 0, 1, 0, 1]]),
    "two levels": np.array([[0, 0, 0, 1, 1], [2, 2, 0, 1, 3]]),
    "three levels": np.array([[0] * 5, [0, 0, 0, 0, 1], [0, 1, 1, 1, 2]]),
}
TABLE = np.random.default_rng(0).normal(size=32)


def table(masks):
    """A game of five players without structure."""
    return TABLE[np.asarray(masks) @ 2 ** np.arange(5)]


@pytest.mark.parametrize("name", HIERARCHIES)
def test_the_sum_over_coalitions_is_the_mean_over_orders_within_groups(name):
    hierarchy = HIERARCHIES[name]
    game = owen_game(hierarchy)
    received = owen_values(table(game.coalitions), game)
    expected = shapley_by_permutations(
        5, lambda s: TABLE[sum(2**i for i in s)], hierarchy.tolist()
    )
    np.testing.assert_allclose(received, expected, rtol=1e-12)
    np.testing.assert_allclose(received.sum(), TABLE[-1] - TABLE[0], rtol=1e-12)
    assert len(np.unique(game.coalitions, axis=0)) == len(game.coalitions)
    if name in ("none", "one group", "a group each"):
        np.testing.assert_allclose(received, shapley_of_all(TABLE), rtol=1e-12)


def test_games_of_several_numbers_have_values_for_each():
    game = owen_game(HIERARCHIES["two levels"])
    values = np.stack([table(game.coalitions), 2 * table(game.coalitions)], axis=1)
    received = owen_values(values, game)
    np.testing.assert_allclose(received[:, 1], 2 * received[:, 0], rtol=1e-12)


def test_a_player_that_adds_nothing_gets_exactly_nothing():
    game = owen_game(HIERARCHIES["two levels"])
    read = np.array(game.coalitions)
    read[:, 2] = False
    received = np.asarray(owen_values(table(read), game))
    assert received[2] == 0
    assert np.abs(received[[0, 1, 3, 4]]).min() > 0


@pytest.mark.parametrize("name", ["pairs", "two levels", "three levels"])
def test_orders_keep_groups_together_and_all_come_equally_often(name):
    hierarchy = HIERARCHIES[name]
    orders = np.asarray(antithetic_permutations(KEY, 5, 2000, hierarchy))
    np.testing.assert_array_equal(orders[1::2], orders[::2, ::-1])
    for groups in hierarchy:
        for order in orders[:40]:
            assert runs(groups[order].tolist()) == len(set(groups))
    possible = {
        order
        for order in itertools.permutations(range(5))
        if all(runs(g[list(order)].tolist()) == len(set(g)) for g in hierarchy)
    }
    drawn, counts = np.unique(orders[::2], axis=0, return_counts=True)
    assert set(map(tuple, drawn)) == possible
    mean = 1000 / len(possible)
    assert np.abs(counts - mean).max() < 5 * mean**0.5


def test_all_orders_within_groups_give_the_exact_values():
    hierarchy = HIERARCHIES["pairs"]
    orders = [
        order
        for order in itertools.permutations(range(5))
        if runs(hierarchy[0][list(order)].tolist()) == 3
    ]
    grown = table(prefixes(jnp.array(orders)))
    game = owen_game(hierarchy)
    np.testing.assert_allclose(
        shapley_of_prefixes(grown, jnp.array(orders)),
        owen_values(table(game.coalitions), game),
        rtol=1e-12,
    )


def test_groups_are_found_from_their_maps():
    x = jnp.ones((2, 4, 4, 3))
    fine, coarse = grid_segments((4, 4), 1), grid_segments((4, 4), 2)
    parts = fill_segments(fine, x)
    received = hierarchy_of([coarse], parts, x)
    np.testing.assert_array_equal(received, coarse.reshape(1, -1))
    # of some segments alone, and of several arrays
    few = fill_segments(np.where(coarse == 1, 0, -1), x)
    np.testing.assert_array_equal(hierarchy_of([coarse], few, x), [[0]])
    # of maps that examples have in common, or of their own
    x = jnp.ones((2, 3))
    own, common = np.array([[0, 0, 1], [0, 1, 1]]), np.array([0, 1, 2])
    received = hierarchy_of([0 * own], fill_segments(common, x), x)
    np.testing.assert_array_equal(received, [[0, 0, 0]])
    received = hierarchy_of([np.zeros(3, int)], fill_segments(own, x), x)
    np.testing.assert_array_equal(received, [[0, 0]])
    with pytest.raises(ValueError, match="segment 1 reaches from group 0 to 1"):
        hierarchy_of([own], fill_segments(common, x), x)
    pair = {"a": jnp.ones((1, 2)), "b": jnp.ones((1, 2))}
    groups = {"a": np.array([0, 1]), "b": np.array([1, 1])}
    received = hierarchy_of([groups], fill_segments(None, pair), pair)
    np.testing.assert_array_equal(received, [[0, 1, 1, 1]])


def test_groups_that_are_not_nested_are_errors():
    x = jnp.ones((1, 6))
    parts = fill_segments(np.array([0, 0, 1, 1, 2, 2]), x)
    with pytest.raises(ValueError, match="segment 1 reaches from group 0 to 1"):
        hierarchy_of([np.array([0, 0, 0, 1, 1, 1])], parts, x)
    with pytest.raises(ValueError, match="segment 2 reaches from group -1 to -1"):
        hierarchy_of([np.array([0, 0, 0, 0, -1, -1])], parts, x)
    maps = [np.array([0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 0, 1, 1])]
    with pytest.raises(
        ValueError, match=r"`groups\[1\]` lies in several of `groups\[0"
    ):
        hierarchy_of(maps, parts, x)
    with pytest.raises(ValueError, match=r"`groups\[1\]` lies in several"):
        hierarchy_of([np.array([0, 0, 0, 0, 1, 1]), np.zeros(6, int)], parts, x)
    with pytest.raises(ValueError, match="does not fit"):
        hierarchy_of([np.zeros(5, int)], parts, x)
    with pytest.raises(TypeError, match="array of integers"):
        hierarchy_of([np.zeros(6)], parts, x)


def test_too_many_gains_are_an_error():
    assert len(owen_game(np.zeros((0, 16), int)).coalitions) == 2**16
    with pytest.raises(ValueError, match=r"17 segments.*1114112 gains.*\n.*samples=64"):
        owen_game(np.zeros((0, 17), int))
