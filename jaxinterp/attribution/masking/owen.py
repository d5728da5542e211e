"""Attribution by Owen values: Shapley values of segments that belong to groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import masked_scores, spread_over
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import checked_integer, shown
from jaxinterp.keys import check_key
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.coalitions import (
    antithetic_permutations,
    prefixes,
    shapley_of_prefixes,
)
from jaxinterp.perturbation.hierarchy import hierarchy_of, owen_game, owen_values
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def owen(
    apply_fn: ApplyFn,
    *,
    groups: Sequence[Any],
    segments: Any = None,
    baseline: Any = 0.0,
    samples: int | None = None,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` to grouped segments by Owen values.

    $$\phi_i = \frac1{|\Pi|} \sum_{\pi \in \Pi} v(S_\pi(i) \cup \{i\}) - v(S_\pi(i))$$

    $S_\pi(i)$ are the segments before $i$, and $\Pi$ all orders in which the segments
    of a group follow one another, at each level of the hierarchy. So a segment joins
    parts of its own group and other groups as a whole: fewer coalitions than for
    `shapley`, and more natural ones. The values of a group add up to its Shapley value
    among the groups. Without groups, or with one for each segment, they are Shapley
    values. Cost: a forward pass for each coalition (464 of 16 patches in quarters, 2732
    of 64 segments in halves of halves, 14800 in quarters of quarters), or `samples * (n
    - 1) + 2`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        groups: a segment map for each level of the hierarchy, coarse to fine, whose
            segments are groups of `segments`. Nested patches of images are `[
            grid_segments((32, 32), 16), grid_segments((32, 32), 8)]` with segments
            `grid_segments((32, 32), 4)`.
        segments: which entries are one segment: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a segment.
        baseline: what takes the place of segments that are absent: a number, an array
            (or a pytree like `inputs`) that broadcasts against the inputs, or a
            function `(inputs, key) -> baseline`. With `at`, that of the activation.
        samples: the number of random orders, in pairs of which one is the other
            reversed; by default none, and all coalitions are evaluated. The orders are
            those of all examples.
        batch_size: the number of coalitions evaluated at once; by default as many as
            make 16 MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function, in the units of `score`; it needs a `key` if there are
        `samples`. Each entry has an equal share of its segment's value, so that
        `jaxinterp.perturbation.segment_sums` returns Owen values, and an entry in no
        segment has 0. Inputs may be integers such as tokens; their attributions have
        the dtype of the score.

    Raises:
        ValueError: if `samples` or `batch_size` is not positive; when called, if there
            are no `samples` and the hierarchy has too many coalitions, if groups are
            not nested, or if the baseline or a map does not fit.
        TypeError: if `groups` is one map and no list; when called, if there are
            `samples` and no key, or if a map is not of integers.

    References:
        Owen, 1977 [owen1977values]; of several levels, Winter, 1989 [winter1989value].

    Example:
        >>> attribute = owen(lambda w, x: x.prod(1, keepdims=True),
        ...     groups=[np.array([0, 0, 1])])
        >>> attribute(None, jnp.array([[1.0, 2.0, 4.0]]), 0).tolist()
        [[2.0, 2.0, 4.0]]
    """
    if samples is not None:
        samples = checked_integer("samples", samples, 1, call="owen")
    if not isinstance(groups, list | tuple):
        raise TypeError(
            "owen: `groups` is a list of segment maps, one for each level, and is "
            f"{shown(groups)}.\nWrite `groups=[map]`."
        )
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(model, score_fn, name="owen", batch_size=batch_size)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="owen", needs_slopes=False)
        players = fill_segments(segments, place.array)
        hierarchy = hierarchy_of(groups, players, place.array)
        start = fill_baseline(baseline, place.array, key)
        if samples is None:
            game = owen_game(hierarchy)
            values = owen_values(scores(place, start, players, game.coalitions), game)
        else:
            check_key("owen", key)
            orders = antithetic_permutations(key, players.count, samples, hierarchy)
            grown = scores(place, start, players, prefixes(orders))
            values = shapley_of_prefixes(grown, orders)
        return place.shaped(at, spread_over(place.array, values, players))

    return attribute
