"""`explanation`: whether explanations depend on the model, and on what it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxinterp.attribution.contract import Attribution
from jaxinterp.checks import check_function, checked_integer
from jaxinterp.keys import folded
from jaxinterp.metrics.bootstrap import Interval, bootstrap
from jaxinterp.metrics.parameter_randomization import parameter_randomization
from jaxinterp.metrics.perturbation_curve import deletion
from jaxinterp.metrics.references import at_random
from jaxinterp.trust.report import Check, Row, Subject
from jaxinterp.types import Key, Variables

# The rank correlation to a network that has forgotten all is below this.
LARGEST_CORRELATION = 0.5


def explanation(
    attribution_fn: Attribution,
    *,
    init: Callable[[Key], Variables] | None = None,
    segments: Any = "positions",
    steps: int = 20,
) -> Check:
    """Checks that explanations beat chance, and change when the model forgets.

    By `deletion` of what they mark first, against deletion in a random order of the
    same images, and by `parameter_randomization` of all layers.

    Args:
        attribution_fn: an attribution function.
        init: the function from a random key to untrained weights; without it the second
            question is not applicable.
        segments: what is deleted together, see `perturbation_curve`.
        steps: the number of steps of the deletion.

    Returns:
        A check for `audit`.

    Raises:
        TypeError: if `attribution_fn` is no function.
        ValueError: if a number is out of range.

    References:
        Samek et al., 2017 [samek2017evaluating]; Adebayo et al., 2018
        [adebayo2018sanity].

    Example:
        >>> model = lambda w, x: x @ w
        >>> check = explanation(ji.attribution.input_x_gradient(model))
        >>> check.__name__
        'explanation'
    """
    example = "attribute(variables, inputs, target, key)"
    check_function("attribution_fn", attribution_fn, example, call="explanation")
    steps = checked_integer("steps", steps, 1, call="explanation")

    def check(subject: Subject) -> Iterator[Row]:
        subject.check()
        measure = deletion(subject.apply_fn, segments=segments, steps=steps)

        def areas(variables: Any, inputs: Any, labels: Any) -> tuple[Any, Any]:
            both = []
            for method in (attribution_fn, at_random):
                values = method(variables, inputs, labels, subject.key)
                both.append(measure(variables, inputs, values, labels, subject.key))
            return both[0], both[1]

        own, random = subject.each(areas, subject.inputs, subject.labels)
        difference = np.asarray(own, np.float64) - np.asarray(random, np.float64)
        interval = bootstrap(difference, folded(subject.key, 0))
        yield _row(
            "what is marked matters more than a random part",
            interval.high < 0,
            interval,
            "deletion, interval below 0",
        )
        yield _randomization(attribution_fn, init, subject)

    check.__name__ = "explanation"
    return check


def _randomization(
    attribution_fn: Attribution,
    init: Callable[[Key], Variables] | None,
    subject: Subject,
) -> Row:
    """How alike explanations are to those of a network that has forgotten all."""
    claim = "explanations depend on what was learned"
    threshold = f"rank correlation below {LARGEST_CORRELATION}"
    if init is None:
        note = "no `init` was given"
        return Row(claim, "not applicable", threshold=threshold, note=note)
    measure = parameter_randomization(
        subject.apply_fn, attribution_fn=attribution_fn, init=init
    )

    def similarity(variables: Any, inputs: Any, labels: Any) -> Any:
        values = attribution_fn(variables, inputs, labels, subject.key)
        found = measure(variables, inputs, values, labels, subject.key)
        return found.attributions[:, -1]

    values = np.asarray(subject.each(similarity, subject.inputs, subject.labels))
    interval = bootstrap(values, folded(subject.key, 1))
    return _row(claim, interval.high < LARGEST_CORRELATION, interval, threshold)


def _row(claim: str, holds: Any, interval: Interval, threshold: str) -> Row:
    mean, low, high, n_valid = interval
    verdict = "pass" if holds else "fail"
    return Row(
        claim,
        "not applicable" if np.isnan(low) else verdict,
        *(float(mean), float(low), float(high), int(n_valid)),
        threshold,
    )
