r"""Interactions between features: what two add to coalitions together, and not alone.

$v(S)$ is the score of an example in which a baseline takes the place of all features
but those of the coalition $S$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import checked_call
from jaxinterp.attribution.masking.scores import check_number, masked_scores
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import check_choice
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.coalitions import (
    Interaction,
    all_coalitions,
    interactions_of_all,
)
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


def interaction(
    apply_fn: ApplyFn,
    *,
    index: Interaction = "shapley",
    baseline: Any = 0.0,
    segments: Any = None,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Callable[..., jax.Array]:
    r"""Divides `score(inputs) - score(baseline)` among pairs of features, exactly.

    $$I_{ij} = \sum_{S \not\ni i, j} w_{|S|}\,(v(S \cup \{i, j\}) - v(S \cup \{i\}) -
    v(S \cup \{j\}) + v(S))$$

    Each of the two entries of a pair off the diagonal is $I_{ij} / 2$, and an entry on
    the diagonal is what is left of the feature's Shapley value. So a row adds up to
    that, and all of them to $f(x) - f(b)$. An entry off the diagonal is 0 if the two
    features never change what the other one does. No derivative is needed, and kinks do
    no harm: `integrated_hessians` is for smooth models with many features. Cost: $2^n$
    forward passes for $n$ features, of which there may be 16.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        index: what three and more features do together is shared by pairs of them in
            both cases. `"shapley"` is the mean over all sizes of coalitions, $w_s =
            s!\,(n - s - 2)! / (n - 1)!$, and the diagonal takes what the pairs get too
            much. `"shapley_taylor"` leaves on the diagonal what a feature does alone,
            $v(\{i\}) - v(\emptyset)$, by $w_s = 2\,s!\,(n - s - 1)! / n!$.
        baseline: what takes the place of features that are absent: a number, an array
            (or a pytree like `inputs`) that broadcasts against the inputs, or a
            function `(inputs, key) -> baseline`. With `at`, that of the activation.
        segments: which entries are one feature: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a feature.
        batch_size: the number of coalitions evaluated at once; by default as many as
            make 16 MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        A function `(variables, inputs, target=None, key=None)` that returns a symmetric
        array `(batch, segments, segments)` in the units of `score`. A positive entry
        off the diagonal says that the two features raise the score by more together
        than each of them alone.

    Raises:
        ValueError: if there is no such index, or `batch_size` is not positive; when
            called, if there are more than 16 features, or if the baseline or the
            segments do not fit.
        TypeError: when called, if the segments are no integers.

    References:
        Grabisch and Roubens, 1999, the Shapley interaction index
        [grabisch1999axiomatic]; halved and with the rest on the diagonal as by
        Lundberg et al., 2020 [lundberg2020local]; Sundararajan et al., 2020, the
        Shapley-Taylor index of order 2 [sundararajan2020shapley].

    Example:
        >>> interactions = interaction(lambda w, x: x.prod(1, keepdims=True))
        >>> interactions(None, jnp.array([[2.0, 6.0]]), 0)[0].tolist()
        [[0.0, 6.0], [6.0, 0.0]]
    """
    check_choice("index", index, get_args(Interaction), call="interaction")
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(model, score_fn, name="interaction", batch_size=batch_size)

    @checked_call
    def interactions(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> jax.Array:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="interaction", needs_slopes=False)
        players = fill_segments(segments, place.array)
        check_number("interaction", players.count, "`integrated_hessians(apply_fn)`")
        start = fill_baseline(baseline, place.array, key)
        values = scores(place, start, players, all_coalitions(players.count))
        return jnp.moveaxis(interactions_of_all(values, index), -1, 0)

    return interactions
