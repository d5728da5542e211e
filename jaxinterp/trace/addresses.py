"""Names the places of a network: the module path, then the operation.

A module that does one thing (`Conv_0`) is the address of that thing; otherwise operations
are counted within their module: `Block_0/relu`, `Block_0/relu_1`. A module that runs again
is `Conv_0@1`. Where the trace has no module paths, the weights that an operation reads give
its name: `layers/0` for what reads `variables["layers"][0]["w"]`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

from jax.extend.core import primitives as p

from jaxinterp.trace.analysis import Flow
from jaxinterp.trace.control import loop_bindings
from jaxinterp.trace.nodes import Draft
from jaxinterp.trace.program import Call, Equation, Program, Value
from jaxinterp.trace.roles import KINDS, Kind, Role

_OPERATIONS = {
    Role.CONVOLUTION: "conv",
    Role.DENSE: "dense",
    Role.PRODUCT: "mul",
    Role.QUOTIENT: "div",
    Role.EMBEDDING: "embed",
}
_RENAMED = {
    "logistic": "sigmoid",
    "select_n": "where",
    "reduce_max": "max",
    "reduce_min": "min",
    "broadcast_in_dim": "broadcast",
    "convert_element_type": "cast",
    "dot_general": "matmul",
    "reduce_window_max": "max_pool",
    "reduce_window_min": "min_pool",
}


@dataclasses.dataclass(frozen=True)
class Named:
    """The address of a draft, and the value that a person means by it.

    Attributes:
        address: module path and operation.
        value: what `capture` returns there.
    """

    address: str
    value: Value


def name_nodes(
    flow: Flow,
    drafts: list[Draft],
    parameters: Mapping[Value, str],
    counts: Counter,
    home: str = "",
) -> tuple[dict[Draft, Named], dict[str, Value]]:
    """Returns the address of every draft, and those of the modules' outputs.

    Args:
        flow: the program.
        drafts: its nodes, in network order.
        parameters: path of the leaf of `variables` that a value is, for its inputs.
        counts: how often each name was given; updated, shared by all bodies.
        home: the module path of the loop that the program is a body of.
    """
    runs = _Runs(flow, parameters)
    names: dict[Draft, Named] = {}
    alone = Counter(
        runs.label(_anchor(d)) for d in drafts if not _is_structural(flow, d)
    )
    modules = _module_outputs(flow, runs, home)
    for draft in drafts:
        label = runs.label(_anchor(draft))
        is_module = (
            alone[label] == 1
            and not _is_structural(flow, draft)
            and label
            and runs.is_leaf(_anchor(draft))
        )
        tag = _tag(flow, draft)
        (*_, value) = flow.program.equations[draft.last].outputs
        if is_module:
            address, value = label, modules.pop(label, value)
        else:
            name = tag or operation(flow, draft)
            address = f"{label}/{name}" if label and not tag else name
        count = counts[address]
        counts[address] += 1
        if count:
            address = f"{address}@{count}" if is_module else f"{address}_{count}"
        names[draft] = Named(address, value)
    taken = {named.address for named in names.values()}
    return names, {k: v for k, v in modules.items() if k not in taken}


def _anchor(draft: Draft) -> int:
    return draft.last if draft.kernel is None else draft.kernel


def _is_structural(flow: Flow, draft: Draft) -> bool:
    outputs = flow.program.equations[draft.last].outputs
    return draft.role is Role.INDEXING or not any(o.is_inexact for o in outputs)


def _tag(flow: Flow, draft: Draft) -> str:
    equation = flow.program.equations[draft.last]
    return equation.params["name"] if equation.primitive is p.name_p else ""


class _Runs:
    """Which call of its module each active equation belongs to."""

    def __init__(self, flow: Flow, parameters: Mapping[Value, str]):
        self.flow = flow
        self.scopes: dict[int, str] = {}
        self.labels: dict[int, dict[str, str]] = {}
        self.parents: set[str] = set()
        self._name_scopes(parameters)
        self._count_runs()

    def _name_scopes(self, parameters: Mapping[Value, str]) -> None:
        for index, equation in enumerate(self.flow.program.equations):
            if self.flow.is_active(index):
                scope = equation.scope or _provenance(self.flow, equation, parameters)
                self.scopes[index] = scope
                pieces = scope.split("/")
                self.parents.update("/".join(pieces[:i]) for i in range(len(pieces)))

    def _count_runs(self) -> None:
        runs: Counter = Counter()
        kernels: dict[str, set] = {}
        previous: set[str] = set()
        for index, scope in self.scopes.items():
            pieces = scope.split("/") if scope else []
            prefixes = ["/".join(pieces[: i + 1]) for i in range(len(pieces))]
            for prefix in prefixes:
                if prefix not in previous:
                    runs[prefix] += 1
                    kernels[prefix] = set()
            if scope and scope not in self.parents:
                weights = self._weights(index)
                if weights & kernels[scope]:
                    runs[scope] += 1
                    kernels[scope] = set()
                kernels[scope] |= weights
            self.labels[index] = {
                s: f"{s}@{runs[s] - 1}" if runs[s] > 1 else s for s in prefixes
            }
            previous = set(prefixes)

    def _weights(self, index: int) -> set[Value]:
        equation = self.flow.program.equations[index]
        if KINDS.get(equation.primitive) is not Kind.KERNEL:
            return set()
        return {v for v in equation.values if v not in self.flow.active}

    def label(self, index: int) -> str:
        """The path of an equation's module, with the number of its run."""
        return self.labels[index].get(self.scopes[index], "")

    def is_leaf(self, index: int) -> bool:
        """Whether the equation's module holds no other module."""
        return self.scopes[index] not in self.parents


