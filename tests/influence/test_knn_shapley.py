"""Shapley values of neighbors against enumeration."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.influence.knn_shapley import knn_shapley
from tests.oracles import influence as oracle

RNG = np.random.default_rng(0)
QUERIES, TARGETS = RNG.normal(size=(5, 2)), RNG.integers(2, size=5)
BATCHES = [(QUERIES[:3], TARGETS[:3]), (QUERIES[3:], TARGETS[3:])]


@pytest.mark.parametrize(("n", "k"), [(5, 2), (5, 5), (5, 8), (1, 1)])
def test_it_is_the_enumeration(n: int, k: int) -> None:
    features, labels = RNG.normal(size=(n, 2)), RNG.integers(2, size=n)
    found = knn_shapley(features, labels, BATCHES, k=k)
    expected = [
        oracle.knn_shapley(features, labels, query, target, k)
        for query, target in zip(QUERIES, TARGETS, strict=True)
    ]
    np.testing.assert_allclose(found.values, np.mean(expected, axis=0), atol=1e-15)
    nearest = ((features[None] - QUERIES[:, None]) ** 2).sum(-1).argsort(axis=1)[:, :k]
    utility = (labels[nearest] == TARGETS[:, None]).sum(axis=1) / k
    assert found.values.sum() == pytest.approx(utility.mean())
    part = knn_shapley(features, labels, BATCHES[:1], k=k)
    resumed = knn_shapley(features, labels, BATCHES[1:], k=k, resume=part)
    np.testing.assert_array_equal(resumed.values, found.values)


def test_examples_that_were_mislabeled_are_worth_least() -> None:
    labels = RNG.integers(2, size=200)
    features = RNG.normal(size=(200, 2)) + 3 * labels[:, None]
    noisy = ji.data.mislabeled(jax.random.key(0), labels[:150], rate=0.1)
    held_out = [(features[150:], labels[150:])]
    values = knn_shapley(features[:150], noisy.labels, held_out, k=5).values
    wrong = np.asarray(noisy.is_corrupted)
    area = np.mean(values[wrong][:, None] < values[~wrong][None])
    assert area > 0.9


def test_half_precision_is_computed_in_single() -> None:
    half = jnp.asarray(QUERIES, jnp.bfloat16)
    found = knn_shapley(half, TARGETS, [(half, TARGETS)], k=2)
    assert found.values.dtype == np.float32
    exact = knn_shapley(np.asarray(half, float), TARGETS, [(half, TARGETS)], k=2)
    np.testing.assert_allclose(found.values, exact.values, atol=1e-6)


def test_what_is_wrong_is_said() -> None:
    call: Any = lambda x=QUERIES, y=TARGETS, batches=BATCHES, **options: knn_shapley(  # noqa: E731
        x, y, batches, **{"k": 2, **options}
    )
    with pytest.raises(ValueError, match="knn_shapley: `k` must"):
        call(k=0)
    with pytest.raises(TypeError, match="labels are integers, and are float64"):
        call(y=TARGETS * 1.0)
    with pytest.raises(ValueError, match="one row of features and one label"):
        call(y=TARGETS[:2])
    with pytest.raises(ValueError, match="A query has 1 features, and a training"):
        call(batches=[(QUERIES[:, :1], TARGETS)])
    with pytest.raises(TypeError, match="as pairs"):
        call(batches=[QUERIES])
    with pytest.raises(ValueError, match="holds no example"):
        call(batches=[])
    with pytest.raises(FloatingPointError, match="not a number for example 0"):
        call(batches=[(QUERIES * np.nan, TARGETS)])
    with pytest.raises(ValueError, match="with k=3 and 5 examples, and is k=2, 5 ex"):
        call(k=3, resume=call())
