"""Attribution along a path that avoids large slopes: guided integrated gradients."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.gradients.path import Line
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import checked_integer, checked_share, is_traced
from jaxinterp.loop.fast_scan import in_order
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.static import StaticPart, static_and_arrays
from jaxinterp.loop.steps import iterate
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def guided_integrated_gradients(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    steps: int = 200,
    fraction: float = 0.25,
    max_distance: float = 0.02,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` along a path of small gradients.

    $$a_i(x) = \sum_{k=0}^{n-1} (x_{k+1,i} - x_{k,i})\,\frac{\partial_i f(x_k) +
    \partial_i f(x_{k+1})}{2}, \quad \lVert x - x_k \rVert_1 = \left(1 - \tfrac
    kn\right) \lVert x - b \rVert_1$$

    From the baseline $x_0 = b$ on, each step first moves the entries with the smallest
    gradients at $x_k$, a `fraction` of all at once, as far as they may go; then the
    next ones, until the step is as long as all others. No entry is further than
    `max_distance` of its way ahead of the straight line, or behind it. So entries that
    hardly matter are at their ends before the score saturates, and collect less noise.

    The path depends on the model, so that two models with the same score may differ.
    Attributions add up to $f(x) - f(b)$ only as `steps` grows. Cost: `steps + 1`
    backward passes, one after another.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation.
        steps: the number $n$ of parts of the path.
        fraction: the share of all entries that move together. A step looks at one over
            it groups at most.
        max_distance: how far an entry may be from the straight line, as a share of its
            way: 0 are integrated gradients, 1 lets every entry go freely.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, by whose activation the score is explained instead of by the inputs;
            one site only. For a glob or a selector a mapping from its address is
            returned.

    Returns:
        An attribution function, in the units of `score`; a positive entry raised the
        score.

    Raises:
        ValueError: if `steps` is not positive, or `fraction` or `max_distance` is no
            share of one; when called, if the baseline does not broadcast.

    References:
        Kapishnikov et al., 2021, algorithm 1 [kapishnikov2021guided]; the sum is by the
        trapezoid rule, theirs by the gradient at the start of each step.

    Example:
        >>> attribute = guided_integrated_gradients(lambda w, x: x @ w, steps=10)
        >>> weights, x = jnp.array([[2.0], [1.0]]), jnp.array([[11.0, 8.0]])
        >>> attribute(weights, x, 0).round().tolist()
        [[22.0, 8.0]]
    """
    name = "guided_integrated_gradients"
    steps = checked_integer("steps", steps, 1, call=name)
    fraction = checked_share("fraction", fraction, call=name)
    max_distance = checked_share("max_distance", max_distance, call=name)
    model, score_fn = explained(apply_fn, score)

    def slopes_at(place: Place, x: Any) -> Any:
        return _rows(place.slopes(model, score_fn, _like(x, place.array)))

    def advanced(
        static: StaticPart, arrays: Any, state: _State, number: Any
    ) -> tuple[_State, None]:
        place, line = static.with_arrays(arrays)
        share = (number + 1) / steps
        low, high = (
            line(jnp.clip(share + offset, 0, 1))
            for offset in (-max_distance, max_distance)
        )
        missing = (1 - share).astype(low.dtype) * jnp.abs(line.difference).sum(1)
        moved = jax.vmap(functools.partial(_moved, fraction=fraction))
        x = moved(state.x, state.slopes, low, high, line(jnp.ones(())), missing)
        slopes = slopes_at(place, x)
        part = (x - state.x) * (state.slopes + slopes) / 2
        return _State(x, slopes, state.attributions + part), None

    def step(static: Any, arrays: Any, state: Any, number: Any) -> tuple[Any, None]:
        # A derivative computes each step anew instead of keeping what it needs of all.
        once = in_order(functools.partial(advanced, static))
        return jax.checkpoint(once, prevent_cse=False)(arrays, state, number)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name=name)
        line = Line(*map(_rows, Line.to(place.array, baseline, key)))
        static, arrays = static_and_arrays((place, line))
        x = jnp.array(line.start, copy=True)  # a state's memory is reused
        state = _State(x, slopes_at(place, x), jnp.zeros_like(x))
        with progress_bar(steps, name, is_shown=not is_traced(arrays, state)) as bar:
            state, _ = iterate(
                step, static, arrays, state, range(steps), tick=bar.update
            )
        return place.shaped(at, _like(state.attributions, place.array))

    return attribute


class _State(NamedTuple):
    """Where a path is; each a row of numbers for each example.

    Attributes:
        x: the point on the path.
        slopes: the gradient of the score there.
        attributions: what was attributed up to there.
    """

    x: jax.Array
    slopes: jax.Array
    attributions: jax.Array


def _moved(
    x: Any, slopes: Any, low: Any, high: Any, end: Any, missing: Any, fraction: float
) -> Any:
    """Returns the next point of the path of one example.

    Args:
        x: the point on the path, `(entries,)`.
        slopes: the gradient of the score there.
        low: how far each entry has to be at least.
        high: how far each entry may be at most.
        end: where the path ends.
        missing: the distance from the next point to the end.
        fraction: the share of all entries that move together.
    """
    if not len(x):
        return x
    x = jnp.where((low - x) * jnp.sign(end - x) > 0, low, x)
    sizes = jnp.where(x == high, jnp.inf, jnp.abs(slopes))
    ordered, last = jnp.sort(sizes), len(x) - 1
    together = math.floor(fraction * last) + 1
    budget = jnp.abs(end - x).sum() - missing

    def group(_: Any, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        x, budget, limit = state
        # All entries up to the limit have moved as far as they may, or nothing is left.
        first = (sizes <= limit).sum()
        next_limit = ordered[jnp.minimum(first + together - 1, last)]
        is_next = (sizes <= next_limit) & (x != high)  # equal ones together
        distance = jnp.where(is_next, jnp.abs(high - x), 0).sum()
        share = jnp.clip(budget / jnp.where(distance > 0, distance, 1), 0, 1)
        nearer = jnp.where(share >= 1, high, x + share * (high - x))
        x = jnp.where(is_next, nearer, x)
        return x, budget - share * distance, next_limit

    state = x, budget, jnp.full((), -1, sizes.dtype)
    return jax.lax.fori_loop(0, -(-len(x) // together), group, state)[0]


def _rows(tree: Any) -> jax.Array:
    """All entries of each example in a row, in single precision at least."""
    leaves = jax.tree.leaves(tree)
    dtype = jnp.result_type(jnp.float32, *leaves)
    flat = [leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves]
    return jnp.concatenate([leaf.astype(dtype) for leaf in flat], axis=1)


def _like(rows: jax.Array, array: Any) -> Any:
    """Rows of entries in the structure, shapes and dtypes of an array."""
    leaves, tree = jax.tree.flatten(array)
    ends = np.cumsum([math.prod(leaf.shape[1:]) for leaf in leaves])[:-1]
    parts = zip(jnp.split(rows, ends, axis=1), leaves, strict=True)
    return tree.unflatten([p.reshape(x.shape).astype(x.dtype) for p, x in parts])
