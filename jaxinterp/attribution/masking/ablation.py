r"""Attribution by what the score loses if one segment is replaced, and all else stays.

$x_{g \to b}$ is the example $x$ in which the entries of the segment $g$ are those of
$b$: of a baseline, or of another example.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import spread_over
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import checked_integer
from jaxinterp.keys import check_key, each_folded, steady
from jaxinterp.loop.sums import evaluated
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import background_of, fill_baseline
from jaxinterp.perturbation.masks import masked
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def ablation(
    apply_fn: ApplyFn,
    *,
    segments: Any = None,
    baseline: Any = 0.0,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes to each segment by how much the score drops without it.

    $$a_g(x) = f(x) - f(x_{g \to b})$$

    One segment at a time is taken away, so that of two segments either of which
    suffices both get 0; the values add up to $f(x) - f(b)$ if no segments interact.
    `occlusion` does the same with a window that slides. Cost: a forward pass for each
    segment, and one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        segments: which entries are one segment: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a segment.
        baseline: what takes the place of a segment: a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation.
        batch_size: the number of segments evaluated at once; by default as many as make
            16 MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function, in the units of `score`; positive where a segment
        raised it. Each entry has an equal share of its segment's value, so that
        `jaxinterp.perturbation.segment_sums` returns the drops, and an entry in no
        segment has 0. Inputs may be integers such as tokens; their attributions have
        the dtype of the score.

    Raises:
        ValueError: if `batch_size` is not positive; when called, if the baseline or the
            segments do not fit.
        TypeError: when called, if the segments are no integers.

    References:
        Zeiler and Fergus, 2014 [zeiler2014visualizing]; of any features, Covert et al.,
        2021 [covert2021explaining].

    Example:
        >>> attribute = ablation(lambda w, x: x.prod(1, keepdims=True), baseline=1.0)
        >>> attribute(None, jnp.array([[2.0, 3.0]]), 0).tolist()
        [[3.0, 4.0]]
    """
    model, score_fn = explained(apply_fn, score)
    drops = _mean_drops(model, score_fn, name="ablation", batch_size=batch_size)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="ablation", needs_slopes=False)
        start = fill_baseline(baseline, place.array, key)
        only = jax.tree.map(lambda b: b[None], start)
        attributions = drops(place, segments, only, jnp.zeros(1, int))
        return place.shaped(at, attributions)

    return attribute


@method
def permutation(
    apply_fn: ApplyFn,
    *,
    background: Any,
    segments: Any = None,
    samples: int | None = None,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes to each segment by how much the score drops with that of others.

    $$a_g(x) = f(x) - \frac1n \sum_k f(x_{g \to x'_k})$$

    The segment is exchanged for that of an example $x'_k$ of the background, so that
    what stands in its place occurs, though perhaps not beside the rest of $x$. Other
    libraries exchange segments within the batch, and what an example gets depends on
    its neighbors; give the batch as the background for that. Cost: a forward pass for
    each segment and each of $n$ examples, and one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        background: examples like the inputs, in any number; with `at`, activations at
            the site. The weight of each is the same.
        segments: which entries are one segment: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a segment.
        samples: the number $n$ of examples that are drawn, with replacement, from the
            background, the same for all examples and segments; by default none is
            drawn, and the mean is over the whole background.
        batch_size: the number of pairs of a segment and an example of the background
            evaluated at once; by default as many as make 16 MB of explained arrays of
            the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function, in the units of `score`; it needs a `key` if there are
        `samples`. Each entry has an equal share of its segment's value, so that
        `jaxinterp.perturbation.segment_sums` returns the drops, and an entry in no
        segment has 0. Inputs may be integers such as tokens; their attributions have
        the dtype of the score.

    Raises:
        ValueError: if `samples` or `batch_size` is not positive; when called, if the
            background has no example or other shapes than the inputs, or if the
            segments do not fit.
        TypeError: when called, if there are `samples` and no key, or if the segments
            are no integers.

    References:
        Breiman, 2001 [breiman2001random] and Fisher et al., 2019 [fisher2019all], for
        the mean over a data set, which is
        `jaxinterp.concepts.permutation_importance`.

    Example:
        >>> background = jnp.array([[0.0, 0.0], [2.0, 4.0]])
        >>> attribute = permutation(lambda w, x: x @ w, background=background)
        >>> weights, x = jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 3.0]])
        >>> attribute(weights, x, 0).tolist()
        [[2.0, 2.0]]
    """
    if samples is not None:
        samples = checked_integer("samples", samples, 1, call="permutation")
    model, score_fn = explained(apply_fn, score)
    drops = _mean_drops(model, score_fn, name="permutation", batch_size=batch_size)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="permutation", needs_slopes=False)
        others = background_of(background, place.array)
        rows = jnp.arange(len(jax.tree.leaves(others)[0]))
        if samples is not None:
            check_key("permutation", key)
            keys = each_folded(steady(key), jnp.arange(samples))
            draw = functools.partial(jax.random.randint, dtype=jnp.int32)
            rows = jax.vmap(lambda k: draw(k, (), 0, len(rows)))(keys)
        each = jax.tree.map(lambda b: b[:, None], others)
        return place.shaped(at, drops(place, segments, each, rows))

    return attribute


def _mean_drops(
    model: ApplyFn, score: Score, *, name: str, batch_size: int | None
) -> Callable[[Place, Any, Any, Any], Any]:
    """Returns a function that attributes the mean drop of the score to each segment.

    Its arguments are the place, the segments, what may take the place of a segment,
    `(fillings, 1 or batch, ...)`, and the numbers of the fillings that are averaged.
    """

    def step(context: tuple[Place, Any, Any], point: tuple[Any, Any]) -> Any:
        place, labels, fillings = context
        number, row = point
        keep = jax.tree.map(lambda label: label != number, labels)
        filling = jax.tree.map(lambda b: b[row], fillings)
        return place.scores(model, score, masked(place.array, keep, filling))

    values_at = evaluated(step, batch_size=batch_size, name=name)

    def drops(place: Place, segments: Any, fillings: Any, rows: Any) -> Any:
        parts = fill_segments(segments, place.array)
        # First nothing is replaced: there is no such segment.
        numbers = jnp.append(parts.count, jnp.tile(jnp.arange(parts.count), len(rows)))
        fills = jnp.append(rows[:1], jnp.repeat(rows, parts.count))
        context = place, parts.labels, fillings
        values = values_at(context, (numbers, fills), place.array)
        shape = len(rows), parts.count, place.n_examples
        each = (values[:1] - values[1:]).reshape(shape)
        return spread_over(place.array, each.mean(0), parts)

    return drops
