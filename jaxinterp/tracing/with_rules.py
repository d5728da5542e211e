"""`with_rules`: a model with the same values and another backward pass.

Every node that has a rule becomes one `jax.custom_vjp`, whose backward pass is the
rule; everything else runs as the user wrote it. The backward pass is therefore
`jax.vjp`, and loops, rematerialization, `vmap`, sharding and higher derivatives work
because JAX does them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.compat import has_custom_derivative
from jaxinterp.tracing.errors import CompositeError
from jaxinterp.tracing.graph import Graph, Node
from jaxinterp.tracing.layer.layer import (
    Layer,
    contraction_of,
    is_pooling,
    received_by,
)
from jaxinterp.tracing.layer.strided_convolution import strided_convolution
from jaxinterp.tracing.program.evaluate import Changes, Replacement
from jaxinterp.tracing.program.program import Constant, Program, Value
from jaxinterp.types import ApplyFn, Inputs, Variables


@runtime_checkable
class BackwardRule(Protocol):
    """How relevance, or a gradient, goes back through one site."""

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns what each input of the site receives: an array, or a tuple."""
        ...


@runtime_checkable
class Resolvable(Protocol):
    """What `with_rules` needs of a composite."""

    def resolve(self, graph: Graph) -> Mapping[Node, BackwardRule | None]:
        """Returns the rule of every node; with `None` it keeps its own derivative."""
        ...


class Meter(Value):
    """An extra input of a node, whose cotangent is a measurement of the node's rule.

    Attributes:
        program: the program of the node, or the body of the loop that it is in.
    """

    __slots__ = ("program",)

    def __init__(self, program: Program, shape: tuple[int, ...], dtype: Any):
        super().__init__(jax.ShapeDtypeStruct(shape, dtype))
        self.program = program


# (rule, layer, relevance of the output, relevance of each input) -> a measurement.
Gauge = Callable[[Any, Layer, Any, tuple[Any, ...]], Any]


