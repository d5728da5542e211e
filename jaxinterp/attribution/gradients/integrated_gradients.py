"""Attribution along a path: integrated gradients.

$f$ is the score of an example, $x$ its input and $b$ the baseline, the input that means
"nothing here".
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.gradients.path import Line, path_integral
from jaxinterp.checks import check_choice, checked_integer
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.types import ApplyFn, Sites

Quadrature = Literal[
    "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "trapezoid"
]


def quadrature(method: Quadrature, steps: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Returns nodes and weights of $\int_0^1 g(t)\,dt \approx \sum_k w_k\,g(t_k)$.

    Args:
        method: `gausslegendre` is exact for polynomials up to degree `2 * steps - 1`;
            the Riemann sums and the trapezoid have equidistant nodes.
        steps: the number of nodes.

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


@method
def integrated_gradients(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    steps: int = 50,
    method: Quadrature = "gausslegendre",
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` to the entries of `inputs`.

    $$a_i(x) = (x_i - b_i) \int_0^1 \partial_i f(b + t\,(x - b))\,dt$$

    The integral is a sum over `steps` nodes, so the attributions add up to $f(x) -
    f(b)$ only as `steps` grows: see `jaxinterp.metrics.convergence_delta`. Cost:
    `steps` backward passes. Memory grows with `batch_size`, not with `steps`, eagerly
    and under `jit`, `grad` and `vmap`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation, which is also what a
            function receives.
        steps: the number of gradients along the path.
        method: the quadrature of the integral, see `quadrature`.
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
    nodes, weights = quadrature(method, steps)
    return path_integral(
        apply_fn,
        lambda array, key: Line.to(array, baseline, key),
        nodes,
        weights,
        name="integrated_gradients",
        batch_size=batch_size,
        score=score,
        at=at,
    )