def _provenance(flow: Flow, equation: Equation, parameters: Mapping[Value, str]) -> str:
    if KINDS.get(equation.primitive) not in (Kind.KERNEL, Kind.LOOKUP):
        return ""
    for value in equation.values:
        while value not in parameters:
            at = flow.producer.get(value)
            values = flow.program.equations[at].values if at is not None else ()
            if len(values) != 1 or value in flow.active:
                break
            (value,) = values
        if value in parameters and value not in flow.active:
            return parameters[value]
    return ""


def _module_outputs(flow: Flow, runs: _Runs, home: str) -> dict[str, Value]:
    """The last value that leaves each run of each module, in network order."""
    found: dict[str, Value] = {}
    for index, labels in runs.labels.items():
        for output in flow.program.equations[index].outputs:
            if not output.is_inexact:
                continue
            for scope, label in labels.items():
                if home == scope or home.startswith(scope + "/"):
                    continue  # the loop's own module goes on outside of its body
                readers = flow.readers.get(output, ())
                inside = (label in runs.labels.get(r, {}).values() for r in readers)
                if not all(inside):
                    found.pop(label, None)
                    found[label] = output
    return found


def operation(flow: Flow, draft: Draft) -> str:
    """Returns what a person calls the operation of a node.

    Args:
        flow: the program.
        draft: one of its nodes.
    """
    equations = [flow.program.equations[i] for i in sorted(draft.equations)]
    primitives = {equation.primitive for equation in equations}
    if draft.role is Role.ACTIVATION:
        return _activation_name(flow, draft, primitives)
    if draft.role is Role.NORMALIZATION:
        centers = any(
            e.primitive is p.sub_p and all(v in flow.active for v in e.inputs)
            for e in equations
        )
        return "layer_norm" if centers else "rms_norm"
    if draft.role is Role.LINEAR:
        if p.reduce_window_sum_p in primitives:
            return "avg_pool"
        if equations[0].primitive is p.reduce_sum_p:
            return "sum" if len(equations) == 1 else "mean"
        return "cumsum" if p.cumsum_p in primitives else "linear"
    if draft.role is Role.MATMUL:
        return _matmul_name(flow, draft)
    if draft.role in (Role.INDEXING, Role.LOOP, Role.SELECTION, Role.UNKNOWN):
        name = flow.program.equations[draft.last].primitive.name
        return _RENAMED.get(name, name)
    return _OPERATIONS.get(draft.role, draft.role.value)


def _activation_name(flow: Flow, draft: Draft, primitives: set) -> str:
    for call in flow.program.calls:
        if call.name and not call.name.startswith("_") and _is_body(flow, draft, call):
            return call.name
    if primitives & {p.erf_p, p.erfc_p} or {p.tanh_p, p.mul_p} <= primitives:
        return "gelu"
    if {p.logistic_p, p.mul_p} <= primitives:
        return "silu"
    if len(primitives) == 1 and p.max_p not in primitives:
        name = next(iter(primitives)).name
        return _RENAMED.get(name, name)
    if primitives == {p.max_p} or p.select_n_p in primitives:
        return "relu"
    return "clip" if primitives <= {p.max_p, p.min_p} else "activation"


def _is_body(flow: Flow, draft: Draft, call: Call) -> bool:
    inside = range(call.start, call.stop)
    return draft.last in inside and all(
        i in draft.equations for i in inside if flow.is_active(i)
    )


def _matmul_name(flow: Flow, draft: Draft) -> str:
    equation = flow.program.equations[draft.last]
    if any(_meets_softmax(flow, v, back=True) for v in equation.values):
        return "attention_output"
    if any(_meets_softmax(flow, v, back=False) for v in equation.outputs):
        return "attention_scores"
    return "matmul"


def _meets_softmax(flow: Flow, value: Value, back: bool) -> bool:
    """Whether only layout, scaling and masks lie between a value and a softmax."""
    passing = {Kind.LAYOUT, Kind.CAST, Kind.MULTIPLICATIVE, Kind.CHOICE, Kind.ADDITIVE}
    passing |= {Kind.DIVISION} if not back else set()
    for _ in range(12):
        if back:
            at = flow.producer.get(value)
            if at is None:
                return False
        else:
            readers = flow.readers.get(value, ())
            if any(_is_exponential(flow, r) for r in readers):
                return True
            at = min((r for r in readers if r >= 0), default=None)
            if at is None:
                return False
        equation = flow.program.equations[at]
        if back and equation.primitive is p.div_p:
            return any(
                flow.program.equations[flow.producer[v]].primitive is p.exp_p
                for v in equation.values
                if v in flow.producer
            )
        if KINDS.get(equation.primitive) not in passing | {Kind.PICK}:
            return _is_exponential(flow, at)
        if back:
            sources = flow.active_inputs(at)
            if len(sources) != 1:
                return False
            (value,) = sources
        elif KINDS.get(equation.primitive) is Kind.PICK:
            return True  # the maximum that a softmax takes off
        else:
            value = equation.outputs[0]
    return False


def _is_exponential(flow: Flow, index: int) -> bool:
    return index >= 0 and flow.program.equations[index].primitive is p.exp_p


def parameter_paths(program: Program, leaves: Mapping[Value, str]) -> dict[Value, str]:
    """Returns the path of the parameter that each input of a body stands for.

    Args:
        program: a traced function.
        leaves: the paths of its own inputs.
    """
    paths = dict(leaves)
    for equation in program.equations:
        if equation.bodies:
            for body, enter, _ in loop_bindings(equation):
                inner = {i: paths[o] for o, i in enter if o in paths}
                paths.update(parameter_paths(body, inner))
    return paths
