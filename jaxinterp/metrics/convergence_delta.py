"""Whether attributions add up to what they explain."""

from __future__ import annotations

from typing import Any

from jaxinterp.attribution.contract import examples_in
from jaxinterp.metrics.contract import (
    Measure,
    as_rows,
    at_least_single,
    check_attributions,
)
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, check_score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables


def convergence_delta(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    score: Score | Objective | str = logit,
) -> Measure:
    r"""Says how far attributions are from adding up: $\sum_i a_i - (f(x) - f(b))$.

    Cost: two forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the baseline $b$ of the attribution: a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`.
        score: which number $f$ per example was explained: a score of the outputs, or an
            objective.

    Returns:
        A measure, in units of the score, float32 at least: positive if the attributions
        add up to too much, 0 if they are complete.

    Raises:
        TypeError: if `score` is neither a function nor an objective.
        ValueError: when called, if the attributions are not of as many examples as the
            inputs, the baseline does not broadcast, or the score is not one number per
            example.

    References:
        Sundararajan et al., 2017 [sundararajan2017axiomatic].

    Example:
        >>> from jaxinterp.objectives import total
        >>> measure = convergence_delta(lambda w, x: w * x, score=total)
        >>> x = jnp.array([[1.0, 3.0]])
        >>> measure(2.0, x, 2.0 * x).tolist()
        [0.0]
    """
    model, score_fn = explained(apply_fn, score)

    def measure(
        variables: Variables,
        inputs: Inputs,
        attributions: Any,
        target: Target = None,
        key: Key = None,
    ) -> Any:
        check_attributions(attributions, inputs)
        start = fill_baseline(baseline, inputs, key)
        n_examples = examples_in(inputs)

        def scores(x: Inputs) -> Any:
            values = score_fn(model(variables, x), target)
            check_score(values, n_examples, score_fn)
            return at_least_single(values)

        after, before = scores(inputs), scores(start)
        return as_rows(attributions).sum(axis=1) - (after - before)

    return measure
