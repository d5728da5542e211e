"""Attribution along a path: integrated gradients.

$f$ is the score of an example, $x$ its input and $b$ the baseline, the input that means
"nothing here".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.backward import (
    Backward,
    changes_after,
    check_path,
    checked_seed,
    shaped,
    the_only_site,
    trace_to_sites,
)
from jaxinterp.attribution.contract import (
    Attribution,
    as_arrays,
    check_inputs,
    check_target,
    checked_call,
    examples_in,
)
from jaxinterp.checks import check_choice, checked_integer
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, gradient_seed, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.pytree import pytree, static
from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.composite import Composite
from jaxinterp.tracing.call import Traced
from jaxinterp.tracing.graph import Site
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.split import check_can_start
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

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
    model, score_fn = explained(apply_fn, score)
    nodes, weights = quadrature(method, steps)

    def step(context: _Path, point: Any) -> Any:
        t, weight = point

        def on_path(b: Any, d: Any) -> Any:
            return b + t.astype(d.dtype) * d

        x = jax.tree.map(on_path, context.start, context.difference)
        n_examples = examples_in(x)
        if context.rest is None:
            back = Backward(model, context.variables, x, _DERIVATIVE, None)
            outputs, pull = back.outputs, back
        else:
            n_examples = context.rest.n_examples
            outputs, pull = context.rest.backward(x)
        seed = checked_seed(
            gradient_seed, score_fn, outputs, context.target, n_examples
        )
        return jax.tree.map(lambda g: weight.astype(g.dtype) * g, pull(seed))

    sum_over = summed(step, batch_size=batch_size, name="integrated_gradients")

    @checked_call
    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        check_inputs(inputs, at, variables)
        rest, start_of = None, inputs
        if at is None:
            check_target(
                lambda x: score_fn(model(variables, x), target), inputs, target
            )
        else:
            rest = _Rest.of(model, variables, inputs, at)
            rest.check_target(score_fn, target, at)
            start_of = rest.activation()
        start = fill_baseline(baseline, start_of, key)
        difference = jax.tree.map(jnp.subtract, start_of, start)
        context = _Path(variables, start, difference, as_arrays(target), rest)
        points = (jnp.asarray(nodes), jnp.asarray(weights))
        slope = sum_over(context, points, difference)
        result = jax.tree.map(jnp.multiply, difference, slope)
        return result if at is None or rest is None else rest.shaped(at, result)

    return attribute


class _Path(NamedTuple):
    """What one point of a path needs to know.

    Attributes:
        variables: the weights of the model.
        start: the baseline, where the path starts.
        difference: the explained array minus the baseline.
        target: what the score needs beside the outputs, such as class indices.
        rest: the model from the explained site on; `None` if the inputs are explained.
    """

    variables: Any
    start: Any
    difference: Any
    target: Any
    rest: _Rest | None


class _Program:
    """A trace, equal to any other trace of the same model at the same site.

    A step is compiled once for arrays of some shapes, and these settle the program.
    """

    def __init__(self, traced: Traced, site: Site):
        self.traced = dataclasses.replace(traced, operands=())
        self.site = site

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program)

    def __hash__(self) -> int:
        return 0


@pytree
class _Rest:
    """A traced model from a site on.

    Attributes:
        operands: the arrays of the traced call.
        program: the trace, and the site.
        n_examples: the number of examples in the batch.
    """

    operands: tuple[Any, ...]
    program: _Program = static()
    n_examples: int = static()

    @classmethod
    def of(cls, model: ApplyFn, variables: Any, inputs: Any, at: Sites) -> _Rest:
        """Traces a model, and finds the one site that is explained."""
        traced, sites = trace_to_sites(model, variables, inputs, at)
        site = the_only_site(sites, at, "integrated_gradients")
        check_can_start(traced.graph, site)
        return cls(traced.operands, _Program(traced, site), examples_in(inputs))

    def run(self, changes: Changes) -> tuple[Any, Any]:
        """Returns the outputs, and the captured values."""
        traced = self.program.traced
        return dataclasses.replace(traced, operands=self.operands).run(changes)

    def shaped(self, at: Sites, result: Any) -> Any:
        """Returns an array at the site, by address if `at` is a glob or a selector."""
        site = self.program.site
        return shaped(at, {site.address: site}, {site.address: result})

    def activation(self) -> Any:
        """Returns the activation at the site."""
        value = self.program.site.value
        return self.run(Changes(captures=frozenset({value})))[1][value]

    def check_target(self, score: Score, target: Target, at: Sites) -> None:
        """Raises what is wrong with a target, or if the score is before the site."""
        traced = self.program.traced
        outputs = [
            jax.ShapeDtypeStruct(o.shape, o.dtype) for o in traced.graph.program.outputs
        ]
        outputs = jax.tree.unflatten(traced.out_tree, outputs)
        check_target(lambda y: score(y, target), outputs, target)
        check_path(traced, [self.program.site.value], score, target, at)

    def backward(self, activation: Any) -> tuple[Any, Callable[[Any], Any]]:
        """Returns the outputs for another activation, and how to go back to it."""
        graph, value = self.program.traced.graph, self.program.site.value
        changes = changes_after(graph, [value], _DERIVATIVE)

        def decode(activation: Any) -> Any:
            edits = {value: lambda _: activation}
            return self.run(dataclasses.replace(changes, edits=edits))[0]

        outputs, pull = jax.vjp(decode, activation)
        return outputs, lambda seed: pull(seed)[0]
