"""DeepLIFT's way back: which step of a model has which multiplier.

A step is an equation, or a node whose spelling must not matter: an activation, a
softmax. Affine steps keep JAX's derivative, which is their multiplier. Every other step
gets a backward pass by its multiplier, which depends on the reference of its input: a
run of the model on the reference captures that first.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.rules.contributions import Contributions, contributions_to
from jaxinterp.rules.multipliers import (
    Multiplier,
    derivative,
    elementwise,
    largest,
    multilinear,
    of_exponentials,
    reveal_cancel,
    scaled,
    smallest,
)
from jaxinterp.tracing import compat
from jaxinterp.tracing.facts.curve import constant_number
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.graph import Graph, Node
from jaxinterp.tracing.layer.layer import Layer
from jaxinterp.tracing.program.evaluate import Changes, Replacement, evaluate_part
from jaxinterp.tracing.program.program import (
    Atom,
    Constant,
    Equation,
    Program,
    Value,
)
from jaxinterp.tracing.with_rules import Meter

# How a difference goes through an activation.
ActivationRule = Literal["rescale", "reveal_cancel", "genomics_default"]

_MOST_FACTORS = 6  # of a product whose order does not matter
_WHOLE = (Role.ACTIVATION, Role.POINTWISE)
_EXPONENTIAL = (Role.SOFTMAX, Role.LOG_SOFTMAX, Role.LOGSUMEXP)
_BASES = {p.exp_p: 1.0, p.exp2_p: float(np.log(2.0))}
_POWERS = (p.integer_pow_p, p.pow_p, p.sqrt_p, p.square_p, p.cbrt_p)
_SMALLEST = (p.min_p, p.reduce_min_p, p.reduce_window_min_p, p.cummin_p)
_LARGEST = (p.max_p, p.reduce_max_p, p.reduce_window_max_p, p.cummax_p)
# One activation among the operands, and these are linear in it.
_LINEAR = frozenset(
    {
        *(Kind.ADDITIVE, Kind.NEGATION, Kind.CAST, Kind.SUM, Kind.TRANSFORM),
        *(Kind.LAYOUT, Kind.MOVE, Kind.SCATTER, Kind.LOOKUP, Kind.CHOICE),
    }
)


class NoMultiplierError(TypeError):
    """DeepLIFT meets a step for which no multiplier is defined."""

    def __init__(self, node: Node, why: str):
        super().__init__(
            f"DeepLIFT has no multiplier for {node.address!r}, of role {node.role}\n"
            f"({node.line}): {why}.\n"
            "Use `integrated_gradients`, which needs no more than a derivative, or "
            "explain\na site after this one with `at=`."
        )


# --- Which step has which multiplier --------------------------------------------------


def multiplier_changes(
    graph: Graph, rule: ActivationRule = "rescale"
) -> tuple[Changes, dict[Value, Meter]]:
    """Returns a backward pass by multipliers, and what it has to know beforehand.

    Args:
        graph: the traced model.
        rule: how a difference goes through an activation.

    Returns:
        The changes; and for each value whose reference they need, the extra input of
        the program through which it comes in.

    Raises:
        NoMultiplierError: if a step has no multiplier.
    """
    replaced: dict[tuple[Program, int], Replacement] = {}
    skipped: set[tuple[Program, int]] = set()
    references: dict[Value, Meter] = {}
    visible: set[Value] = set()
    contributions = _contributions(graph, rule)
    for node in graph.nodes:
        program = node.flow.program
        if node.is_dead:
            continue
        if (of_node := _of_node(node)) is not None:
            step = _node_step(node, of_node, contributions.get(node))
            visible |= step.inner_reads(program)
            last = node.equations[-1]
            replaced[program, last] = step.replacement(program, references)
            skipped.update((program, i) for i in node.equations[:-1])
            continue
        for index in node.equations:
            multiplier = _of_equation(node, index)
            if multiplier is not None:
                step = _equation_step(node, index, multiplier)
                replaced[program, index] = step.replacement(program, references)
            elif _is_in_custom_call(program, index):
                replaced[program, index] = _as_it_is(program, index)
    changes = Changes(frozenset(visible), {}, replaced, frozenset(skipped))
    return changes, references


def _contributions(graph: Graph, rule: ActivationRule) -> dict[Node, Contributions]:
    """What is added up in the inputs of activations that take the signs apart."""
    if rule == "rescale":
        return {}
    only = Role.DENSE if rule == "genomics_default" else None
    found = {}
    for nodes in graph.by_program.values():
        producer = {v: node for node in nodes for v in node.outputs}
        for node in nodes:
            if node.role in _WHOLE and len(node.inputs) == 1 and not node.is_dead:
                found[node] = contributions_to(node.inputs[0], producer, only)
    return {node: parts for node, parts in found.items() if parts is not None}


def _is_in_custom_call(program: Program, index: int) -> bool:
    """Whether an equation is in a call whose derivative the user wrote."""
    calls = (call for call in program.calls if call.has_own_derivative)
    is_inside = any(call.start <= index < call.stop for call in calls)
    return is_inside and not program.equations[index].bodies


def _as_it_is(program: Program, index: int) -> Replacement:
    outputs = program.equations[index].outputs

    def run(env: Mapping[Value, Any]) -> list[Any]:
        result = evaluate_part(program, (index,), {**program.constants, **env})
        return [result[v] for v in outputs]

    return run


def _of_node(node: Node) -> Multiplier | None:
    """The multiplier of a node that is one step; `None` if its equations are steps."""
    if node.role in _WHOLE:
        _check_real(node, node.inputs)
        return elementwise
    if node.role in (Role.QUOTIENT, Role.UNKNOWN):
        why = "it may be part of a softmax, gate or norm in an unusual spelling"
        raise NoMultiplierError(node, why)
    if node.role in (Role.PRODUCT, Role.MATMUL):
        if node.hides_activation:
            raise NoMultiplierError(
                node, "it multiplies an activation by its own input"
            )
        return _of_product(node)
    if node.role not in _EXPONENTIAL:
        return None
    factors = _factors(node) if len(node.inputs) == 1 else None
    if factors is None:
        raise NoMultiplierError(node, "this spelling of a softmax hides its logits")
    return of_exponentials(node.role, *factors)


def _of_product(node: Node) -> Multiplier | None:
    """The multiplier of a chain of products, whose order must not matter."""
    flow = node.flow
    products = [e for e in node.members if len(_slots(flow, e)) > 1]
    if len(products) < 2:
        return None
    if len(node.inputs) > _MOST_FACTORS:
        raise NoMultiplierError(node, f"it has more than {_MOST_FACTORS} factors")
    reads = [v for e in node.members for v in e.values]
    if all(reads.count(v) == 1 for v in node.inputs):
        return multilinear
    if any(v.shape != node.outputs[0].shape for v in node.inputs):
        raise NoMultiplierError(node, "it multiplies one activation more than once")
    return elementwise


def _factors(node: Node) -> tuple[float, float] | None:
    """The factors of the logits in the input, and of a logarithm in the output."""
    flow, (source,) = node.flow, node.inputs
    exponentials = [e for e in node.members if e.primitive in _BASES]
    logarithms = [e for e in node.members if e.primitive is p.log_p]
    raised = {o for e in exponentials for o in e.outputs}
    for equation in node.members:
        is_inverted = equation.primitive is p.integer_pow_p and equation.params["y"] < 0
        is_inverted |= KINDS.get(equation.primitive) is Kind.DIVISION and (
            equation.inputs[0] not in flow.active
        )
        is_power = equation.primitive in _POWERS and not is_inverted
        if is_power or (is_inverted and not raised.isdisjoint(equation.values)):
            return None
    found = {
        _BASES[e.primitive] * factor
        for e in exponentials
        if (factor := _factor(flow, e.inputs[0], source)) is not None
    }
    if len(found) != 1:
        return None
    (rate,) = found
    if node.role is not Role.LOG_SOFTMAX:
        return rate, 1.0
    whole = _factor(flow, node.outputs[0], source)  # past the sum of exponentials
    if whole is not None:
        return rate, whole / rate
    outer = [_factor(flow, node.outputs[0], e.outputs[0]) for e in logarithms]
    return (rate, outer[0]) if len(outer) == 1 and outer[0] is not None else None


def _factor(flow: Flow, value: Atom, source: Value) -> float | None:
    """The factor of a value in another, past shifts; `None` if there is none."""
    if value is source:
        return 1.0
    at = flow.producer.get(value) if isinstance(value, Value) else None
    if at is None or value not in flow.active:
        return None
    equation = flow.program.equations[at]
    kind = KINDS.get(equation.primitive)
    found = [_factor(flow, operand, source) for operand in equation.inputs]
    known = [factor for factor in found if factor is not None]
    if len(known) != 1:
        return None
    (factor,) = known
    if kind in (Kind.CAST, Kind.LAYOUT, Kind.MOVE, Kind.LOOKUP, Kind.CHOICE):
        return factor
    if kind is Kind.NEGATION:
        return -factor
    if kind is Kind.ADDITIVE:
        is_subtracted = equation.primitive is p.sub_p and found[0] is None
        return -factor if is_subtracted else factor
    if kind not in (Kind.MULTIPLICATIVE, Kind.DIVISION):
        return None
    number = constant_number(flow, equation.inputs[found.index(None)])
    if number is None or (kind is Kind.DIVISION and found[0] is None):
        return None
    number = float(number)
    return factor / number if kind is Kind.DIVISION else factor * number


def _slots(flow: Flow, equation: Equation) -> tuple[int, ...]:
    """The positions of the operands that depend on the input."""
    return tuple(i for i, v in enumerate(equation.inputs) if v in flow.active)


def _of_equation(node: Node, index: int) -> Multiplier | None:
    """The multiplier of an equation; `None` if its derivative is its multiplier."""
    flow = node.flow
    equation = flow.program.equations[index]
    slots = _slots(flow, equation)
    if not slots or not any(o.is_inexact for o in equation.outputs):
        return None
    kind = KINDS.get(equation.primitive)
    if kind is Kind.LOOP:
        if equation.primitive is p.cond_p and 0 in slots:
            raise NoMultiplierError(node, "which branch is taken depends on the input")
        return None
    inputs = [v for v in equation.values if v in flow.active]
    if kind is Kind.CHOICE and _asks_for_nan(flow, equation.inputs[0]):
        return None
    if not all(v.is_inexact for v in inputs):
        raise NoMultiplierError(node, "it chooses by values that depend on the input")
    found = _by_kind(kind, equation, slots)
    statistics = [
        i for i, slot in enumerate(slots) if equation.inputs[slot] in node.statistics
    ]
    if len(slots) == 2 and len(statistics) == 1 and kind not in _LINEAR:
        found = functools.partial(scaled, statistic=statistics[0])
    if found is None:
        name = equation.primitive.name
        raise NoMultiplierError(node, f"{name} is neither linear nor elementwise")
    if found is derivative:
        return None
    _check_real(node, inputs)
    return found


def _asks_for_nan(flow: Flow, value: Atom) -> bool:
    """Whether a truth value only says which numbers are none."""
    at = flow.producer.get(value) if isinstance(value, Value) else None
    if at is None:
        return False
    equation = flow.program.equations[at]
    if equation.primitive is p.is_finite_p:
        return True
    if equation.primitive is p.ne_p:
        return equation.inputs[0] is equation.inputs[1]
    if KINDS.get(equation.primitive) is not Kind.LAYOUT:
        return False
    return _asks_for_nan(flow, equation.inputs[0])


def _check_real(node: Node, inputs: Sequence[Value]) -> None:
    if any(jnp.issubdtype(v.dtype, jnp.complexfloating) for v in inputs):
        raise NoMultiplierError(node, "it is not linear, and of complex numbers")


def _by_kind(
    kind: Kind | None, equation: Equation, slots: tuple[int, ...]
) -> Multiplier | None:
    """The multiplier of a primitive; `derivative` where JAX's own one is it."""
    n_active = len(slots)
    is_quotient_linear = kind is Kind.DIVISION and slots == (0,)
    if kind in _LINEAR or is_quotient_linear:
        return derivative
    if kind in (Kind.MULTIPLICATIVE, Kind.KERNEL):
        return multilinear if n_active == 2 else derivative
    if kind is Kind.PICK or (kind is Kind.EXTREMUM and n_active == 2):
        if equation.primitive in _LARGEST:
            return largest
        return smallest if equation.primitive in _SMALLEST else None
    if kind in (Kind.ELEMENTWISE, Kind.EXTREMUM, Kind.DIVISION) and n_active <= 2:
        return elementwise
    return None


