"""DeepLIFT: shares the difference of the score from that of a reference input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import check_choice
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import background_of, fill_baseline
from jaxinterp.rules.deep_lift import ActivationRule, multiplier_changes
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

# What is returned of the multipliers and the differences.
Result = Literal["contributions", "multipliers", "hypothetical"]


@method
def deep_lift(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    rule: ActivationRule = "rescale",
    result: Result = "contributions",
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

    With the RevealCancel rule an activation treats the positive contributions to its
    input apart from the negative ones, and each of the two parts gets the mean of what
    it does before and after the other:

    $$m^+ = \frac{f(x_0 + \Delta x^+) - f(x_0) + f(x) - f(x_0 + \Delta x^-)}{2 \Delta
    x^+}$$

    So it sees what cancels: of `min(a, b)`, written as `a - relu(a - b)`, both get one
    half, and by the rescale rule the smaller one gets all. The contributions are those
    of the entries that the layers before the activation add up, through sums of layers,
    scales and moves; what is computed otherwise (a product of activations, a maximum)
    is one contribution, for which both rules are the same. Its further cost: for each
    activation one more pass, forward and back, through these layers.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation, which is also what a
            function receives.
        rule: how a difference goes through an activation: by the slope of the chord for
            `"rescale"`, with the signs of contributions apart for `"reveal_cancel"`.
            With `"genomics_default"` these are taken apart where dense layers add them
            up, and not where convolutions do.
        result: `"contributions"` for $a$, `"multipliers"` for $m$, or `"hypothetical"`
            for what each letter would contribute in place of the one that is there,
            $m_k - \sum_j m_j b_j$, of inputs that are one letter a position, one-hot on
            the last axis.
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
        ValueError: if there is no rule or result of that name; when called, if the
            baseline does not broadcast.

    References:
        Shrikumar et al., 2017, eq. 1 and section 3.5 [shrikumar2017learning], with its
        linear, rescale and RevealCancel rules. Those for products of units and softmax
        are ours. `"genomics_default"` is the mode of that name of the authors' package.

    Example:
        >>> model = lambda w, x: jax.nn.relu(x @ w - 1.0)
        >>> attribute = deep_lift(model, baseline=jnp.array([1.0, 1.0]))
        >>> w, x = jnp.array([[1.0], [2.0]]), jnp.array([[0.0, 0.0]])
        >>> [round(value, 4) for value in attribute(w, x, 0)[0].tolist()]
        [-0.6667, -1.3333]

        The smaller of two numbers, from 0 and 0:

        >>> smaller = lambda w, x: x[:, :1] - jax.nn.relu(x[:, :1] - x[:, 1:])
        >>> x = jnp.array([[3.0, 1.0]])
        >>> deep_lift(smaller)(None, x, 0).tolist()
        [[0.0, 1.0]]
        >>> both = deep_lift(smaller, rule="reveal_cancel")(None, x, 0)
        >>> both.round(4).tolist()
        [[0.5, 0.5]]
    """
    check_choice("rule", rule, get_args(ActivationRule), call="deep_lift")
    check_choice("result", result, get_args(Result), call="deep_lift")
    model, score_fn = explained(apply_fn, score)
    shares = _shares(model, score_fn, rule, result)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="deep_lift")
        start = fill_baseline(baseline, place.array, key)
        return place.shaped(at, shares(place, start))

    return attribute


