r"""How the score changes as what an attribution marks is taken away.

$\pi$ is the order of the features of an example, the largest attribution first, and
$x^{(k)}$ the example in which a baseline takes the place of the first $k$ of $D$
features. All metrics of this kind are numbers of one curve, $y_k = f(x^{(k)})$ at the
shares $t_k = k / D$, both ends included.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import as_arrays, check_target
from jaxinterp.checks import check_choice, checked_integer
from jaxinterp.loop.sums import evaluated
from jaxinterp.metrics.contract import Measure, at_least_single, check_attributions
from jaxinterp.metrics.curve import Curve, area
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, check_score, probability
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.segments import Segments, fill_segments, segment_sums
from jaxinterp.tracing.call import check_arrays
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables

Order = Literal["morf", "lerf"]
Mode = Literal["delete", "insert"]


class _Context(NamedTuple):
    """What one point of a curve needs to know.

    Attributes:
        variables: the weights of the model.
        before: the examples as they are at the start of the curve.
        after: the examples as they are at its end.
        ranks: the place of each entry's feature in the order, from 0.
        target: what the score needs beside the outputs, such as class indices.
    """

    variables: Any
    before: Any
    after: Any
    ranks: Any
    target: Any


def perturbation_curve(
    apply_fn: ApplyFn,
    *,
    order: Order = "morf",
    mode: Mode = "delete",
    segments: Any = "positions",
    steps: int = 50,
    baseline: Any = 0.0,
    score: Score | Objective | str = probability,
    batch_size: int | None = None,
) -> Measure:
    r"""Says how the score changes as features are replaced in their order.

    $$y_k = f(x^{(k)}), \quad k = \operatorname{round}(j D / L), \; j = 0, \dots, L$$

    The attribution of a feature is the sum of that of its entries. Ties are broken by
    position, the first one first, so a constant attribution has the order of the
    entries. `area`, `aopc` and `abpc` make a number of a curve.

    Deletion with one order and insertion with the reverse visit the same images. Cost:
    `steps` + 1 forward passes. Memory grows with `batch_size`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        order: `"morf"`, the most relevant first, or `"lerf"`, the least relevant first.
        mode: `"delete"` starts at the inputs and replaces features by the baseline;
            `"insert"` starts at the baseline and restores features.
        segments: what a feature is. With `"positions"` the channels of a position, the
            last axis, move together; of inputs `(batch, features)` each entry is a
            feature. With `None` each entry is one. Or a map of integers, such as
            `jaxinterp.perturbation.grid_segments` makes: entries with the same number
            move together, and those with a negative one stay.
        steps: the number $L$ of steps, at most one for each feature. Of maps that
            differ between examples, those with fewer features than steps have points
            twice.
        baseline: the baseline: a number, an array (or a pytree like `inputs`) that
            broadcasts against the inputs, or a function `(inputs, key) -> baseline`.
        score: which number $f$ per example is followed: a score of the outputs, or an
            objective.
        batch_size: the number of points computed at once, for all examples; by default
            as many as make 16 MB of inputs together, at least one.

    Returns:
        A measure of a `Curve`, in units of the score, float32 at least. The scores of
        an example whose attribution has a NaN are NaN.

    Raises:
        TypeError: if `score` is neither a function nor an objective, or a map is not of
            integers.
        ValueError: if there is no such order or mode, or a number is not positive; when
            called, if attributions, segments or the baseline do not fit the inputs, or
            the target does not fit the outputs.

    References:
        Bach et al., 2015, "pixel flipping" [bach2015pixel]; Samek et al., 2017
        [samek2017evaluating].

    Example:
        >>> from jaxinterp.objectives import total
        >>> curve = perturbation_curve(lambda w, x: w * x, score=total)
        >>> x = jnp.array([[1.0, 3.0]])
        >>> curve(2.0, x, 2.0 * x).scores.tolist()
        [[8.0, 2.0, 0.0]]
    """
    check_choice("order", order, get_args(Order), call="perturbation_curve")
    check_choice("mode", mode, get_args(Mode), call="perturbation_curve")
    steps = checked_integer("steps", steps, 1, call="perturbation_curve")
    model, score_fn = explained(apply_fn, score)

    def step(context: _Context, counts: Any) -> Any:
        def changed(x: Any, y: Any, rank: Any) -> Any:
            limit = counts.reshape(-1, *[1] * (rank.ndim - 1))
            return jnp.where(rank < limit, y, x)

        x = jax.tree.map(changed, context.before, context.after, context.ranks)
        values = score_fn(model(context.variables, x), context.target)
        check_score(values, jax.tree.leaves(x)[0].shape[0], score_fn)
        return at_least_single(values)

    scores_at = evaluated(step, batch_size=batch_size, name="perturbation_curve")

    def measure(
        variables: Variables,
        inputs: Inputs,
        attributions: Any,
        target: Target = None,
        key: Key = None,
    ) -> Any:
        check_arrays(inputs)
        check_attributions(attributions, inputs)
        check_target(lambda x: score_fn(model(variables, x), target), inputs, target)
        features = _features(segments, inputs)
        relevance = segment_sums(_of_entries(attributions, inputs), features)
        ranks = _ranks_of_entries(relevance, features, order)
        start = fill_baseline(baseline, inputs, key)
        ends = (inputs, start) if mode == "delete" else (start, inputs)
        context = _Context(variables, *ends, ranks, as_arrays(target))
        counts, fractions = _points(features, steps)
        scores = scores_at(context, jnp.asarray(counts), inputs).T
        is_undefined = jnp.isnan(relevance).any(axis=1, keepdims=True)
        fractions = jnp.asarray(fractions, scores.dtype)
        return Curve(
            jnp.broadcast_to(fractions, scores.shape),
            jnp.where(is_undefined, jnp.nan, scores),
        )

    return measure


def deletion(
    apply_fn: ApplyFn,
    *,
    segments: Any = "positions",
    steps: int = 50,
    baseline: Any = 0.0,
    score: Score | Objective | str = probability,
    batch_size: int | None = None,
) -> Measure:
    r"""Says how fast the score falls as the most relevant features are deleted.

    $\int_0^1 y(t)\,dt$ of `perturbation_curve`, by the trapezoidal rule. Low is good;
    so is it for a network that fails on any deletion, so compare with the random order.
    Cost: `steps` + 1 forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        segments: what a feature is, as in `perturbation_curve`.
        steps: the number of steps of the curve, at most one for each feature.
        baseline: what takes the place of a deleted feature, as in
            `perturbation_curve`.
        score: which number per example is followed: a score of the outputs, or an
            objective.
        batch_size: the number of points computed at once, for all examples.

    Returns:
        A measure in units of the score, by default a probability.

    Raises:
        TypeError: as `perturbation_curve` does.
        ValueError: as `perturbation_curve` does.

    References:
        Petsiuk et al., 2018 [petsiuk2018rise].

    Example:
        >>> from jaxinterp.objectives import total
        >>> x = jnp.array([[1.0, 3.0]])
        >>> deletion(lambda w, x: w * x, score=total)(2.0, x, 2.0 * x).tolist()
        [3.0]
    """
    curve = perturbation_curve(
        apply_fn,
        mode="delete",
        segments=segments,
        steps=steps,
        baseline=baseline,
        score=score,
        batch_size=batch_size,
    )
    return _area_of(curve)


def insertion(
    apply_fn: ApplyFn,
    *,
    segments: Any = "positions",
    steps: int = 50,
    baseline: Any = 0.0,
    score: Score | Objective | str = probability,
    batch_size: int | None = None,
) -> Measure:
    r"""Says how fast the score rises as the most relevant features are inserted.

    $\int_0^1 y(t)\,dt$ of `perturbation_curve` with `mode="insert"`, by the trapezoidal
    rule. High is good. The authors start at a blurred image: give it as `baseline`.
    Cost: `steps` + 1 forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        segments: what a feature is, as in `perturbation_curve`.
        steps: the number of steps of the curve, at most one for each feature.
        baseline: what takes the place of a deleted feature, as in
            `perturbation_curve`.
        score: which number per example is followed: a score of the outputs, or an
            objective.
        batch_size: the number of points computed at once, for all examples.

    Returns:
        A measure in units of the score, by default a probability.

    Raises:
        TypeError: as `perturbation_curve` does.
        ValueError: as `perturbation_curve` does.

    References:
        Petsiuk et al., 2018 [petsiuk2018rise].

    Example:
        >>> from jaxinterp.objectives import total
        >>> x = jnp.array([[1.0, 3.0]])
        >>> insertion(lambda w, x: w * x, score=total)(2.0, x, 2.0 * x).tolist()
        [5.0]
    """
    curve = perturbation_curve(
        apply_fn,
        mode="insert",
        segments=segments,
        steps=steps,
        baseline=baseline,
        score=score,
        batch_size=batch_size,
    )
    return _area_of(curve)


def _area_of(curve: Measure) -> Measure:
    def measure(
        variables: Variables,
        inputs: Inputs,
        attributions: Any,
        target: Target = None,
        key: Key = None,
    ) -> Any:
        return area(curve(variables, inputs, attributions, target, key))

    return measure


def _features(segments: Any, inputs: Inputs) -> Segments:
    """The segments that are replaced one after another."""
    if not isinstance(segments, str):
        return fill_segments(segments, inputs)
    check_choice("segments", segments, ("positions",), call="perturbation_curve")
    leaves, tree = jax.tree.flatten(inputs)
    maps, count = [], 0
    for leaf in leaves:
        shape = (*leaf.shape[1:-1], 1) if leaf.ndim > 2 else leaf.shape[1:]
        maps.append(np.arange(count, count + math.prod(shape)).reshape(1, *shape))
        count += math.prod(shape)
    return fill_segments(tree.unflatten(maps), inputs)


def _of_entries(attributions: Any, inputs: Inputs) -> Any:
    """Attributions of all entries; one of positions stands at the first channel."""
    trees = jax.tree.structure(attributions), jax.tree.structure(inputs)
    if trees[0] != trees[1]:
        raise ValueError(
            f"The attributions have the structure {trees[0]}, and the inputs "
            f"{trees[1]}.\nGive what an attribution function of these inputs returns."
        )

    def of_leaf(path: Any, a: Any, x: Any) -> Any:
        if a.shape == x.shape:
            return a
        if x.ndim > 2 and a.shape in (x.shape[:-1], (*x.shape[:-1], 1)):
            return jnp.zeros(x.shape, a.dtype).at[..., 0].set(a.reshape(x.shape[:-1]))
        name = jax.tree_util.keystr(path)
        raise ValueError(
            f"`attributions{name}` has shape {tuple(a.shape)}, and `inputs{name}` "
            f"{tuple(x.shape)}.\nGive one number for each entry, or for each position, "
            "`attributions.sum(axis=-1)`."
        )

    wide = at_least_single(attributions)
    return jax.tree_util.tree_map_with_path(of_leaf, wide, inputs)


def _ranks_of_entries(relevance: Any, features: Segments, order: Order) -> Any:
    """The place of each entry's feature in the order; entries of none are never due."""
    keys = -relevance if order == "morf" else relevance
    keys = jnp.where(jnp.asarray(features.sizes) > 0, keys, jnp.inf)
    places = jnp.argsort(keys, axis=1, stable=True)
    numbers = jnp.arange(features.count)
    ranks = jax.vmap(lambda place: jnp.zeros_like(place).at[place].set(numbers))(places)

    def of_leaf(labels: Any) -> Any:
        n_entries = math.prod(labels.shape[1:])
        rows = jnp.broadcast_to(
            labels.reshape(len(labels), n_entries), (len(ranks), n_entries)
        )
        entries = jnp.take_along_axis(ranks, jnp.maximum(rows, 0), axis=1)
        entries = jnp.where(rows < 0, features.count, entries)
        return entries.reshape(len(ranks), *labels.shape[1:])

    return jax.tree.map(of_leaf, features.labels)


def _points(features: Segments, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """How many features are replaced at each point, and the shares of them.

    Returns:
        `(points, 1 or batch)`, and the shares the other way round.
    """
    n_features = (np.asarray(features.sizes) > 0).sum(axis=1).astype(np.int64)
    number = min(steps, features.count)
    points = np.arange(number + 1)[:, None]
    counts = (2 * points * n_features + number) // (2 * number)
    with np.errstate(invalid="ignore"):  # an example may have no features
        return counts.astype(np.int32), (counts / n_features).T
