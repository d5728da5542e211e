"""How good a model is whose test set has wrong labels, against enumeration."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from jaxinterp.labels.accuracy_under_noise import accuracy_under_noise
from tests.oracles import label_noise as oracle


def test_99_percent_at_3_percent_errors_mean_96_to_98() -> None:
    found = accuracy_under_noise(0.99, 0.03, 10)
    assert found.lower == pytest.approx(0.96)
    assert found.upper == pytest.approx(0.98)
    assert found.min_reproduced == pytest.approx(2 / 3)
    assert found.if_independent == pytest.approx(1.0207, abs=1e-4)
    assert not found.is_consistent
    assert found.p_value is None


@pytest.mark.parametrize(("n_errors", "n_wrong"), [(0, 1), (1, 1), (2, 1), (3, 2)])
def test_the_bounds_are_reached(n_errors: int, n_wrong: int) -> None:
    low, high = oracle.extreme_accuracies(4, 3, n_errors, n_wrong)
    found = accuracy_under_noise(1 - n_errors / 4, n_wrong / 4, 3)
    assert found.lower == pytest.approx(low)
    assert found.upper == pytest.approx(high)


def test_independent_noise_is_inverted() -> None:
    """A model of true accuracy .9778 on labels with 3 % uniform errors."""
    for truth, eta, classes in ((0.9778, 0.03, 10), (0.6, 0.2, 3), (0.9, 0.1, 2)):
        measured = truth * (1 - eta) + (1 - truth) * eta / (classes - 1)
        found = accuracy_under_noise(measured, eta, classes)
        assert found.if_independent == pytest.approx(truth)
        assert found.is_consistent
        assert found.lower <= truth <= found.upper
    perfect = accuracy_under_noise(0.97, 0.03, 10)
    assert perfect.if_independent == pytest.approx(1)
    assert perfect.is_consistent
    assert perfect.min_reproduced == pytest.approx(0)
    clean = accuracy_under_noise(0.8, 0.0, 10)
    assert (clean.lower, clean.upper) == pytest.approx((0.8, 0.8))
    assert clean.min_reproduced == 0
    assert np.isnan(accuracy_under_noise(0.5, 0.5, 2).if_independent)


def test_chance_explains_an_excess_of_few_examples() -> None:
    """1 % errors at 3 % wrong labels: chance below some 300 examples."""
    values = [
        accuracy_under_noise(0.99, 0.03, 10, n_examples=n).p_value
        for n in (100, 200, 300, 400, 1000)
    ]
    expected = [stats.binom.cdf(n // 100, n, 0.03) for n in (100, 200, 300, 400, 1000)]
    np.testing.assert_allclose(values, expected)
    np.testing.assert_allclose(values, [0.19, 0.059, 0.020, 0.007, 2e-5], rtol=0.1)


def test_audited_shares_have_an_interval() -> None:
    found = accuracy_under_noise(1.0, 0.03, 10, n_audited=1000)
    low, high = 1 - found.upper, 1 - found.lower  # nothing else is uncertain
    assert (low, high) == pytest.approx((0.0203, 0.0426), abs=5e-5)
    exact = stats.binomtest(30, 1000).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high))
    both = accuracy_under_noise(0.9, 0.03, 10, n_audited=1000, n_examples=500)
    eta = stats.binomtest(30, 1000).proportion_ci(0.975, method="exact")
    error = stats.binomtest(50, 500).proportion_ci(0.975, method="exact")
    assert both.upper == pytest.approx(1 - (error.low - eta.high))
    assert both.lower == pytest.approx(1 - (error.high + eta.high))
    none = accuracy_under_noise(1.0, 0.0, 10, n_audited=20)
    assert (none.upper, none.lower) == pytest.approx((1, 0.025 ** (1 / 20)))
    sure = accuracy_under_noise(0.0, 1.0, 10, n_audited=20, n_examples=20)
    assert sure.lower == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.2, 0.03, 10), "accuracy_under_noise: `accuracy` must"),
        ((0.9, -0.1, 10), "accuracy_under_noise: `noise_rate` must"),
        ((0.9, 0.1, 1), "accuracy_under_noise: `classes` must"),
        ((0.9, 0.1, 3, {"level": 2}), "accuracy_under_noise: `level` must"),
        ((0.9, 0.1, 3, {"n_examples": 0}), "`n_examples` must"),
        ((0.9, 0.1, 3, {"n_audited": 3}), "`noise_rate` is no share of 3 examples"),
    ],
)
def test_what_is_wrong_is_said(arguments: Any, message: str) -> None:
    options = arguments[3] if len(arguments) > 3 else {}
    with pytest.raises(ValueError, match=message):
        accuracy_under_noise(*arguments[:3], **options)