@method
def deep_lift_shap(
    apply_fn: ApplyFn,
    *,
    background: Inputs,
    rule: ActivationRule = "rescale",
    result: Result = "contributions",
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs)` minus its mean over a background to `inputs`.

    $$a_i(x) = \frac{1}{n} \sum_{j=1}^{n} m_i(x, b_j)\,(x_i - b_{j,i})$$

    It is the mean of `deep_lift` over $n$ baselines $b_j$, and adds up exactly, where
    `expected_gradients` does so only on average. Cost: for each example of the
    background, two forward passes and one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        background: examples that stand for "nothing in particular", such as some of the
            training data: an array or a pytree like `inputs`, with any number of
            examples on the first axis. With `at`, activations at the site.
        rule: how a difference goes through an activation, as for `deep_lift`.
        result: what is averaged over the background, as for `deep_lift`.
        batch_size: the number of background examples computed at once; by default as
            many as make 16 MB of explained arrays of the whole batch together, at least
            one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.
            For a glob or a selector a mapping from its address is returned.

    Returns:
        An attribution function, in the units of `score`; a positive entry raised the
        score above that of the background.

    Raises:
        NoMultiplierError: when called, if a step of the model has no multiplier, see
            `deep_lift`.
        ValueError: if `batch_size` is not positive, or there is no rule or result of
            that name; when called, if the background has no example, or other shapes or
            another structure than the inputs.

    References:
        Lundberg and Lee, 2017, section 4.2 [lundberg2017unified].

    Example:
        >>> background = jnp.array([[0.0, 0.0], [2.0, 4.0]])
        >>> attribute = deep_lift_shap(lambda w, x: x @ w, background=background)
        >>> weights, x = jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 3.0]])
        >>> attribute(weights, x, 0).tolist()
        [[2.0, 2.0]]
    """
    check_choice("rule", rule, get_args(ActivationRule), call="deep_lift_shap")
    check_choice("result", result, get_args(Result), call="deep_lift_shap")
    model, score_fn = explained(apply_fn, score)
    shares = _shares(model, score_fn, rule, result)

    def step(context: tuple[Place, Any], number: Any) -> Any:
        place, references = context
        n_references = len(jax.tree.leaves(references)[0])
        start = jax.tree.map(
            lambda b, x: jnp.broadcast_to(b[number][None], x.shape),
            references,
            place.array,
        )
        return jax.tree.map(lambda a: a / n_references, shares(place, start))

    sum_over = summed(step, batch_size=batch_size, name="deep_lift_shap")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="deep_lift_shap")
        references = background_of(background, place.array)
        numbers = jnp.arange(len(jax.tree.leaves(references)[0]))
        return place.shaped(at, sum_over((place, references), numbers, place.array))

    return attribute


def _shares(
    model: ApplyFn, score: Score, rule: ActivationRule, result: Result
) -> Callable[[Place, Any], Any]:
    """Returns what shares the difference of the score from that of one baseline."""

    def score_of(place: Place, array: Any) -> Any:
        return place.scores(model, score, array)

    def shares(place: Place, start: Any) -> Any:
        traced = trace_call(score_of, place, place.array)
        changes, references = multiplier_changes(traced.graph, rule)
        n_arrays = len(jax.tree.leaves(place.array))
        others = traced.operands[:-n_arrays]  # those of the array come last

        def run(array: Any, changes: Changes, probes: Any) -> tuple[Any, Any]:
            operands = (*others, *jax.tree.leaves(array))
            call = dataclasses.replace(traced, operands=operands)
            return call.run(changes, probes)

        _, captured = run(start, Changes(captures=frozenset(references)), {})
        probes = {meter: captured[value] for value, meter in references.items()}
        scores, pull = jax.vjp(
            lambda array: run(array, changes, probes)[0], place.array
        )
        (multipliers,) = pull(jnp.ones_like(scores))
        return jax.tree.map(_RESULTS[result], multipliers, place.array, start)

    return shares


def _hypothetical(multipliers: Any, array: Any, start: Any) -> Any:
    return multipliers - (multipliers * start).sum(axis=-1, keepdims=True)


_RESULTS: dict[Result, Callable[[Any, Any, Any], Any]] = {
    "contributions": lambda multipliers, array, start: multipliers * (array - start),
    "multipliers": lambda multipliers, array, start: multipliers,
    "hypothetical": _hypothetical,
}
