"""DeepLIFT: shares the difference of the score from that of a reference input."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, checked_call
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.rules.deep_lift import multiplier_changes
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


def deep_lift(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` exactly to entries of `inputs`.

    $$a_i = m_i\,(x_i - b_i), \quad \sum_i a_i = f(x) - f(b)$$

    The multipliers $m$ are those of each step, multiplied along the way back from the
    score as derivatives are: weights for an affine map, and for an activation the slope
    $\Delta y / \Delta x$ of its chord (the rescale rule). So a unit that is off, but is
    on for the baseline, still has its say. Of a product each factor gets the mean of
    the other; that also settles attention and, equation by equation, normalizations.
    Softmax has a closed form by logarithmic means. Of a maximum the entry
    counts at which it is reached, for input or baseline, whichever is larger. Cost: two
    forward passes and one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation, which is also what a
            function receives.
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
        NoMultiplierError: when called, if a step of the model has no multiplier: it
            sorts, picks or branches by values that depend on the input. The message
            names the site.
        ValueError: when called, if the baseline does not broadcast.

    References:
        Shrikumar et al., 2017, eq. 1 and section 3.5.1 [shrikumar2017learning]. The
        other rules there, for products of units and softmax, are ours.

    Example:
        >>> model = lambda w, x: jax.nn.relu(x @ w - 1.0)
        >>> attribute = deep_lift(model, baseline=jnp.array([1.0, 1.0]))
        >>> w, x = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
        >>> [round(value, 4) for value in attribute(w, x, 0)[0].tolist()]
        [-0.6667, -1.3333]
    """
    model, score_fn = explained(apply_fn, score)

    def score_of(place: Place, array: Any) -> Any:
        return place.scores(model, score_fn, array)

    @checked_call
    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="deep_lift")
        start = fill_baseline(baseline, place.array, key)
        traced = trace_call(score_of, place, place.array)
        changes, references = multiplier_changes(traced.graph)
        n_arrays = len(jax.tree.leaves(place.array))
        others = traced.operands[:-n_arrays]  # those of the array come last

        def run(array: Any, changes: Changes, probes: Any) -> tuple[Any, Any]:
            operands = (*others, *jax.tree.leaves(array))
            call = dataclasses.replace(traced, operands=operands)
            return call.run(changes, probes)

        _, captured = run(start, Changes(captures=frozenset(references)), {})
        probes = {meter: captured[value] for value, meter in references.items()}
        scores, pull, _ = jax.vjp(
            lambda array: run(array, changes, probes), place.array, has_aux=True
        )
        (multipliers,) = pull(jnp.ones_like(scores))
        difference = jax.tree.map(jnp.subtract, place.array, start)
        shares = jax.tree.map(jnp.multiply, multipliers, difference)
        return place.shaped(at, shares)

    return attribute
