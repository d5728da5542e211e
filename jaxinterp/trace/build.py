"""From a traced program to a graph: recognizes, names, and puts together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jaxinterp.trace import addresses
from jaxinterp.trace.addresses import Home, Named
from jaxinterp.trace.analysis import Flow, active_values, carrying_values
from jaxinterp.trace.control import loop_bindings, loop_length
from jaxinterp.trace.draft import Draft
from jaxinterp.trace.graph import Graph, Node, Site
from jaxinterp.trace.nodes import recognize
from jaxinterp.trace.program import Atom, Program, Value
from jaxinterp.trace.roles import Role

Lengths = dict[Program, tuple[int, ...]]


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
    active = active_values(program, roots)
    carrying = carrying_values(program, roots, active)
    paths = addresses.parameter_paths(program, parameters)
    flows: dict[Program, Flow] = {}
    homes: dict[Draft, Flow] = {}
    named: dict[Draft, Named] = {}
    others: list[Named] = []
    lengths: Lengths = {program: ()}

    def visit(program: Program, home: Home) -> None:
        flow = flows[program] = Flow(program, active, carrying)
        drafts = recognize(flow, cuts)
        names, more = addresses.name_nodes(flow, drafts, paths, home)
        others.extend(more)
        for draft in drafts:  # a body follows its loop
            homes[draft], named[draft] = flow, names[draft]
            equation = program.equations[draft.last]
            length = loop_length(equation)
            for body in equation.bodies:
                lengths[body] = lengths[program] + ((length,) if length else ())
                visit(body, names[draft].home)

    visit(program, Home())
    unique = addresses.unique_addresses([*named.values(), *others])
    owner = {
        output: draft
        for draft, flow in homes.items()
        for index in draft.equations
        for output in flow.program.equations[index].outputs
    }
    modules: dict[Draft, tuple[str, ...]] = {}
    for place in others:
        if place.value in owner:
            draft = owner[place.value]
            modules[draft] = (*modules.get(draft, ()), unique[place])
    first, last = _ends(homes, flows.values(), active)
    nodes = {
        draft: _node(
            flow,
            draft,
            address=unique[named[draft]],
            is_first=draft in first,
            is_last=draft in last,
            modules=modules.get(draft, ()),
        )
        for draft, flow in homes.items()
    }
    places = [
        (unique[named[draft]], named[draft].value, nodes[draft]) for draft in nodes
    ]
    places += [
        (unique[place], place.value, nodes[owner[place.value]])
        for place in others
        if place.value in owner
    ]
    sites = _sites(tuple(nodes.values()), places, lengths)
    return Graph(program, tuple(nodes.values()), sites, flows, paths)


def _node(
    flow: Flow,
    draft: Draft,
    *,
    address: str,
    is_first: bool,
    is_last: bool,
    modules: tuple[str, ...],
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
    )


def _sites(
    nodes: tuple[Node, ...],
    places: Iterable[tuple[str, Value, Node]],
    lengths: Lengths,
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
        sites[address] = Site(address, value, node, steps + value.shape, steps)
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
