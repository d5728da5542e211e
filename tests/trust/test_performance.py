"""Accuracy, worst groups and noise, of planted mistakes."""

import jax
import numpy as np
import pytest

from jaxinterp.trust import audit, performance

KEY = jax.random.key(0)
LABELS = np.arange(200) % 4


def rows(is_wrong, labels=LABELS, **options):
    """The rows of a model that is wrong on some examples."""
    answers = np.where(is_wrong, (labels + 1) % 4, labels)
    report = audit(
        *(lambda w, x: x, None, np.eye(4)[answers], labels),
        key=KEY,
        checks=[performance(**options)],
    )
    return report.rows["performance"]


def test_a_group_that_is_worse_fails_and_equal_ones_pass():
    rng = np.random.default_rng(0)
    everywhere = rng.random(200) < 0.1
    accuracy, group, noise = rows(everywhere)
    assert accuracy.value == pytest.approx(1 - everywhere.mean())
    assert accuracy.low < accuracy.value < accuracy.high
    assert [accuracy.verdict, group.verdict] == ["pass", "pass"]
    assert noise.verdict == "not applicable"
    planted = np.where(LABELS == 2, rng.random(200) < 0.4, everywhere)
    _, group, _ = rows(planted)
    assert group.verdict == "fail"
    assert group.note.startswith("group 2; 0.")
    assert group.value == pytest.approx(1 - planted[LABELS == 2].mean())
    assert (group.n, group.low < group.value < group.high) == (50, True)


def test_groups_may_be_named_and_small_ones_are_not_ranked():
    is_wrong = np.arange(200) < 10
    groups = np.array(["tiny"] * 10 + ["one"] * 95 + ["two"] * 95)
    _, group, _ = rows(is_wrong, groups=groups)
    assert (group.verdict, group.value) == ("pass", 1)
    _, group, _ = rows(is_wrong, groups=np.where(groups == "two", "one", groups))
    assert group.verdict == "not applicable"
    (row,) = rows(is_wrong, groups=groups[:3])[1:]
    assert "`groups` has shape (3,), and there are 200" in row.note


def test_an_accuracy_that_wrong_labels_forbid():
    is_wrong = np.arange(200) < 2
    noise = rows(is_wrong, noise_rate=0.04)[2]
    assert noise.verdict == "warn"
    assert noise.value == 0.99
    assert "75% of the wrong labels are reproduced" in noise.note
    assert rows(is_wrong, noise_rate=0.005)[2].verdict == "pass"
    # At a rate of 2 % so few mistakes of 200 may be chance.
    assert rows(is_wrong, noise_rate=0.02)[2].verdict == "pass"


def test_no_better_than_the_majority():
    accuracy = rows(np.arange(200) < 160)[0]
    assert accuracy.verdict == "fail"
    assert accuracy.threshold == "interval above 0.250"
    with pytest.raises(ValueError, match="noise_rate"):
        performance(noise_rate=1.5)