# --- A step with another way back -----------------------------------------------------


def _same(output: Any) -> Any:
    return output


@dataclasses.dataclass(frozen=True)
class _Step:
    """An equation, or all of a node.

    Attributes:
        inputs: the values that differ from the reference.
        others: what else the step reads.
        compute: the step, a function of its inputs and of the arrays of the others.
        multiplier: how a difference goes through it.
        unmoved: a function that brings the output into the layout of the input.
        parts: of what the only input is the sum, if the multiplier takes that apart.
    """

    inputs: Sequence[Value]
    others: Sequence[Atom]
    compute: Callable[[tuple[Any, ...], tuple[Any, ...]], Any]
    multiplier: Multiplier
    unmoved: Callable[[Any], Any] = _same
    parts: Contributions | None = None

    def inner_reads(self, program: Program) -> frozenset[Value]:
        """What the step reads inside of earlier calls, which have to show it."""
        if self.parts is None:
            return frozenset()
        inside = {
            v
            for call in program.calls
            for e in program.equations[call.start : call.stop]
            for v in e.outputs
        }
        return self.parts.reads & inside

    def replacement(self, program: Program, references: Any) -> Replacement:
        """Returns what runs instead: the same values, and back by the multiplier.

        Args:
            program: the program of the step.
            references: the extra input of each value; those of the step are added.
        """
        ends = self.parts.ends if self.parts else ()
        for v in (*self.inputs, *ends):
            references.setdefault(v, Meter(program, v.shape, v.dtype))
        n = len(self.inputs) + (self.parts is not None)

        # Flat arguments, because newer JAX accepts no pytree that lacks a cotangent.
        def step(*args: Any) -> Any:
            return self.compute(args[:n], args[2 * n :])

        def forward(*args: Any) -> Any:
            return step(*args), args

        def backward(args: tuple[Any, ...], cotangent: Any) -> tuple[Any, ...]:
            xs, refs, ws = args[:n], args[n : 2 * n], args[2 * n :]

            def f(*xs: Any) -> Any:
                return self.unmoved(self.compute(xs, ws))

            _, pull = jax.vjp(self.multiplier(f, xs, refs), *xs)
            return *pull(self.unmoved(cotangent)), *(None for _ in (*refs, *ws))

        ruled = jax.custom_vjp(step)
        ruled.defvjp(forward, backward)

        def run(env: Mapping[Value, Any]) -> tuple[Any, ...]:
            xs = [env[v] for v in self.inputs]
            refs = [env[references[v]] for v in self.inputs]
            if self.parts is not None:
                size = self.parts.size(env, references)
                xs, refs = [*xs, size], [*refs, jnp.zeros_like(size)]
            others = (
                v.value if isinstance(v, Constant) else env[v] for v in self.others
            )
            return (ruled(*xs, *refs, *others),)

        return run