def with_rules(apply_fn: ApplyFn, composite: Resolvable) -> ApplyFn:
    """Gives each site of a model its own rule for going backward.

    The values do not change. Under `jax.vjp`, `jax.grad` and what is built on them, the
    cotangent that reaches a site goes on to its inputs by the site's rule. The function
    is meant to be differentiated in its inputs: a rule sends nothing to the weights
    that its site reads, so their cotangents are those of the sites without a rule
    alone.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        composite: which site gets which rule, such as `rules.epsilon_plus()`.

    Returns:
        A function like `apply_fn`.

    Raises:
        CompositeError: if `composite` is something else than a composite.
        RuleResultError: in the backward pass, if a rule does not return one array for
            each input of its site.

    Example:
        >>> from jaxinterp import rules
        >>> deconvolved = with_rules(lambda w, x: jax.nn.relu(w * x), rules.deconvnet())
        >>> x = jnp.array([-1.0, 2.0])
        >>> jax.grad(lambda x: deconvolved(1.0, x).sum())(x).tolist()
        [1.0, 1.0]
    """
    if not isinstance(composite, Resolvable):
        call = "with_rules(apply_fn, jaxinterp.rules.epsilon_plus())"
        raise CompositeError(composite, call)

    @functools.wraps(apply_fn)
    def ruled(variables: Variables, inputs: Inputs, *args: Any, **kwargs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        outputs, _ = traced.run(rule_changes(composite.resolve(traced.graph)))
        return outputs

    return ruled


def rule_changes(
    rules: Mapping[Node, BackwardRule | None],
    meters: Mapping[Node, Meter] | None = None,
    gauge: Gauge | None = None,
) -> Changes:
    """Returns the changes that give every node its rule.

    Args:
        rules: the rule of each node. Nodes with `None` run as they are; only max
            pooling and strided convolutions of images get their derivative in a faster
            form.
        meters: for each node to be measured, the input whose cotangent is to be the
            measurement.
        gauge: what to measure: a function of the rule, the layer, the relevance of the
            output and the relevance of each input.
    """
    meters = meters or {}
    replaced: dict[tuple[Program, int], Replacement] = {}
    skipped: set[tuple[Program, int]] = set()
    ruled = {node for node, rule in rules.items() if rule is not None} | set(meters)
    by_output = {node.outputs[0]: node for node in rules if node.outputs}
    for node, rule in rules.items():
        program = node.flow.program
        if node not in ruled:
            faster = _faster_form(node)
            if faster and not _has_derivative_of_its_own(node, ruled):
                replaced[(program, faster.index)] = faster.replacement
            continue
        first = by_output.get(node.twin) if node.twin is not None else None
        if first is not None and _is_rectified_once(rule, rules[first]):
            replaced[(program, node.equations[-1])] = _copy_of(first.outputs[0])
        else:
            replaced[(program, node.equations[-1])] = _replacement(
                node, rule, meters.get(node), gauge
            )
        skipped.update((program, index) for index in node.equations[:-1])
    return Changes(replaced=replaced, skipped=frozenset(skipped))


def _is_rectified_once(
    rule: BackwardRule | None, of_first: BackwardRule | None
) -> bool:
    """Whether a rule treats what comes to a value and to its twin together.

    Rules for activations rectify the sum of what comes: so does it count how often the
    same value is computed.
    """
    return getattr(rule, "of_activations", False) and rule == of_first


def _copy_of(value: Value) -> Replacement:
    return lambda env: (env[value],)


class _Faster(NamedTuple):
    """What takes the place of one equation, with the same derivative."""

    index: int
    replacement: Replacement


def _faster_form(node: Node) -> _Faster | None:
    """A node whose derivative is computed in a faster form, if there is one."""
    if is_pooling(node):
        return _Faster(node.equations[-1], _replacement(node, None, None, None))
    contraction = contraction_of(node)
    if contraction is None or not contraction.has_faster_transpose:
        return None
    assert node.kernel is not None, "that of the contraction"
    site = strided_convolution(contraction)

    def replacement(env: Mapping[Value, Any]) -> tuple[Any, ...]:
        inputs = contraction.equation.inputs
        x, kernel = (
            atom.value if isinstance(atom, Constant) else env[atom]
            for atom in (inputs[contraction.side], inputs[1 - contraction.side])
        )
        return (site(x, kernel),)

    return _Faster(node.kernel, replacement)


def _has_derivative_of_its_own(node: Node, ruled: set[Node]) -> bool:
    """Whether a node is in a call with a custom derivative that no rule replaces."""
    program, at = node.flow.program, node.equations[-1]
    return any(
        call.start <= at < call.stop
        and has_custom_derivative(call.equation.origin)
        and not any(
            other.flow.program is program
            and call.start <= other.equations[-1] < call.stop
            for other in ruled
        )
        for call in program.calls
    )


def _replacement(
    node: Node, rule: BackwardRule | None, meter: Meter | None, gauge: Gauge | None
) -> Replacement:
    # A flat list, because newer calls of JAX accept no pytree that lacks a cotangent.
    weights = tuple(v for v in node.weights if v not in node.flow.program.constants)
    n_inputs = len(node.inputs)

    def parts(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[Value, Any]]:
        constants = args[n_inputs : n_inputs + len(weights)]
        return args[:n_inputs], dict(zip(weights, constants, strict=True))

    def compute(*args: Any) -> Any:
        inputs, constants = parts(args)
        return Layer(node, inputs, constants, None)(*inputs)

    def forward(*args: Any) -> Any:
        # Not `site`: an explanation is differentiated by the function's own derivative.
        output = compute(*args)
        return output, (args, output)

    def backward(residuals: Any, relevance: Any) -> Any:
        args, output = residuals
        layer = Layer(node, *parts(args), output)
        received = apply_rule(rule, layer, relevance)
        reading = ()
        if gauge is not None and meter is not None:
            reading = (gauge(rule, layer, relevance, received),)
        return *received, *(None for _ in weights), *reading

    site = jax.custom_vjp(compute)
    site.defvjp(forward, backward)

    def replacement(env: Mapping[Value, Any]) -> tuple[Any, ...]:
        meters = (meter,) if meter is not None else ()
        return (site(*(env[v] for v in (*node.inputs, *weights, *meters))),)

    return replacement


def apply_rule(
    rule: BackwardRule | None, layer: Layer, relevance: Any
) -> tuple[Any, ...]:
    """Returns what each input of a site receives, in the dtype of that input.

    Args:
        rule: the rule of the site, or `None` for its derivative.
        layer: the site in this pass.
        relevance: the relevance that reaches the output of the site.
    """
    if rule is None or layer.output.size == 0:  # an empty batch has nothing to share
        return layer.pull_back(relevance)
    return received_by(rule, layer, rule(layer, relevance))
