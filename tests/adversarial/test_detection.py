"""How well scores tell attacked inputs from clean ones."""

import math

import numpy as np
import pytest
from sklearn import metrics

from jaxinterp.adversarial import detection_quality


def test_it_is_the_area_under_the_curve_of_scikit_learn():
    random = np.random.default_rng(0)
    clean = random.integers(0, 20, 200) / 10
    attacked = random.integers(5, 25, 90) / 10
    quality = detection_quality(clean, attacked)
    labels = np.r_[np.zeros(200), np.ones(90)]
    scores = np.r_[clean, attacked]
    assert quality.auroc == pytest.approx(metrics.roc_auc_score(labels, scores))
    fpr, tpr, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    assert quality.fpr_at_95_tpr == pytest.approx(fpr[tpr >= 0.95].min())
    assert quality.tpr_at_5_fpr == pytest.approx(tpr[fpr <= 0.05].max())


def test_scores_that_part_them_are_perfect_and_equal_ones_chance():
    assert detection_quality([0.0, 1.0], [2.0, 3.0]) == (1.0, 0.0, 1.0)
    assert detection_quality([1.0] * 3, [1.0] * 2) == (0.5, 1.0, 0.0)


def test_without_one_of_them_nothing_is_known():
    assert all(math.isnan(value) for value in detection_quality([], [1.0]))
    assert all(math.isnan(value) for value in detection_quality([1.0], []))


@pytest.mark.parametrize(
    ("clean", "message"),
    [([1.0, math.nan], r"shapes \(2,\) and \(1,\), with NaN"), ([[1.0]], r"\(1, 1\)")],
)
def test_scores_that_are_none_are_an_error(clean, message):
    with pytest.raises(ValueError, match=message):
        detection_quality(clean, [1.0])


def test_infinite_scores_are_scores():
    quality = detection_quality([0.1, np.inf], [0.5, np.inf])
    assert quality == (0.625, 0.5, 0.0)