def _equation_step(node: Node, index: int, multiplier: Multiplier) -> _Step:
    equation = node.flow.program.equations[index]
    slots = _slots(node.flow, equation)

    def compute(xs: tuple[Any, ...], others: tuple[Any, ...]) -> Any:
        operands = list(others)
        for slot, x in zip(slots, xs, strict=True):
            operands.insert(slot, x)
        with compat.equation_context(equation.origin, equation.scope):
            (output,) = compat.bind(equation.primitive, operands, equation.params)
        return output

    others = [v for i, v in enumerate(equation.inputs) if i not in slots]
    inputs = [
        v for v in equation.inputs if isinstance(v, Value) and v in node.flow.active
    ]
    return _Step(inputs, others, compute, multiplier)


def _node_step(
    node: Node, multiplier: Multiplier, parts: Contributions | None
) -> _Step:
    constants = node.flow.program.constants
    weights = [v for v in node.weights if v not in constants]

    def compute(xs: tuple[Any, ...], others: tuple[Any, ...]) -> Any:
        xs = xs[: len(node.inputs)]  # without the size of contributions
        return Layer(node, xs, dict(zip(weights, others, strict=True)), None)(*xs)

    if node.role in (Role.SOFTMAX, Role.LOG_SOFTMAX):
        unmoved = Layer(node, (), {}, None).before_layout
        return _Step(node.inputs, weights, compute, multiplier, unmoved)
    if parts is not None:
        return _Step(node.inputs, weights, compute, reveal_cancel, parts=parts)
    return _Step(node.inputs, weights, compute, multiplier)
