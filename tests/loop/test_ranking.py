"""The highest and the lowest of a stream."""

from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop.ranking import Ranking, ranked

RNG = np.random.default_rng(0)
VALUES = RNG.integers(10, size=(2, 23)).astype(float)  # with ties


def rank(batches: Any, k: int = 3, **options: Any) -> Ranking:
    def start(batch: Any) -> Any:
        return lambda batch: jnp.asarray(batch["values"]).T, 2, float

    return ranked("rank", batches, start, k=k, description="values", **options)


def cut(size: int, low: int = 0, high: int = 23) -> list[Any]:
    values = VALUES.T[low:high]
    return [{"values": values[i : i + size]} for i in range(0, high - low, size)]


def test_it_is_a_stable_sort_of_all() -> None:
    for size in (1, 6, 50):
        found = rank(cut(size))
        highest = np.argsort(-VALUES, axis=1, kind="stable")[:, :3]
        np.testing.assert_array_equal(found.highest.indices, highest)
        lowest = np.argsort(VALUES, axis=1, kind="stable")[:, :3]
        np.testing.assert_array_equal(found.lowest.indices, lowest)
        assert int(found.n_examples) == 23
    np.testing.assert_array_equal(rank(cut(6), k=23).by_example(), VALUES)
    few = rank(cut(6), k=2).by_example()
    assert np.isnan(few).sum() == 2 * 19
    np.testing.assert_array_equal(rank(cut(6), k=30).by_example(), VALUES)


def test_it_goes_on_from_an_earlier_ranking() -> None:
    part = rank(cut(6, 0, 12))
    chex.assert_trees_all_equal(rank(cut(6, 12), resume=part), rank(cut(6)))
    with pytest.raises(
        ValueError, match=r"(?s)`resume` is for values, 2 units, k=3, fl"
    ):
        rank(cut(6), k=4, resume=part)
    with pytest.raises(TypeError, match="`resume` is what an earlier call"):
        rank(cut(6), resume=3)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="rank: `k` must"):
        rank(cut(6), k=0)
    with pytest.raises(
        FloatingPointError, match="unit 0 is not a number for example 0"
    ):
        rank([{"values": np.full((2, 2), np.nan)}])
