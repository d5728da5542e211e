"""Shapley values of games of which everything is known."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.perturbation.coalitions import (
    all_coalitions,
    antithetic_permutations,
    prefixes,
    shapley_of_all,
    shapley_of_prefixes,
)
from tests.oracles.shapley import shapley_by_permutations

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def table(features, seed=0):
    """A game without structure: one number for each coalition."""
    return np.random.default_rng(seed).normal(size=2**features)


def quadratic(masks):
    """A game in which features interact in pairs."""
    rng = np.random.default_rng(1)
    n = masks.shape[1]
    pairs, alone = rng.normal(size=(n, n)), rng.normal(size=n)
    masks = np.asarray(masks, float)
    return (
        3.0 + masks @ alone + np.einsum("si,ij,sj->s", masks, np.triu(pairs, 1), masks)
    )


def test_all_coalitions_are_listed_once():
    masks = all_coalitions(4)
    assert len({tuple(row) for row in masks.tolist()}) == 16
    np.testing.assert_array_equal(masks @ 2 ** np.arange(4), np.arange(16))


@pytest.mark.parametrize("features", [1, 2, 3, 5])
def test_the_sum_over_coalitions_is_the_mean_over_all_orders(features):
    values = table(features)
    expected = shapley_by_permutations(features, lambda s: values[sum(2**i for i in s)])
    np.testing.assert_allclose(shapley_of_all(values), expected, rtol=1e-12)
    np.testing.assert_allclose(
        shapley_of_all(values).sum(), values[-1] - values[0], rtol=1e-12
    )


def test_all_orders_give_the_exact_values():
    values = table(4)
    orders = jnp.array(list(itertools.permutations(range(4))))
    masks = np.asarray(prefixes(orders))
    received = shapley_of_prefixes(values[masks @ 2 ** np.arange(4)], orders)
    np.testing.assert_allclose(received, shapley_of_all(values), rtol=1e-12)


def test_games_of_several_numbers_have_values_for_each():
    values = np.stack([table(3, seed) for seed in range(2)], axis=1)
    orders = antithetic_permutations(KEY, 3, 5)
    masks = np.asarray(prefixes(orders)) @ 2 ** np.arange(3)
    for column in range(2):
        np.testing.assert_array_equal(
            shapley_of_all(values)[:, column], shapley_of_all(values[:, column])
        )
        np.testing.assert_array_equal(
            shapley_of_prefixes(values[masks], orders)[:, column],
            shapley_of_prefixes(values[masks, column], orders),
        )


def test_an_antithetic_pair_is_exact_if_only_pairs_interact():
    orders = antithetic_permutations(KEY, 6, 2)
    received = shapley_of_prefixes(quadratic(prefixes(orders)), orders)
    expected = shapley_of_all(quadratic(all_coalitions(6)))
    np.testing.assert_allclose(received, expected, rtol=1e-12)
    alone = shapley_of_prefixes(quadratic(prefixes(orders[:1])), orders[:1])
    assert np.abs(alone - expected).max() > 0.1


def test_a_feature_that_changes_nothing_gets_exactly_nothing():
    values = table(3).astype(np.float32)
    game = np.concatenate([values, values])  # the fourth feature is the highest bit
    assert shapley_of_all(game)[3] == 0
    orders = antithetic_permutations(KEY, 4, 7)
    masks = np.asarray(prefixes(orders)) @ 2 ** np.arange(4)
    received = shapley_of_prefixes(game[masks], orders)
    assert received[3] == 0
    np.testing.assert_allclose(received.sum(), values[-1] - values[0], rtol=1e-5)


def test_orders_come_in_pairs_and_do_not_depend_on_their_number():
    orders = antithetic_permutations(KEY, 5, 7)
    np.testing.assert_array_equal(np.sort(orders, axis=1), [np.arange(5)] * 7)
    np.testing.assert_array_equal(orders[1::2], orders[:-1:2, ::-1])
    np.testing.assert_array_equal(orders[:4], antithetic_permutations(KEY, 5, 4))


def test_all_orders_are_equally_likely():
    orders = np.asarray(antithetic_permutations(KEY, 3, 6000))[::2]
    _, counts = np.unique(orders @ [9, 3, 1], return_counts=True)
    assert len(counts) == math.factorial(3)
    # five standard deviations of a binomial count
    np.testing.assert_allclose(counts, 500, atol=5 * (3000 * 5 / 36) ** 0.5)


@pytest.mark.parametrize("features", [0, 17, 2.0])
def test_there_are_not_too_many_coalitions(features):
    with pytest.raises(ValueError, match="features"):
        all_coalitions(features)


@pytest.mark.parametrize("sizes", [(0, 2), (3, 0)])
def test_orders_need_positive_numbers(sizes):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        antithetic_permutations(KEY, *sizes)
