"""From a traced program to a graph: recognizes, names, and puts together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jaxinterp.tracing.facts.flow import Flow, active_values, carrying_values
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.graph import Graph, Node, Site
from jaxinterp.tracing.program.loops import loop_bindings, loop_length
from jaxinterp.tracing.program.program import Atom, Program, Value
from jaxinterp.tracing.recognition.addresses import (
    Home,
    Named,
    name_nodes,
    parameter_paths,
    short_names,
    unique_addresses,
)
from jaxinterp.tracing.recognition.recognize import recognize
from jaxinterp.tracing.recognition.sketch import Draft


class _Survey:
    """What there is in a program and in the bodies of its loops, in network order.

    Attributes:
        flows: for every program what depends on its input.
        homes: the drafts, and the flow of the program that each is in.
        named: what each draft is called.
        others: what else has a name.
        lengths: the number of steps of the `scan`s around a program.
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
        self.homes: dict[Draft, Flow] = {}
        self.named: dict[Draft, Named] = {}
        self.others: list[Named] = []
        self.lengths: dict[Program, tuple[int, ...]] = {program: ()}
        self.visit(program, Home())

    def visit(self, program: Program, home: Home) -> None:
        """Adds a program, and the bodies of its loops, each after the loop."""
        flow = self.flows[program] = Flow(program, self.active, self.carrying)
        drafts = recognize(flow, self.cuts)
        names, others = name_nodes(flow, drafts, self.paths, home)
        self.others += others
        for draft in drafts:
            self.homes[draft], self.named[draft] = flow, names[draft]
            equation = program.equations[draft.last]
            length = loop_length(equation)
            steps = self.lengths[program] + ((length,) if length is not None else ())
            for body in equation.bodies:
                self.lengths[body] = steps
                self.visit(body, names[draft].home)

    @property
    def owner(self) -> dict[Value, Draft]:
        """The draft that computes a value."""
        return {
            output: draft
            for draft, flow in self.homes.items()
            for index in draft.equations
            for output in flow.program.equations[index].outputs
        }


def build_graph(
    program: Program,
    roots: tuple[Value, ...],
    parameters: Mapping[Value, str],
    cuts: frozenset[Value] = frozenset(),
) -> Graph:
    """Returns the graph of a traced function.

    Args:
        program: its equations.
        roots: the values of the explained input.
        parameters: paths of the leaves of `variables`.
        cuts: values that must not disappear inside a node.
    """
    paths = parameter_paths(program, parameters)
    found = _Survey(program, roots, paths, cuts)
    address = unique_addresses([*found.named.values(), *found.others])
    owner = found.owner
    modules: dict[Draft, tuple[str, ...]] = {}
    for place in found.others:
        draft = owner[place.value]
        modules[draft] = (*modules.get(draft, ()), address[place])
    short = short_names(address.values())
    first, last = _ends(found.homes, found.flows.values(), found.active)
    nodes = {
        draft: _node(
            flow,
            draft,
            address=address[found.named[draft]],
            is_first=draft in first,
            is_last=draft in last,
            modules=modules.get(draft, ()),
            short=short,
        )
        for draft, flow in found.homes.items()
    }
    places = [(place, nodes[draft]) for draft, place in found.named.items()]
    places += [(place, nodes[owner[place.value]]) for place in found.others]
    sites = _sites(
        tuple(nodes.values()),
        [(address[place], place.value, node) for place, node in places],
        found.lengths,
        short,
    )
    return Graph(program, tuple(nodes.values()), sites, found.flows, paths)


def _node(
    flow: Flow,
    draft: Draft,
    *,
    address: str,
    is_first: bool,
    is_last: bool,
    modules: tuple[str, ...],
    short: Mapping[str, str],
) -> Node:
    equations = tuple(sorted(draft.equations))
    own = {o for i in equations for o in flow.program.equations[i].outputs}
    read = [v for i in equations for v in flow.active_inputs(i) if v not in own]
    if flow.carrying is not None and draft.role is not Role.LOOP:
        # A mask computed from the input is a weight here: nothing can go back there.
        read = [v for v in read if v in flow.carrying] or read
    return Node(
        address=address,
        role=draft.role,
        flow=flow,
        equations=equations,
        kernel=draft.kernel,
        before=draft.before,
        after=draft.after,
        inputs=tuple(dict.fromkeys(read)),
        outputs=flow.program.equations[draft.last].outputs,
        is_first=is_first,
        is_last=is_last,
        modules=modules,
        names=tuple(n for a in (address, *modules) for n in _names(a, short)),
    )


def _names(address: str, short: Mapping[str, str]) -> tuple[str, ...]:
    return (address, short[address]) if address in short else (address,)


def _sites(
    nodes: tuple[Node, ...],
    places: Iterable[tuple[str, Value, Node]],
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
    for address, value, node in sorted(places, key=lambda place: order[place[1]]):
        steps = lengths[node.flow.program]
        names = _names(address, short)
        sites[address] = Site(address, value, node, steps + value.shape, steps, names)
    return sites


# --- First and last -------------------------------------------------------------------


def _ends(
    homes: Mapping[Draft, Flow], flows: Iterable[Flow], active: frozenset[Value]
) -> tuple[set[Draft], set[Draft]]:
    """The affine maps with no other before them, and those with no other after them."""
    kernels = {
        (flow.program, draft.kernel): draft
        for draft, flow in homes.items()
        if draft.kernel is not None
    }
    after: set[Atom] = set()  # values with an affine map before them
    before: set[Atom] = set()  # values with an affine map after them
    size = (-1, -1)
    while size != (len(after), len(before)):
        size = (len(after), len(before))
        for flow in flows:
            _spread_forward(flow, kernels, active, after)
            _spread_back(flow, kernels, active, before)
    first, last = set(), set()
    for (program, index), draft in kernels.items():
        equation = program.equations[index]
        if not any(v in after for v in equation.values if v in active):
            first.add(draft)
        if not any(o in before for o in equation.outputs):
            last.add(draft)
    return first, last


def _spread_forward(
    flow: Flow, kernels: Mapping, active: frozenset[Value], after: set[Atom]
) -> None:
    for index, equation in enumerate(flow.program.equations):
        if equation.bodies:
            for _, enter, leave in loop_bindings(equation):
                after.update(b for a, b in (*enter, *leave) if a in after)
        elif (flow.program, index) in kernels or not after.isdisjoint(equation.values):
            after.update(o for o in equation.outputs if o in active)


def _spread_back(
    flow: Flow, kernels: Mapping, active: frozenset[Value], before: set[Atom]
) -> None:
    for index, equation in reversed(list(enumerate(flow.program.equations))):
        if equation.bodies:
            for _, enter, leave in loop_bindings(equation):
                before.update(a for a, b in (*enter, *leave) if b in before)
        elif (flow.program, index) in kernels or not before.isdisjoint(
            equation.outputs
        ):
            before.update(v for v in equation.values if v in active)
