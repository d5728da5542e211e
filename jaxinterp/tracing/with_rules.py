"""`with_rules`: the same values, another backward pass.

Every node that has a rule becomes one `jax.custom_vjp`, whose backward pass is the
rule; everything else runs as the user wrote it. Going backward therefore is `jax.vjp`,
and loops, rematerialization, `vmap`, sharding and higher derivatives work because JAX
does them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.compat import has_custom_derivative
from jaxinterp.tracing.errors import CompositeError
from jaxinterp.tracing.graph import Graph, Node
from jaxinterp.tracing.layer.layer import Layer, is_pooling, received_by
from jaxinterp.tracing.program.evaluate import Changes, Replacement
from jaxinterp.tracing.program.program import Program, Value
from jaxinterp.types import ApplyFn


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
        """Returns the rule of every node; `None` leaves its own derivative."""
        ...


class Meter(Value):
    """An extra input of a node, whose cotangent is what a gauge reads off its rule."""

    __slots__ = ("home",)

    def __init__(self, home: Program, shape: tuple[int, ...], dtype: Any):
        super().__init__(jax.ShapeDtypeStruct(shape, dtype))
        self.home = home


Gauge = Callable[[Any, Layer, Any, tuple[Any, ...]], Any]


def with_rules(apply_fn: ApplyFn, composite: Resolvable) -> ApplyFn:
    """Gives each site of a model its own rule for going backward.

    The values do not change. Under `jax.vjp`, `jax.grad` and what is built on them, the
    cotangent that reaches a site goes on to its inputs by the site's rule. The function
    is meant to be differentiated in its inputs: a rule sends nothing to the weights
    that its site reads, so their cotangents are those of the sites without a rule
    alone.

    Args:
        apply_fn: the model.
        composite: which site gets which rule.

    Returns:
        A function like `apply_fn`.

    Raises:
        TypeError: if `composite` is none; when called, if a rule does not return one
            array for each input of its site.

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
    def ruled(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
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
        rules: the rule of each node; those with `None` run as they are, but for max
            pooling, whose derivative has a faster form.
        meters: for the nodes to be measured, where the measurement goes.
        gauge: what to measure, from the rule, the layer, and relevance out and in.
    """
    meters = meters or {}
    replaced: dict[tuple[Program, int], Replacement] = {}
    skipped: set[tuple[Program, int]] = set()
    chosen = {node for node, rule in rules.items() if rule is not None} | set(meters)
    for node, rule in rules.items():
        is_faster = is_pooling(node) and not _has_derivative_of_its_own(node, chosen)
        if node not in chosen and not is_faster:
            continue
        program = node.flow.program
        replaced[(program, node.equations[-1])] = _replacement(
            node, rule, meters.get(node), gauge
        )
        skipped.update((program, index) for index in node.equations[:-1])
    return Changes(replaced=replaced, skipped=frozenset(skipped))


def _has_derivative_of_its_own(node: Node, chosen: set[Node]) -> bool:
    """Whether the user gave a call around a node a derivative that nobody replaces."""
    program, at = node.flow.program, node.equations[-1]
    return any(
        call.start <= at < call.stop
        and has_custom_derivative(call.equation.origin)
        and not any(
            other.flow.program is program
            and call.start <= other.equations[-1] < call.stop
            for other in chosen
        )
        for call in program.calls
    )


def _replacement(
    node: Node, rule: BackwardRule | None, meter: Meter | None, gauge: Gauge | None
) -> Replacement:
    # Flat, because JAX's own calls to come take no pytree that lacks a cotangent.
    weights = tuple(v for v in node.weights if v not in node.flow.program.constants)
    count = len(node.inputs)

    def parts(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[Value, Any]]:
        constants = args[count : count + len(weights)]
        return args[:count], dict(zip(weights, constants, strict=True))

    def compute(*args: Any) -> Any:
        inputs, known = parts(args)
        return Layer(node, inputs, known, None)(*inputs)

    def forward(*args: Any) -> Any:
        # Not `site`: the derivative of an explanation is that of the function itself.
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
        rule: the site's rule, or `None` for its derivative.
        layer: the site in this pass.
        relevance: what reaches its output.
    """
    if rule is None or layer.output.size == 0:  # nothing to share in an empty batch
        return layer.pull_back(relevance)
    return received_by(rule, layer, rule(layer, relevance))
