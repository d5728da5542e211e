"""Confident learning: a table worked by hand, the definition, and injected errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.labels.confident import confident_joint, find_label_issues
from tests.oracles import label_noise as oracle

RNG = np.random.default_rng(0)

# Thresholds .65 and .6125. Example 3 counts as a 1 and example 7 as a 0; example 5
# exceeds no threshold, and counts for nothing.
GIVEN = np.array([0, 0, 0, 0, 1, 1, 1, 1])
OWN = np.array([0.9, 0.8, 0.7, 0.2, 0.9, 0.45, 0.8, 0.3])
P = np.stack([np.where(j == GIVEN, OWN, 1 - OWN) for j in range(2)], axis=1)
METHODS: Any = (
    *("prune_by_noise_rate", "prune_by_class", "both", "confident_learning"),
    *("low_self_confidence", "low_normalized_margin"),
)


def test_a_table_worked_by_hand() -> None:
    found = confident_joint(GIVEN, P)
    np.testing.assert_allclose(found.thresholds, [0.65, 0.6125])
    assert found.counts.tolist() == [[3, 1], [1, 2]]
    assert found.confident_classes.tolist() == [0, 0, 0, 1, 1, -1, 1, 0]
    # Of the given 1s a third is counted as 0: of four that is 1.33, rounded to 1.
    assert found.calibrated.tolist() == [[3, 1], [1, 3]]
    np.testing.assert_allclose(found.joint, [[0.375, 0.125], [0.125, 0.375]])
    np.testing.assert_allclose(found.noise_matrix, [[0.75, 0.25], [0.25, 0.75]])
    assert found.noise_rate == pytest.approx(0.25)
    for method in METHODS:
        issues = find_label_issues(GIVEN, P, method=method)
        assert issues.indices.tolist() == [3, 7], method
        np.testing.assert_allclose(issues.scores, OWN)
    issues = find_label_issues(GIVEN, P, method="predicted_neq_given")
    assert issues.indices.tolist() == [3, 7, 5]
    assert issues.predicted.tolist() == [0, 0, 0, 1, 1, 0, 1, 0]


def test_it_is_the_definition() -> None:
    for classes in (2, 3, 5):
        given = RNG.integers(classes, size=60)
        p = np.asarray(jax.nn.softmax(RNG.normal(size=(60, classes)), axis=1))
        found = confident_joint(given, p)
        thresholds, counts = oracle.confident_counts(given, p)
        np.testing.assert_allclose(found.thresholds, thresholds, rtol=1e-12)
        np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
        np.testing.assert_array_equal(found.counts, counts)
        np.testing.assert_array_equal(
            found.calibrated.sum(axis=0), np.bincount(given, minlength=classes)
        )
        exact = oracle.calibrated_joint(given, counts)
        assert np.abs(60 * (found.joint - exact)).max() < 1


def test_methods_flag_as_many_as_they_say() -> None:
    given = RNG.integers(3, size=300)
    p = np.asarray(jax.nn.softmax(RNG.normal(size=(300, 3)), axis=1))
    predicted, joint = p.argmax(axis=1), confident_joint(given, p)
    flags = {m: find_label_issues(given, p, method=m).is_issue for m in METHODS}
    for method in METHODS[:4]:
        assert not (flags[method] & (predicted == given)).any()
    by_both = flags["prune_by_noise_rate"] & flags["prune_by_class"]
    np.testing.assert_array_equal(flags["both"], by_both)
    n_off = np.sum(
        (joint.confident_classes >= 0)
        & (joint.confident_classes != given)
        & (predicted != given)
    )
    assert flags["low_self_confidence"].sum() == n_off
    for a in range(3):
        own, of_class = p[given == a, a], flags["prune_by_class"][given == a]
        n_issues = np.sum(given == a) - joint.calibrated[a, a]
        lowest = np.argsort(own)[:n_issues]
        expected = np.isin(np.arange(own.size), lowest)
        expected &= predicted[given == a] != a
        np.testing.assert_array_equal(of_class, expected)


def test_injected_errors_are_found() -> None:
    """Three overlapping classes, a tenth of the labels wrong, ideal probabilities."""
    centers = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    truth = RNG.integers(3, size=2000)
    x = centers[truth] + RNG.normal(size=(2000, 2))
    law = np.array([[0.9, 0.1, 0.0], [0.0, 0.85, 0.15], [0.05, 0.0, 0.95]])
    noisy = ji.data.mislabeled(jax.random.key(0), truth, noise_matrix=law)
    distances = ((x[:, None] - centers[None]) ** 2).sum(axis=2)
    p = np.asarray(jax.nn.softmax(-0.5 * distances, axis=1)) @ np.asarray(
        noisy.noise_matrix, float
    )
    given, wrong = np.asarray(noisy.labels), np.asarray(noisy.is_corrupted)
    found = confident_joint(given, p / p.sum(axis=1, keepdims=True))
    assert np.abs(found.joint - np.asarray(noisy.joint)).max() < 0.01
    assert np.abs(found.noise_matrix - np.asarray(noisy.noise_matrix)).max() < 0.03
    assert found.noise_rate == pytest.approx(wrong.mean(), abs=0.01)
    for method in METHODS:
        issues = find_label_issues(given, p, method=method).is_issue
        assert wrong[issues].mean() > 0.9, method
        assert issues[wrong].mean() > 0.85, method


def test_odd_cases() -> None:
    equal = np.full((6, 3), 1 / 3)
    for method in (*METHODS, "predicted_neq_given"):
        issues = find_label_issues(np.zeros(6, int), equal, method=method)
        assert not issues.is_issue.any()
    absent = confident_joint(np.array([0, 0, 1]), np.eye(3)[[0, 0, 1]])
    assert absent.thresholds[2] == 2
    assert absent.calibrated.sum() == 3
    assert absent.noise_matrix[2].tolist() == [0, 0, 1]
    one = confident_joint(np.zeros(4, int), np.ones((4, 1)))
    assert one.noise_rate == 0
    few = find_label_issues(np.array([0]), np.array([[0.1, 0.9]]))
    assert not few.is_issue.any()  # every class keeps an example


def test_what_is_wrong_is_said(unchecked: None) -> None:
    for call in (confident_joint, find_label_issues):
        name = call.__name__
        with pytest.raises(ValueError, match=f"{name}: there is no example"):
            call(GIVEN[:0], P[:0])
        with pytest.raises(TypeError, match=f"{name}: labels are integers"):
            call(GIVEN * 1.0, P)
        with pytest.raises(ValueError, match=f"{name}: .* add up to"):
            call(GIVEN, 2 * P)
        with pytest.raises(ValueError, match=f"{name}: .* these have"):
            call(GIVEN[1:], P)
        with pytest.raises(ValueError, match=f"{name}: labels run from 0 to 1"):
            call(GIVEN + 1, P)
        with pytest.raises(TypeError, match="outside of that"):
            jax.jit(lambda p, call=call: call(GIVEN, p))(jnp.asarray(P))
    with pytest.raises(ValueError, match="find_label_issues: `method` is 'best'"):
        find_label_issues(GIVEN, P, method="best")
