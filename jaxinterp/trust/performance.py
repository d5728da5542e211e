"""`performance`: how often a model is right, and where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxinterp.checks import checked_share
from jaxinterp.keys import folded
from jaxinterp.labels.accuracy_under_noise import accuracy_under_noise
from jaxinterp.metrics.bootstrap import bootstrap
from jaxinterp.trust.report import Check, Row, Subject

# Groups of fewer examples are not ranked: their accuracy says little.
SMALLEST_GROUP = 20
_SHUFFLES = 1000
_LEVEL = 0.05


def performance(
    *,
    groups: Any = None,
    noise_rate: float | None = None,
    n_audited: int | None = None,
) -> Check:
    """Checks the accuracy, that of the worst group, and what wrong labels leave of it.

    The worst of many groups is bad by chance: its accuracy is compared with the worst
    one when the groups are shuffled, 1,000 times, and fails at a share below 5 %.

    Args:
        groups: the group of each example, `(examples,)`; by default its label.
        noise_rate: the share of wrong labels among the examples, if it is known.
        n_audited: the number of examples that it was estimated from.

    Returns:
        A check for `audit`.

    Raises:
        ValueError: if the rate is no share; when called, if there is not one group for
            each example.

    Example:
        >>> model, labels = lambda w, x: x, np.arange(300) % 3
        >>> report = ji.trust.audit(
        ...     model, None, np.eye(3)[labels], labels, key=jax.random.key(0),
        ...     checks=[performance(noise_rate=0.02)])
        >>> [row.verdict for row in report.rows["performance"]]
        ['pass', 'pass', 'warn']
    """
    if noise_rate is not None:
        checked_share("noise_rate", noise_rate, call="performance")

    def check(subject: Subject) -> Iterator[Row]:
        logits = subject.logits()
        is_right = logits.argmax(axis=-1) == subject.labels
        yield _accuracy(is_right, subject)
        names = subject.labels if groups is None else np.asarray(groups)
        if names.shape != is_right.shape:
            raise ValueError(
                f"performance: `groups` has shape {names.shape}, and there are "
                f"{len(is_right)} examples. Give one group for each."
            )
        yield _worst_group(is_right, names, folded(subject.key, 1))
        yield _under_noise(is_right, logits.shape[-1], noise_rate, n_audited)

    check.__name__ = "performance"
    return check


def _accuracy(is_right: np.ndarray, subject: Subject) -> Row:
    mean, low, high, _ = bootstrap(is_right, folded(subject.key, 0))
    majority = np.unique(subject.labels, return_counts=True)[1].max() / len(is_right)
    return Row(
        "is better than the most frequent class",
        "pass" if low > majority else "fail",
        *(float(mean), float(low), float(high), len(is_right)),
        f"interval above {majority:.3f}",
    )


def _worst_group(is_right: np.ndarray, groups: np.ndarray, key: Any) -> Row:
    """The lowest accuracy of a group, against shuffled groups."""
    claim, threshold = "no group is worse than by chance", f"p >= {_LEVEL}"
    names, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    is_large = counts >= SMALLEST_GROUP
    if is_large.sum() < 2:
        note = f"fewer than two groups have {SMALLEST_GROUP} examples"
        return Row(claim, "not applicable", threshold=threshold, note=note)

    def accuracies(is_right: np.ndarray) -> np.ndarray:
        return (np.bincount(numbers, is_right) / counts)[is_large]

    own = accuracies(is_right)
    seed = np.asarray(jax.random.bits(key, (4,)))
    generator = np.random.default_rng(seed)
    drawn = [accuracies(generator.permutation(is_right)) for _ in range(_SHUFFLES)]
    worst = np.array([one.min() for one in drawn])
    # Sums of shares are rounded: equal counts may differ in the last digit.
    p_value = (1 + (worst <= own.min() + 1e-12).sum()) / (1 + _SHUFFLES)
    number = np.flatnonzero(is_large)[own.argmin()]
    _, low, high, n_valid = bootstrap(is_right[numbers == number], key)
    return Row(
        claim,
        "pass" if p_value >= _LEVEL else "fail",
        *(float(own.min()), float(low), float(high), int(n_valid)),
        threshold,
        f"group {names[number]}; {worst.mean():.3f} by chance, p = {p_value:.3f}",
    )


def _under_noise(
    is_right: np.ndarray, classes: int, noise_rate: float | None, audited: int | None
) -> Row:
    claim, threshold = "it does not reproduce wrong labels", f"p >= {_LEVEL}"
    if noise_rate is None:
        note = "no `noise_rate` was given"
        return Row(claim, "not applicable", threshold=threshold, note=note)
    accuracy, n_examples = float(is_right.mean()), len(is_right)
    counts = {"n_examples": n_examples, "n_audited": audited}
    result = accuracy_under_noise(accuracy, noise_rate, classes, **counts)
    assert result.p_value is not None, "the number of examples is known"
    reproduces = not result.is_consistent and result.p_value < _LEVEL
    note = f"true accuracy {result.lower:.3f} to {result.upper:.3f}"
    if reproduces:
        note += (
            f"; {result.min_reproduced:.0%} of the wrong labels are reproduced: "
            "leakage, duplicates, or a bias that annotators share"
        )
    return Row(
        claim,
        "warn" if reproduces else "pass",
        accuracy,
        n=n_examples,
        threshold=threshold,
        note=f"p = {result.p_value:.3f}; {note}",
    )
