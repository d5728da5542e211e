"""Attribution along a path by squared slopes: integrated distance gradients."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.gradients.path import Line
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import checked_integer
from jaxinterp.loop.sums import evaluated, summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def idgi(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    steps: int = 50,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` by squared gradients on the way.

    $$a_i(x) = \sum_{k=0}^{n-1} \frac{g_{k,i}^2}{\sum_j g_{k,j}^2} \left(f(x_{k+1}) -
    f(x_k)\right), \quad g_k = \nabla f\left(\tfrac{x_k + x_{k+1}}{2}\right)$$

    The points $x_k$ divide the straight line from the baseline $x_0$ to $x_n = x$ into
    equal steps. Only the part of a step along the gradient changes the score, and the
    rest of it gets nothing, where integrated gradients have noise of both signs. How
    far an entry moves does not count: one that equals its baseline may get something.

    Attributions add up to $f(x) - f(b)$ up to rounding, with any number of steps, as
    long as no gradient vanishes on a step on which the score changes; what changes
    there is left out. Cost: `steps` backward passes, and `steps + 1` forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation.
        steps: the number $n$ of parts of the path.
        batch_size: the number of points of the path computed at once; by default as
            many as make 16 MB of explained arrays of the whole batch together, at
            least one.
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
        ValueError: if `steps` or `batch_size` is not positive, or when called, if the
            baseline does not broadcast.

    References:
        Yang et al., 2023, algorithm 1 [yang2023idgi], who take the gradient at the
        start of each step; there it is zero at a baseline of zeros, of a relu network
        without biases.

    Example:
        >>> attribute = idgi(lambda w, x: x @ w)
        >>> weights, x = jnp.array([[1.0], [3.0]]), jnp.array([[4.0, 2.0]])
        >>> attribute(weights, x, 0).round().tolist()
        [[1.0, 9.0]]
    """
    steps = checked_integer("steps", steps, 1, call="idgi")
    model, score_fn = explained(apply_fn, score)

    def score_at(context: tuple[Place, Line], t: Any) -> Any:
        place, line = context
        return place.scores(model, score_fn, line(t))

    def step(context: tuple[Place, Line], point: Any) -> Any:
        place, line = context
        t, change = point
        shares = jax.vmap(_squared_shares)(place.slopes(model, score_fn, line(t)))
        return jax.tree.map(
            lambda share: share * change.reshape(-1, *[1] * (share.ndim - 1)), shares
        )

    scores_at = evaluated(score_at, batch_size=batch_size, name="idgi")
    sum_over = summed(step, batch_size=batch_size, name="idgi")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="idgi")
        context = place, Line.to(place.array, baseline, key)
        scores = scores_at(context, jnp.arange(steps + 1) / steps, place.array)
        changes = jnp.diff(
            scores.astype(jnp.promote_types(scores.dtype, "float32")), axis=0
        )
        points = (jnp.arange(steps) + 0.5) / steps, changes
        total = sum_over(context, points, place.array)
        total = jax.tree.map(lambda a, x: a.astype(x.dtype), total, place.array)
        return place.shaped(at, total)

    return attribute


def _squared_shares(slopes: Any) -> Any:
    """Squares of one example, over their sum; zeros if all of them are zero."""
    wide = jax.tree.map(
        lambda g: g.astype(jnp.promote_types(g.dtype, jnp.float32)), slopes
    )
    # Relative to the largest, squares are no subnormal numbers.
    sizes = [jnp.abs(g).max(initial=0) for g in jax.tree.leaves(wide)]
    largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, sizes))
    largest = jnp.where(largest == 0, 1, largest)
    squares = jax.tree.map(lambda g: (g / largest.astype(g.dtype)) ** 2, wide)
    whole = functools.reduce(jnp.add, [s.sum() for s in jax.tree.leaves(squares)])
    whole = jnp.where(whole == 0, 1, whole)
    return jax.tree.map(lambda s: s / whole.astype(s.dtype), squares)
