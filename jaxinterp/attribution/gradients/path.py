"""Attribution along a path: integrated gradients.

$f$ is the score of an example, $x$ its input and $b$ the baseline, the input that means
"nothing here".
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.backward import (
    Backward,
    explained_sites,
    score_seed,
    the_only_site,
)
from jaxinterp.attribution.contract import (
    At,
    Attribution,
    check_inputs,
    check_target,
    examples_in,
)
from jaxinterp.checks import check_choice, checked_integer
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.score import Score, logit, need_score
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.composite import Composite
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.split import split
from jaxinterp.types import ApplyFn

# The plain derivative, through the engine for its faster max pooling.
_DERIVATIVE = Composite([("*", Gradient())])

Quadrature = Literal[
    "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "trapezoid"
]


def quadrature(method: Quadrature, steps: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Returns nodes and weights of $\int_0^1 g(t)\,dt \approx \sum_k w_k\,g(t_k)$.

    Args:
        method: `gausslegendre` is exact for polynomials up to degree `2 * steps - 1`;
            the Riemann sums and the trapezoid have equidistant nodes.
        steps: number of nodes.

    Returns:
        Two arrays of shape `(steps,)`; the weights add up to 1.

    Raises:
        ValueError: if there is no such method, or too few steps.

    Example:
        >>> [array.tolist() for array in quadrature("trapezoid", 3)]
        [[0.0, 0.5, 1.0], [0.25, 0.5, 0.25]]
    """
    call = "integrated_gradients"
    check_choice("method", method, get_args(Quadrature), call=call)
    smallest = 2 if method == "trapezoid" else 1
    steps = checked_integer("steps", steps, smallest, call=f"{call}({method=})")
    k = np.arange(steps)
    equal = np.full(steps, 1 / steps)
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    if method == "riemann_left":
        return k / steps, equal
    if method == "riemann_right":
        return (k + 1) / steps, equal
    if method == "riemann_middle":
        return (k + 0.5) / steps, equal
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return k / (steps - 1), weights


def integrated_gradients(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    steps: int = 50,
    method: Quadrature = "gausslegendre",
    batch_size: int | None = None,
    score: Score = logit,
    at: At = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` to the entries of `inputs`.

    $$a_i(x) = (x_i - b_i) \int_0^1 \partial_i f(b + t\,(x - b))\,dt$$

    The integral is a sum over `steps` nodes, so the attributions add up to $f(x) -
    f(b)$ only as `steps` grows: see `convergence_delta`. Time grows with `steps`;
    memory with `batch_size`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation; a function is given
            the activation.
        steps: number of gradients along the path.
        method: quadrature of the integral, see `quadrature`.
        batch_size: how many points of the path to take at once; all of them by default.
        score: which number per example is explained.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function, in the units of `score`; a positive entry raised the
        score.

    Raises:
        ValueError: if `steps` or `batch_size` is not positive, if there is no such
            `method`, or if the baseline does not broadcast. From JAX, if the model has
            a `while` loop whose length is an array among `variables`: steps are
            compiled for any variables, and reverse derivatives need the length. Give
            it as a number, `{"steps": 3}`.

    References:
        Sundararajan et al., 2017, eq. 1 [sundararajan2017axiomatic].

    Example:
        >>> from jaxinterp.objectives import total
        >>> attribute = integrated_gradients(lambda w, x: w * x**2, score=total)
        >>> attribution = attribute(2.0, jnp.array([[1.0, 3.0]]))
        >>> [round(value, 4) for value in attribution[0].tolist()]
        [2.0, 18.0]
    """
    need_score(score)
    nodes, weights = quadrature(method, steps)

    def step(context: Any, point: Any) -> Any:
        variables, start, difference, target, extra = context
        t, weight = point

        def on_path(b: Any, d: Any) -> Any:
            return b + t.astype(d.dtype) * d

        x = jax.tree.map(on_path, start, difference)
        model = apply_fn if at is None else _from_site(apply_fn, at, variables, extra)
        back = Backward(model, variables, x, _DERIVATIVE, None)
        batch = examples_in(x if at is None else extra)
        slope = back(score_seed(score, back.outputs, target, False, batch))
        return jax.tree.map(lambda g: weight.astype(g.dtype) * g, slope)

    sum_over = summed(step, batch_size=batch_size, name="integrated_gradients")

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        check_inputs(inputs, at)
        check_target(lambda x: score(apply_fn(variables, x), target), inputs, target)
        explained, extra = inputs, None
        if at is not None:
            encode, _ = split(apply_fn, _one_site(apply_fn, at, variables, inputs))
            explained, extra = encode(variables, inputs), inputs
        start = fill_baseline(baseline, explained, key)
        difference = jax.tree.map(jnp.subtract, explained, start)
        context = (variables, start, difference, target, extra)
        slope = sum_over(context, (jnp.asarray(nodes), jnp.asarray(weights)))
        return jax.tree.map(jnp.multiply, difference, slope)

    return attribute


def _from_site(apply_fn: ApplyFn, at: Any, variables: Any, inputs: Any) -> ApplyFn:
    _, decode = split(apply_fn, _one_site(apply_fn, at, variables, inputs))
    return lambda variables, activation: decode(variables, activation, inputs)


def _one_site(apply_fn: ApplyFn, at: Any, variables: Any, inputs: Any) -> str:
    sites = explained_sites(trace_call(apply_fn, variables, inputs).graph, at)
    return the_only_site(sites, at, "integrated_gradients").address
