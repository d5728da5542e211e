"""What a person calls an operation: `relu`, `layer_norm`, `attention_scores`."""

from __future__ import annotations

from collections.abc import Mapping

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.program.program import Call, Equation, Value
from jaxinterp.tracing.recognition.grouping import Group

# How many steps may lie between a matrix product and the softmax of its attention,
# and of which kinds.
_MAX_STEPS = 12

_TO_SOFTMAX = (
    *(Kind.LAYOUT, Kind.CAST, Kind.MULTIPLICATIVE, Kind.DIVISION, Kind.CHOICE),
    Kind.ADDITIVE,
)

_OPERATIONS = {
    Role.CONVOLUTION: "conv",
    Role.DENSE: "dense",
    Role.PRODUCT: "mul",
    Role.QUOTIENT: "div",
    Role.EMBEDDING: "embed",
}

_RENAMED = {
    "logistic": "sigmoid",
    "integer_pow": "power",
    "pow": "power",
    "clamp": "clip",
    "div": "reciprocal",
    "select_n": "where",
    "reduce_max": "max",
    "reduce_min": "min",
    "broadcast_in_dim": "broadcast",
    "convert_element_type": "cast",
    "dot_general": "matmul",
    "reduce_window_max": "max_pool",
    "reduce_window_min": "min_pool",
}


def operation(flow: Flow, group: Group, owners: Mapping[int, Group]) -> str:
    """Returns what a person calls the operation of a node.

    Args:
        flow: the program that holds the node.
        group: the equations of the node.
        owners: for the index of each equation that has a node, the node's group.
    """
    equations = [flow.program.equations[i] for i in sorted(group.core)]
    primitives = {equation.primitive for equation in equations}
    if group.role in (Role.ACTIVATION, Role.POINTWISE):
        return _activation_name(flow, group, primitives)
    if group.role is Role.NORMALIZATION:
        return _normalization_name(flow, equations, primitives)
    if group.role is Role.LINEAR:
        return _linear_name(equations, primitives)
    if group.role is Role.MATMUL:
        return _matmul_name(flow, group, owners)
    if group.role in (Role.INDEXING, Role.LOOP, Role.SELECTION, Role.UNKNOWN):
        name = flow.program.equations[group.last].primitive.name
        return _RENAMED.get(name, name)
    return _OPERATIONS.get(group.role, group.role.value)


def _activation_name(flow: Flow, group: Group, primitives: set) -> str:
    for call in reversed(flow.program.calls):  # inner before outer
        is_named = call.name.isidentifier() and not call.name.startswith("_")
        if is_named and _is_body(flow, group, call):
            return call.name
    if p.mul_p in primitives and primitives & {p.erf_p, p.erfc_p, p.tanh_p}:
        return "gelu"
    if {p.logistic_p, p.mul_p} <= primitives:
        return "silu"
    if {p.exp_p, p.log1p_p} <= primitives:
        return "softplus"
    if p.select_n_p in primitives:
        return _choice_name(primitives)
    if primitives == {p.mul_p}:
        return "square"
    if len(primitives) == 1:
        name = str(next(iter(primitives)))
        return "relu" if name == "max" else _RENAMED.get(name, name)
    return "clip" if primitives <= {p.max_p, p.min_p} else "activation"


def _choice_name(primitives: set) -> str:
    rest = {q for q in primitives if KINDS.get(q) not in (Kind.CAST, Kind.LAYOUT)}
    rest -= {p.select_n_p}
    tests = rest & {p.gt_p, p.ge_p, p.lt_p, p.le_p}
    if not tests:
        return "where"
    if rest & {p.exp_p, p.expm1_p}:
        return "elu"
    if rest == tests:
        return "relu"
    return "leaky_relu" if rest == tests | {p.mul_p} else "activation"


def _normalization_name(flow: Flow, equations: list[Equation], primitives: set) -> str:
    if p.reduce_window_sum_p in primitives:
        return "local_response_norm"
    if any(
        e.primitive is p.sub_p and all(v in flow.active for v in e.inputs)
        for e in equations
    ):
        return "layer_norm"
    return "rms_norm" if primitives & {p.rsqrt_p, p.sqrt_p, p.pow_p} else "normalize"


def _linear_name(equations: list[Equation], primitives: set) -> str:
    if p.reduce_window_sum_p in primitives:
        return "avg_pool"
    if p.sub_p in primitives:
        return "center"
    if equations[0].primitive is p.reduce_sum_p:
        return "sum" if len(equations) == 1 else "mean"
    return "cumsum" if p.cumsum_p in primitives else "linear"


def _is_body(flow: Flow, group: Group, call: Call) -> bool:
    inside = range(call.start, call.stop)
    return group.core == {i for i in inside if flow.is_active(i)}


def _matmul_name(flow: Flow, group: Group, owners: Mapping[int, Group]) -> str:
    equation = flow.program.equations[group.last]
    if any(_meets_softmax(flow, owners, v, back=True) for v in equation.values):
        return "attention_output"
    if any(_meets_softmax(flow, owners, v, back=False) for v in equation.outputs):
        return "attention_scores"
    return "matmul"


def _meets_softmax(
    flow: Flow, owners: Mapping[int, Group], value: Value, back: bool
) -> bool:
    """Whether only layout, scaling and masks lie between a value and a softmax."""
    for _ in range(_MAX_STEPS):
        if back:
            neighbors = [flow.producer.get(value, -1)]
        else:
            neighbors = list(flow.readers.get(value, ()))
        neighbors = [index for index in neighbors if index in owners]
        if any(owners[index].role is Role.SOFTMAX for index in neighbors):
            return True
        if not neighbors:
            return False
        equation = flow.program.equations[neighbors[0]]
        if KINDS.get(equation.primitive) not in _TO_SOFTMAX:
            return False
        values = flow.active_inputs(neighbors[0]) if back else equation.outputs
        if len(values) != 1:
            return False
        (value,) = values
    return False
