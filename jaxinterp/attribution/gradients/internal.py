"""Conductance and internal influence: integrated gradients, seen by a hidden layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.backward import (
    Backward,
    checked_seed,
    shaped,
    trace_to_sites,
)
from jaxinterp.attribution.contract import (
    Attribution,
    as_arrays,
    check_inputs,
    examples_in,
    method,
)
from jaxinterp.attribution.gradients.integrated_gradients import Quadrature, quadrature
from jaxinterp.attribution.gradients.path import Line
from jaxinterp.checks import checked_integer
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import gradient_seed
from jaxinterp.rules.composite import DERIVATIVE
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def conductance(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    baseline: Any = 0.0,
    steps: int = 50,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` to hidden units, as inputs change.

    $$c_j(x) = \int_0^1 \frac{\partial f}{\partial h_j}\,\frac{d h_j}{d t}\,dt \approx
    \sum_{k=0}^{n-1} \frac{h_j(x_{k+1}) - h_j(x_k)}{2} \left(\frac{\partial f}{\partial
    h_j}(x_k) + \frac{\partial f}{\partial h_j}(x_{k+1})\right)$$

    The inputs go from the baseline $x_0$ straight to $x_n = x$, and the units $h_j$ at
    the site move with them, on a curve. If all paths to the score lead through the
    site, attributions add up to the difference as `steps` grows, as those of
    `integrated_gradients` do. Cost: twice `steps` backward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose units are explained. For a glob or a selector a mapping from
            address to attributions is returned.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`.
        steps: the number $n$ of parts of the path.
        batch_size: the number of points of the path computed at once; by default as
            many as make 16 MB of inputs of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.

    Returns:
        An attribution function, in the units of `score` and the activation's shape.

    Raises:
        ValueError: if `steps` or `batch_size` is not positive, or when called, if the
            baseline does not broadcast.
        AddressError: when called, if there is no such site.

    References:
        Dhamdhere et al., 2019, eq. 2 [dhamdhere2019how]; the sum is by the trapezoid
        rule.

    Example:
        >>> model = lambda w, x: jnp.tanh(x * w).sum(1, keepdims=True)
        >>> attribute = conductance(model, at="tanh")
        >>> values = attribute(2.0, jnp.array([[0.5, -1.0]]), 0)
        >>> [round(value, 3) for value in values[0].tolist()]
        [0.762, -0.964]
    """
    steps = checked_integer("steps", steps, 1, call="conductance")

    def part(at_point: Callable[[Any], Any], t: Any) -> Any:
        (h, slopes), (h_next, slopes_next) = at_point(t), at_point(t + 1 / steps)
        return jax.tree.map(
            lambda h, n, s, m: (n - h) * (s + m) / 2, h, h_next, slopes, slopes_next
        )

    points = jnp.arange(steps) / steps
    options = at, baseline, batch_size, score
    return _along_path(apply_fn, "conductance", part, points, *options)


@method
def internal_influence(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    baseline: Any = 0.0,
    steps: int = 50,
    method: Quadrature = "gausslegendre",
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to hidden units by their mean gradient, as inputs change.

    $$\chi_j(x) = \int_0^1 \frac{\partial f}{\partial h_j}\big(b + t\,(x - b)\big)\,dt$$

    It says how the score would react to the unit $h_j$ at the site between the baseline
    and the input, not how much the unit contributed: it is not multiplied by a
    difference. Cost: `steps` backward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose units are explained. For a glob or a selector a mapping from
            address to attributions is returned.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`.
        steps: the number of gradients along the path.
        method: the quadrature of the integral, see `quadrature`.
        batch_size: the number of points of the path computed at once; by default as
            many as make 16 MB of inputs of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.

    Returns:
        An attribution function, in the units of `score` per unit of the activation, in
        whose shape they are.

    Raises:
        ValueError: if `steps` or `batch_size` is not positive, if there is no such
            `method`, or when called, if the baseline does not broadcast.
        AddressError: when called, if there is no such site.

    References:
        Leino et al., 2018, definition 1 [leino2018influence], for inputs that are drawn
        evenly from a line.

    Example:
        >>> model = lambda w, x: (jnp.tanh(x * w) ** 2).sum(1, keepdims=True)
        >>> attribute = internal_influence(model, at="tanh")
        >>> values = attribute(1.0, jnp.array([[0.0, 20.0]]), 0)
        >>> [round(value, 2) for value in values[0].tolist()]
        [0.0, 1.93]
    """
    nodes, weights = quadrature(method, steps)

    def part(at_point: Callable[[Any], Any], point: Any) -> Any:
        t, weight = point
        _, slopes = at_point(t)
        return jax.tree.map(lambda s: weight.astype(s.dtype) * s, slopes)

    points = (jnp.asarray(nodes), jnp.asarray(weights))
    options = at, baseline, batch_size, score
    return _along_path(apply_fn, "internal_influence", part, points, *options)


def _along_path(
    apply_fn: ApplyFn,
    name: str,
    part: Callable[[Callable[[Any], Any], Any], Any],
    points: Any,
    at: Sites,
    baseline: Any,
    batch_size: int | None,
    score: Score | Objective | str,
) -> Attribution:
    """Sums what is at the points of a path of the inputs.

    Args:
        apply_fn: the model.
        name: the name of the method, for the progress bar and errors.
        part: the summand, a function of a point and of another function, from a share
            of the way to the activations and the slopes there, each by address.
        points: the points, stacked.
        at: the sites.
        baseline: where the path starts.
        batch_size: the number of points computed at once.
        score: which number per example is explained.
    """
    model, score_fn = explained(apply_fn, score)

    def step(context: tuple[Any, Any, Line], point: Any) -> Any:
        variables, target, line = context

        def at_point(t: Any) -> tuple[Any, Any]:
            x = line(t)
            back = Backward(model, variables, x, DERIVATIVE, at)
            n_examples = examples_in(x)
            seed = gradient_seed, score_fn, back.outputs, target, n_examples
            slopes = back(checked_seed(*seed))
            back.check_path(score_fn, target)
            return back.activations, slopes

        return part(at_point, point)

    sum_over = summed(step, batch_size=batch_size, name=name)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        check_inputs(inputs, None, variables)
        line = Line.to(inputs, baseline, key)
        context = variables, as_arrays(target), line
        _, sites = trace_to_sites(model, variables, inputs, at)
        return shaped(at, sites, sum_over(context, points, inputs))

    return attribute
