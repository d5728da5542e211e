r"""`accuracy_under_noise`: how good a model is whose test set has wrong labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxinterp.checks import checked_integer, checked_share


class NoisyAccuracy(NamedTuple):
    """What an accuracy that was measured on noisy labels says about the true one.

    Attributes:
        lower: the smallest true accuracy that is possible.
        upper: the largest true accuracy that is possible.
        if_independent: the true accuracy, if errors of labels are uniform and
            independent of the model; outside of [0, 1] that is impossible.
        is_consistent: whether it is possible.
        p_value: the probability of as few disagreements as were observed, or fewer, for
            a model that is always right, if labels are wrong independently of one
            another; `None` if the number of examples is not known.
        min_reproduced: the smallest share of the wrong labels that the model predicts
            just as they are: on these it is wrong, and counted as right.
    """

    lower: float
    upper: float
    if_independent: float
    is_consistent: bool
    p_value: float | None
    min_reproduced: float


def accuracy_under_noise(
    accuracy: float,
    noise_rate: float,
    classes: int,
    *,
    n_examples: int | None = None,
    n_audited: int | None = None,
    level: float = 0.95,
) -> NoisyAccuracy:
    r"""Bounds the true accuracy of a model that was tested on partly wrong labels.

    With the measured error $e = 1 - \text{accuracy}$ and the share $\eta$ of wrong
    labels *among the same examples*

    $$|e - \eta| \le \text{true error} \le \min(1, e + \eta)$$

    whatever the errors depend on: model, given and true labels are three labelings, and
    the share on which two differ obeys the triangle inequality. Both bounds are reached
    by some model, if there are at least three classes; with two classes the upper one
    needs $e + \eta \le 1$. So 99 % at 3 % wrong labels mean a true accuracy of 96 to
    98 %, and never 99 or 100 %: a perfect model would measure 97 %.

    If a wrong label is any other class with equal probability, independently of the
    model, then with $K$ classes

    $$\text{accuracy} = a (1 - \eta) + (1 - a) \frac{\eta}{K - 1}$$

    and $a$ is `if_independent`. An accuracy above $1 - \eta$ makes $a > 1$: the model
    reproduces wrong labels. Look for test examples that were trained on, and for
    mistakes that the annotators of both sets share.

    The bounds are about the examples measured if `noise_rate` is their own. If it comes
    from an audit of a random part, say how many were looked at; if the statement is to
    be about all data of that kind, say how many were measured. Then Clopper-Pearson
    intervals take the place of the two shares, and if both are estimated each has the
    level $1 - \frac\alpha2$. They do not help against an audit that was not random, or
    auditors who are wrong.

    Args:
        accuracy: the share of examples on which the model agrees with the given label.
        noise_rate: the share of examples whose given label is wrong.
        classes: the number of classes.
        n_examples: the number of examples that `accuracy` was measured on.
        n_audited: the number of examples that `noise_rate` was estimated from.
        level: the confidence level of the intervals.

    Returns:
        Bounds and estimates, as shares of examples.

    Raises:
        ValueError: if an argument is out of range, or a share is no share of so many
            examples.

    Example:
        >>> result = accuracy_under_noise(0.99, 0.03, 10)
        >>> round(result.lower, 4), round(result.upper, 4), result.is_consistent
        (0.96, 0.98, False)

    References:
        Northcutt, Athalye and Mueller, 2021 (what wrong test labels do to benchmarks)
        [northcutt2021pervasive]; Clopper and Pearson, 1934 (intervals)
        [clopper1934use]; Natarajan et al., 2013 (independent noise)
        [natarajan2013learning].
    """
    call = "accuracy_under_noise"
    accuracy = checked_share("accuracy", accuracy, call=call)
    eta = checked_share("noise_rate", noise_rate, call=call)
    level = checked_share("level", level, call=call)
    classes = checked_integer("classes", classes, 2, call=call)
    error = 1 - accuracy
    is_estimated = n_examples is not None, n_audited is not None
    alpha = (1 - level) / max(sum(is_estimated), 1)
    low_e, high_e = _interval("accuracy", error, n_examples, alpha)
    low_eta, high_eta = _interval("noise_rate", eta, n_audited, alpha)
    smallest_error = max(0.0, low_eta - high_e, low_e - high_eta)
    per_class = eta / (classes - 1)
    slope = 1 - eta - per_class
    independent = (accuracy - per_class) / slope if abs(slope) > 1e-12 else float("nan")
    p_value = None
    if n_examples is not None:
        p_value = _at_most(round(error * n_examples), n_examples, eta)
    reproduced = max(0.0, (accuracy - (1 - eta)) / eta) if eta else 0.0
    return NoisyAccuracy(
        1 - min(1.0, high_e + high_eta),
        1 - smallest_error,
        independent,
        bool(-1e-12 <= independent <= 1 + 1e-12),
        p_value,
        reproduced,
    )


def _interval(
    name: str, share: float, count: int | None, alpha: float
) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share, or the share itself."""
    if count is None:
        return share, share
    count = checked_integer(
        "n_examples" if name == "accuracy" else "n_audited", count, 1
    )
    events = round(share * count)
    if abs(share * count - events) > 0.05 * max(1.0, np.sqrt(count)):
        raise ValueError(
            f"accuracy_under_noise: `{name}` is no share of {count} examples: "
            f"{share * count:.2f} of them. Give it with more digits."
        )
    low, high = 0.0, 1.0
    if events > 0:
        low = _root(lambda p: 1 - _at_most(events - 1, count, p) - alpha / 2)
    if events < count:
        high = _root(lambda p: alpha / 2 - _at_most(events, count, p))
    return low, high


def _at_most(events: int, count: int, share: float) -> float:
    """The probability of so many events or fewer, by the binomial distribution."""
    if events >= count or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    numbers = np.arange(1, events + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((count - numbers + 1) / numbers))])
    odds = np.arange(events + 1) * math.log(share / (1 - share))
    return min(float(np.exp(ways + odds + count * math.log1p(-share)).sum()), 1.0)


def _root(rising: Callable[[float], float]) -> float:
    """Where a function that rises between 0 and 1 is zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
