r"""Patterns: the direction of the signal of every unit, fitted to a stream of inputs.

Data is a mixture, $x = s + d$: of the signal $s$, of which a unit $y = w^\top x$ tells,
and a distractor $d$ that its weights $w$ have to cancel. The pattern $a$ is the
direction of the signal, $s = a y$.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_choice
from jaxinterp.loop.stream import everywhere, first_invalid, over_stream
from jaxinterp.pytree import pytree, static
from jaxinterp.rules.pattern import TwoComponents
from jaxinterp.tracing.call import Traced, trace_call
from jaxinterp.tracing.facts.axes import feature_axes
from jaxinterp.tracing.graph import AFFINE, Node
from jaxinterp.tracing.layer.layer import Layer
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.types import ApplyFn, Inputs, Variables

# Over which inputs of a unit its pattern is fitted.
Estimator = Literal["relu.positive", "relu.negative", "linear", "two_component"]


class Moments(NamedTuple):
    """Means and co-moments of the inputs and the outputs of a site's units.

    Numbers of units have the axes of the result of the contraction, with size 1 but for
    those of the units.

    Attributes:
        count: the number of positions at which outputs were seen, a scalar.
        mean: the mean of the output of each unit, without its bias.
        regime_count: the number of positions at which a unit was in the regime.
        regime_mean: the mean of the output of each unit in the regime.
        input_mean: the mean of each input of each unit in the regime, like the kernel.
        comoment: the sum of the products of the distances of input and output from
            their means in the regime, like the kernel.
    """

    count: Any
    mean: Any
    regime_count: Any
    regime_mean: Any
    input_mean: Any
    comoment: Any


@pytree
class FittedPatterns:
    """Patterns of the affine sites of a model, and what a later call goes on with.

    Attributes:
        patterns: for the address of each site, an array like its kernel, with all
            scales around it (batch norm) multiplied in; in units of the input of the
            site per unit of its output. By `"two_component"` they are
            `rules.TwoComponents`, but for the last affine map.
        moments: for each address, the moments of inputs and outputs, or two of them.
        estimator: the argument of `fit_patterns`.
    """

    patterns: dict[str, Any]
    moments: dict[str, Moments | TwoComponents]
    estimator: Estimator = static()

    @property
    def silent_units(self) -> dict[str, list[int]]:
        """The numbers of the units of each site that never were in the regime.

        Nothing is known of what makes them fire, and their pattern is zero. For all
        other units that vary, weights times pattern add up to one. Of two components
        the positive one counts.
        """
        moments = {
            a: m.positive if isinstance(m, TwoComponents) else m
            for a, m in self.moments.items()
        }
        counts = {a: np.asarray(m.regime_count) for a, m in moments.items()}
        silent = {a: np.flatnonzero(count == 0) for a, count in counts.items()}
        return {a: numbers.tolist() for a, numbers in silent.items()}


def fit_patterns(
    apply_fn: ApplyFn,
    variables: Variables,
    batches: Iterable[Inputs],
    *,
    estimator: Estimator = "relu.positive",
    resume: FittedPatterns | None = None,
    progress: bool = True,
) -> FittedPatterns:
    r"""Fits the direction of the signal of every unit to a stream of inputs.

    $$a = \frac{c}{w^\top c}, \qquad c = E_r[x y] - E_r[x]\,E[y]$$

    $E_r$ is a mean over the inputs in a regime $r$: all for `"linear"`, where $c$ is
    the covariance of input and output; those with a positive output for
    `"relu.positive"`, which a relu lets pass; the others for `"relu.negative"`.
    `"two_component"` fits both of these, and each unit is explained by that of its
    sign: for outputs that no relu cuts at once, as in residual networks, or for other
    activations. Where a relu does cut them, it is the same as `"relu.positive"`. The
    output is that of the site, with bias and batch norm; what is added to it later, in
    a residual network, plays no part. The last affine map, whose output no relu cuts,
    is always fitted to all inputs. A unit that never enters the regime, or does not
    vary, has a pattern of zeros.

    A unit of a convolution is fitted to all positions of all images, with the patches
    that it reads there; patches are never laid out. Moments are centered and merged
    batch by batch, so that a mean far from zero costs few digits. Memory: a few arrays
    like the weights, and the activations of one batch.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        variables: the weights of the model.
        batches: the inputs of the model, arrays or pytrees of arrays, with the examples
            on the first axis.
        estimator: over which inputs of a unit its pattern is fitted.
        resume: the result of an earlier call, to go on from.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        Patterns by address, for `pattern_net` and `pattern_attribution`, and the state
        to go on from.

    Raises:
        BatchAxisError: if it cannot be told along which axis examples lie.
        FloatingPointError: if an activation is not finite; names the batch.
        TypeError: if a batch is not an array, or `resume` is no `FittedPatterns`.
        ValueError: if there is no estimator of that name, no affine site or no batch;
            if a site is in a loop, or written as single products with weights; if
            `resume` is of another model or estimator.

    References:
        Kindermans et al., 2018, section 4 [kindermans2018learning]; Haufe et al., 2014
        (linear) [haufe2014interpretation]; Chan et al., 1983 (moments of two samples
        together) [chan1983algorithms].

    Example:
        >>> data = ji.data.linear_distractor(jax.random.key(0), 4000)
        >>> w = data.optimal_filter[:, None]
        >>> fitted = fit_patterns(lambda w, x: x @ w, w, [data.inputs])
        >>> (pattern,) = fitted.patterns.values()
        >>> [round(abs(float(a)), 1) for a in pattern[:, 0]]
        [1.0, 0.0]
    """
    check_choice("estimator", estimator, get_args(Estimator), call="fit_patterns")

    def start(examples: Any) -> tuple[Any, FittedPatterns]:
        shapes = jax.eval_shape(
            lambda v, x: _empty(affine_layers(apply_fn, v, x), estimator),
            variables,
            examples,
        )
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        if resume is not None:
            _check_resume(resume, state)
            state = resume

        def step(state: FittedPatterns, variables: Any, examples: Any, n: Any) -> Any:
            layers = affine_layers(apply_fn, variables, examples)
            return _next_state(state, layers, n)

        jitted = jax.jit(step, out_shardings=everywhere(examples))

        def update(state: FittedPatterns, examples: Any, count: Any) -> Any:
            return jitted(state, variables, examples, count)

        return update, state

    return over_stream(
        *("fit_patterns", batches, start),
        constants=variables,
        invalid="not finite",
        name="patterns" if progress else "",
        is_tree=True,
    )


# --- The sites of a model -------------------------------------------------------------


def affine_layers(
    apply_fn: ApplyFn, variables: Variables, inputs: Inputs
) -> list[Layer]:
    """Returns the affine sites of a model with the arrays of one run.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        variables: the weights of the model.
        inputs: a batch.

    Raises:
        ValueError: if there is none, or one that no patterns can be fitted to.
    """
    traced = trace_call(apply_fn, variables, inputs)
    nodes = [n for n in traced.graph.nodes if n.role in AFFINE and not n.is_dead]
    if not nodes:
        raise ValueError(
            "fit_patterns: the model has no affine site (convolution or dense layer), "
            f"and so no pattern. Its sites: {', '.join(list(traced.graph.sites)[:8])}."
        )
    for node in nodes:
        _check_node(traced, node)
    weights = {
        n: [v for v in n.weights if v not in traced.graph.program.constants]
        for n in nodes
    }
    values = {v for n in nodes for v in (*n.inputs, *n.outputs, *weights[n])}
    _, arrays = traced.run(Changes(captures=frozenset(values)))
    return [
        Layer(
            n,
            tuple(arrays[v] for v in n.inputs),
            {v: arrays[v] for v in weights[n]},
            arrays[n.outputs[0]],
        )
        for n in nodes
    ]


def _check_node(traced: Traced, node: Node) -> None:
    reason = ""
    if node.flow.program is not traced.graph.program:
        reason = "is inside a loop or branch"
    elif node.products or node.kernel is None:
        reason = "is written as single products with weights"
    if reason:
        raise ValueError(
            f"fit_patterns: {node.address!r} ({node.line})\n{reason}, and patterns are "
            "fitted to convolutions and dense layers outside of loops.\nWrite it as "
            "one of these, or use `attribution.lrp`."
        )


# --- Moments --------------------------------------------------------------------------


def _regimes_of(layer: Layer, estimator: Estimator) -> tuple[Estimator, ...]:
    """The regimes in which the units of a site are fitted."""
    if layer.node.is_last:
        return ("linear",)
    is_single = estimator != "two_component"
    return (estimator,) if is_single else ("relu.positive", "relu.negative")


def _joined(parts: list[Any]) -> Any:
    """What there is for each regime, as it is kept for a site."""
    return parts[0] if len(parts) == 1 else TwoComponents(*parts)


class Units:
    """The units of a site: their axes in its result, and their place in its kernel.

    Attributes:
        contraction: the convolution or matrix product of the site.
        positions: the axes of the result that number no units.
        shape: the shape of one number for each unit.
    """

    def __init__(self, layer: Layer):
        contraction = layer.contraction
        assert contraction is not None, "checked by `_check_node`"
        self.contraction = contraction
        axes = feature_axes(contraction.equation, 1 - contraction.side)
        shape = contraction.shape
        self.positions = tuple(i for i in range(len(shape)) if i not in axes)
        self.shape = tuple(n if i in axes else 1 for i, n in enumerate(shape))

    def total(self, result: Any) -> Any:
        """Sums an array like the result over all positions."""
        return result.sum(self.positions, keepdims=True)

    def in_kernel(self, numbers: Any) -> Any:
        """Lays one number of each unit out like the kernel."""
        return jnp.broadcast_to(
            self.contraction.along_kernel(numbers, incoming=False),
            self.contraction.kernel.shape,
        )

    def sum_of(self, kernel: Any) -> Any:
        """Sums an array like the kernel over the inputs of each unit."""
        spec = jax.ShapeDtypeStruct(self.shape, kernel.dtype)
        return jax.linear_transpose(self.in_kernel, spec)(kernel)[0]


def _empty(layers: list[Layer], estimator: Estimator) -> FittedPatterns:
    """The state before the first batch; only its shapes and dtypes are of use."""
    moments, patterns = {}, {}
    for layer in layers:
        zero = jnp.zeros((), layer.dtype)
        unit = jnp.zeros(Units(layer).shape, layer.dtype)
        kernel = jnp.zeros(layer.kernel.shape, layer.dtype)
        empty = Moments(zero, unit, unit, unit, kernel, kernel)
        address, n = layer.node.address, len(_regimes_of(layer, estimator))
        moments[address], patterns[address] = (
            _joined([empty] * n),
            _joined([kernel] * n),
        )
    return FittedPatterns(patterns, moments, estimator)


def _next_state(
    state: FittedPatterns, layers: list[Layer], count: Any
) -> tuple[FittedPatterns, Any]:
    """The state after one more batch, and which example has an invalid activation."""
    moments, patterns, invalid = {}, {}, []
    for layer in layers:
        address, units = layer.node.address, Units(layer)
        before = state.moments[address]
        parts = [
            _merged(units, one, _moments(layer, units, regime, count))
            for regime, one in zip(
                _regimes_of(layer, state.estimator),
                before if isinstance(before, TwoComponents) else (before,),
                strict=True,
            )
        ]
        moments[address] = _joined(parts)
        patterns[address] = _joined([_pattern(layer, units, part) for part in parts])
        invalid.append(_is_invalid(layer))
    at = first_invalid(jnp.stack(invalid), count)
    return FittedPatterns(patterns, moments, state.estimator), at


def _examples(layer: Layer) -> tuple[int, int]:
    """The axis of the examples in the output of a site, and their number."""
    output, flow = layer.node.outputs[0], layer.node.flow
    axis = layer.batch_axis(output, "fit_patterns", or_merged=True)
    return axis, next(v for v in flow.program.inputs if v in flow.active).shape[0]


def _is_invalid(layer: Layer) -> Any:
    """Whether the output for each example is not finite, `(examples,)`."""
    axis, examples = _examples(layer)
    # If other axes are merged into that of the examples, the examples are outermost.
    rows = jnp.moveaxis(layer.output, axis, 0).reshape(examples, -1)
    return ~jnp.isfinite(rows).all(axis=1)


def _regimes(layer: Layer, regime: Estimator, count: Any) -> tuple[Any, Any]:
    """Which results are of a real example, and which of these in the regime."""
    axis, examples = _examples(layer)
    z = layer.z
    merged = z.shape[axis] // examples
    shape = [-1 if i == axis else 1 for i in range(z.ndim)]
    is_real = (jnp.arange(z.shape[axis]) // merged < count).reshape(shape)
    is_in = is_real
    if regime != "linear":
        is_in = is_real & ((z > 0) if regime == "relu.positive" else (z <= 0))
    # A step of layout may repeat results; each counts once.
    repeats = layer.inverse_layout(jnp.ones(z.shape, layer.dtype))
    real, chosen = (
        layer.inverse_layout(jnp.broadcast_to(m, z.shape).astype(layer.dtype)) / repeats
        for m in (is_real, is_in)
    )
    return real, chosen


def _moments(layer: Layer, units: Units, regime: Estimator, count: Any) -> Moments:
    """The moments of one batch.

    A sum over positions of input times a number of the result is the derivative in the
    kernel, so that patches need not be laid out.
    """
    y, sums = jax.vjp(lambda k: units.contraction(layer.x, k), layer.kernel)
    real, chosen = _regimes(layer, regime, count)
    n_positions = units.total(real)
    mean = units.total(real * y) / n_positions
    n = units.total(chosen)
    some = jnp.maximum(n, 1)
    regime_mean = units.total(chosen * y) / some
    input_mean = sums(chosen)[0] / units.in_kernel(some)
    distance = chosen * (y - regime_mean)
    rounding = units.total(distance)  # zero but for rounding
    comoment = sums(distance)[0] - input_mean * units.in_kernel(rounding)
    return Moments(n_positions.max(), mean, n, regime_mean, input_mean, comoment)


def _merged(units: Units, one: Moments, other: Moments) -> Moments:
    """The moments of two sets of inputs together."""
    count = one.count + other.count
    n = one.regime_count + other.regime_count
    share = other.regime_count / jnp.maximum(n, 1)
    difference = other.regime_mean - one.regime_mean
    input_difference = other.input_mean - one.input_mean
    between = units.in_kernel(difference * share * one.regime_count)
    return Moments(
        count,
        one.mean + (other.mean - one.mean) * (other.count / count),
        n,
        one.regime_mean + difference * share,
        one.input_mean + input_difference * units.in_kernel(share),
        one.comoment + other.comoment + input_difference * between,
    )


def _pattern(layer: Layer, units: Units, moments: Moments) -> Any:
    """The pattern of each unit, like the kernel."""
    kernel, laid_out = layer.kernel, units.in_kernel
    n = jnp.maximum(moments.regime_count, 1)
    shift = moments.regime_mean - moments.mean
    c = moments.comoment / laid_out(n) + moments.input_mean * laid_out(shift)
    along = units.sum_of(kernel * c)
    # What rounding leaves of a unit that does not vary is no direction.
    epsilon = 16 * jnp.finfo(c.dtype).eps
    far = jnp.abs(moments.input_mean * laid_out(moments.regime_mean))
    noise = epsilon * jnp.abs(c) + epsilon**2 * far
    is_known = jnp.abs(along) > units.sum_of(jnp.abs(kernel) * noise)
    scale = jnp.where(is_known, 1 / jnp.where(is_known, along, 1), 0)
    return c * laid_out(scale)


def _check_resume(resume: Any, expected: FittedPatterns) -> None:
    if not isinstance(resume, FittedPatterns):
        raise TypeError(
            "`resume` is what an earlier call returned, and is "
            f"{type(resume).__name__}."
        )

    def description(fitted: FittedPatterns) -> str:
        sites = (
            f"{a} {list(jax.tree.leaves(p)[0].shape)}"
            for a, p in sorted(fitted.patterns.items())
        )
        return f"{fitted.estimator!r} of {', '.join(sites)}"

    before, now = description(resume), description(expected)
    if before != now:
        raise ValueError(
            f"`resume` is for {before},\nand this call for {now}.\n"
            "Go on with the arguments of the earlier call."
        )
