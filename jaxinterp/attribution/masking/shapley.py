r"""Attribution by Shapley values: what an entry adds to coalitions of the others.

$v(S)$ is the score of an example in which a baseline takes the place of all features
but those of the coalition $S$.
"""

from __future__ import annotations

from typing import Any

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import (
    check_number,
    masked_scores,
    spread_over,
)
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import checked_integer
from jaxinterp.keys import check_key
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.coalitions import (
    all_coalitions,
    antithetic_permutations,
    prefixes,
    shapley_of_all,
    shapley_of_prefixes,
)
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def shapley(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    segments: Any = None,
    samples: int | None = None,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` to segments by Shapley values.

    $$\phi_i = \sum_{S \not\ni i} \frac{|S|!\,(n - |S| - 1)!}{n!}\,(v(S \cup \{i\}) -
    v(S))$$

    That is the mean gain of feature $i$ over all orders in which the $n$ features may
    join. Without `samples` it is exact, for 16 features at most. With `samples` it is
    the mean over so many random orders, every second one being the order before it
    reversed: unbiased, exact for one such pair if features interact in pairs only. The
    sum over features is $f(x) - f(b)$ in any case. Cost: $2^n$ forward passes, or
    `samples * (n - 1) + 2`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: what takes the place of features that are absent: a number, an array
            (or a pytree like `inputs`) that broadcasts against the inputs, or a
            function `(inputs, key) -> baseline`. With `at`, that of the activation.
        segments: which entries are one feature: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a feature.
        samples: the number of random orders; by default none, and all coalitions are
            evaluated. The orders are those of all examples.
        batch_size: the number of coalitions evaluated at once; by default as many as
            make 16 MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function, in the units of `score`; it needs a `key` if there are
        `samples`. Each entry has an equal share of its feature's value, so that
        `jaxinterp.perturbation.segment_sums` returns Shapley values, and an entry in no
        segment has 0. Inputs may be integers such as tokens; their attributions have
        the dtype of the score.

    Raises:
        ValueError: if `samples` or `batch_size` is not positive; when called, if there
            are more than 16 features and no `samples`, or if the baseline or the
            segments do not fit.
        TypeError: when called, if there are `samples` and no key, or if the segments
            are no integers.

    References:
        Shapley, 1953 [shapley1953value]; Lundberg and Lee, 2017 [lundberg2017unified];
        Castro et al., 2009, ApproShapley [castro2009polynomial]; Mitchell et al., 2022,
        antithetic sampling [mitchell2022sampling].

    Example:
        >>> attribute = shapley(lambda w, x: x.prod(1, keepdims=True))
        >>> attribute(None, jnp.array([[2.0, 3.0]]), 0).tolist()
        [[3.0, 3.0]]
    """
    if samples is not None:
        samples = checked_integer("samples", samples, 1, call="shapley")
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(model, score_fn, name="shapley", batch_size=batch_size)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="shapley", needs_slopes=False)
        players = fill_segments(segments, place.array)
        start = fill_baseline(baseline, place.array, key)
        if samples is None:
            check_number("shapley", players.count, "`shapley(apply_fn, samples=64)`")
            masks = all_coalitions(players.count)
            values = shapley_of_all(scores(place, start, players, masks))
        else:
            check_key("shapley", key)
            orders = antithetic_permutations(key, players.count, samples)
            grown = scores(place, start, players, prefixes(orders))
            values = shapley_of_prefixes(grown, orders)
        return place.shaped(at, spread_over(place.array, values, players))

    return attribute
