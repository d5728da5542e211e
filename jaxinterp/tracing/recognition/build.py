"""From a traced program to a graph: finds the nodes, names them, lists the sites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jaxinterp.tracing.facts.curve import is_gate
from jaxinterp.tracing.facts.flow import Flow, active_values, carrying_values
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind, Role
from jaxinterp.tracing.facts.signs import NOTHING, Signs
from jaxinterp.tracing.graph import Graph, Node, Site
from jaxinterp.tracing.program.loops import loop_bindings, loop_length
from jaxinterp.tracing.program.program import Equation, Program, Value
from jaxinterp.tracing.recognition.addresses import (
    Module,
    Name,
    name_nodes,
    parameter_paths,
    short_names,
    unique_addresses,
)
from jaxinterp.tracing.recognition.depth import Bounds, Depths
from jaxinterp.tracing.recognition.grouping import Group
from jaxinterp.tracing.recognition.recognize import recognize


class _Contents:
    """The nodes of a program and of the bodies of its loops, in network order.

    Attributes:
        active: the values that depend on the explained input.
        carrying: those of them that can send a gradient back.
        paths: for each value that is a leaf of `variables`, the path of the leaf.
        cuts: values that must not disappear inside a node.
        flows: for every program, what depends on its input.
        flow_of: for each group of equations that is a node, the flow of its program.
        names: for each such group, what the node is called.
        others: the names of values inside of nodes.
        lengths: for every program, the number of steps of each `scan` around it.
    """

    def __init__(
        self,
        program: Program,
        roots: tuple[Value, ...],
        paths: Mapping[Value, str],
        cuts: frozenset[Value],
    ):
        self.active = active_values(program, roots)
        self.carrying = carrying_values(program, roots, self.active)
        self.paths = paths
        self.cuts = cuts
        self.flows: dict[Program, Flow] = {}
        self.flow_of: dict[Group, Flow] = {}
        self.names: dict[Group, Name] = {}
        self.others: list[Name] = []
        self.lengths: dict[Program, tuple[int, ...]] = {program: ()}
        self.visit(program, Module(), NOTHING)

    def visit(self, program: Program, module: Module, assumed: Signs) -> None:
        """Adds a program, and the bodies of its loops, each after the loop."""
        whole = next(iter(self.flows), program)
        flow = Flow(program, self.active, self.carrying, whole, assumed)
        self.flows[program] = flow
        groups = recognize(flow, self.cuts, self.paths)
        names, others = name_nodes(flow, groups, self.paths, module)
        self.others += others
        for group in groups:
            self.flow_of[group], self.names[group] = flow, names[group]
            equation = program.equations[group.last]
            length = loop_length(equation)
            steps = self.lengths[program] + ((length,) if length is not None else ())
            for body in equation.bodies:
                self.lengths[body] = steps
                self.visit(body, names[group].module, _entering(flow, equation, body))

    @property
    def owner(self) -> dict[Value, Group]:
        """For each value, the group that computes it."""
        return {
            output: group
            for group, flow in self.flow_of.items()
            for index in group.equations
            for output in flow.program.equations[index].outputs
        }


def _entering(flow: Flow, loop: Equation, body: Program) -> Signs:
    """What is proven of the values that enter a body and stay the same in each step."""
    (enter, leave), *_ = (
        (enter, leave)
        for program, enter, leave in loop_bindings(loop)
        if program is body
    )
    carried = {inner for _, inner in leave}
    is_test = not leave  # of a `while`: it reads what is carried
    pairs = [
        (outer, inner)
        for outer, inner in enter
        if isinstance(outer, Value) and inner not in carried and not is_test
    ]
    nonnegative, nonpositive, _ = flow.signs
    return Signs(
        frozenset(inner for outer, inner in pairs if outer in nonnegative),
        frozenset(inner for outer, inner in pairs if outer in nonpositive),
        frozenset(inner for outer, inner in pairs if is_gate(flow, outer)),
    )


def build_graph(
    program: Program,
    roots: tuple[Value, ...],
    parameters: Mapping[Value, str],
    cuts: frozenset[Value] = frozenset(),
) -> Graph:
    """Returns the graph of a traced function.

    Args:
        program: the equations of the function.
        roots: the values of the explained input.
        parameters: for each input that is a leaf of `variables`, the path of the leaf.
        cuts: values that must not disappear inside a node.
    """
    paths = parameter_paths(program, parameters)
    contents = _Contents(program, roots, paths, cuts)
    address = unique_addresses([*contents.names.values(), *contents.others])
    owner = contents.owner
    modules: dict[Group, tuple[str, ...]] = {}
    for name in contents.others:
        group = owner[name.value]
        modules[group] = (*modules.get(group, ()), address[name])
    short = short_names(address.values())
    depths = Depths(roots, contents.flow_of, contents.flows.values())
    nodes = {
        group: _node(
            flow,
            group,
            address=address[contents.names[group]],
            maps_before=depths.before(group),
            maps_after=depths.after(group),
            modules=modules.get(group, ()),
            short=short,
            owner=owner,
        )
        for group, flow in contents.flow_of.items()
    }
    node_of = {name: nodes[group] for group, name in contents.names.items()}
    node_of |= {name: nodes[owner[name.value]] for name in contents.others}
    sites = _sites(
        tuple(nodes.values()),
        [(address[name], name.value, node) for name, node in node_of.items()],
        contents.lengths,
        short,
    )
    return Graph(program, tuple(nodes.values()), sites, contents.flows, paths)


def _node(
    flow: Flow,
    group: Group,
    *,
    address: str,
    maps_before: Bounds | None,
    maps_after: Bounds | None,
    modules: tuple[str, ...],
    short: Mapping[str, str],
    owner: Mapping[Value, Group],
) -> Node:
    equations = tuple(sorted(group.equations))
    own = {o for i in equations for o in flow.program.equations[i].outputs}
    inputs = [v for i in equations for v in flow.active_inputs(i) if v not in own]
    if flow.carrying is not None and group.role is not Role.LOOP:
        # A mask computed from the input counts as a weight: it carries no derivative.
        inputs = [v for v in inputs if v in flow.carrying] or inputs
    return Node(
        address=address,
        role=group.role,
        flow=flow,
        equations=equations,
        kernel=group.kernel,
        products=group.products,
        statistics=group.statistics,
        softmaxes=frozenset(v for v in inputs if _is_of_softmax(flow, v, owner)),
        hides_activation=group.hides_activation,
        twin=flow.program.equations[group.twin.last].outputs[0] if group.twin else None,
        before=group.before,
        after=group.after,
        inputs=tuple(dict.fromkeys(inputs)),
        outputs=flow.program.equations[group.last].outputs,
        maps_before=maps_before,
        maps_after=maps_after,
        modules=modules,
        names=tuple(n for a in (address, *modules) for n in _names(a, short)),
    )


def _is_of_softmax(flow: Flow, value: Value, owner: Mapping[Value, Group]) -> bool:
    """Whether a value is the result of a softmax, moved, masked or cast."""
    while (at := flow.producer.get(value)) is not None:
        group = owner.get(value)
        if group is not None and group.role is Role.SOFTMAX:
            return True
        operands = flow.active_inputs(at)
        if flow.carrying is not None:
            operands = [v for v in operands if v in flow.carrying]
        kind = KINDS.get(flow.program.equations[at].primitive)
        if len(operands) != 1 or kind not in (*POINTWISE, Kind.LAYOUT, Kind.MOVE):
            return False
        (value,) = operands
    return False


def _names(address: str, short: Mapping[str, str]) -> tuple[str, ...]:
    return (address, short[address]) if address in short else (address,)


def _sites(
    nodes: tuple[Node, ...],
    values: Iterable[tuple[str, Value, Node]],
    lengths: Mapping[Program, tuple[int, ...]],
    short: Mapping[str, str],
) -> dict[str, Site]:
    """The sites in network order: a module follows the operations in it."""
    order = {
        output: (number, index)
        for number, node in enumerate(nodes)
        for index in node.equations
        for output in node.flow.program.equations[index].outputs
    }
    sites = {}
    for address, value, node in sorted(values, key=lambda triple: order[triple[1]]):
        steps = lengths[node.flow.program]
        names = _names(address, short)
        sites[address] = Site(address, value, node, steps + value.shape, steps, names)
    return sites
