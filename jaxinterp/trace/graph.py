"""A network as a graph: nodes with a role, sites with an address, printed as a table."""

from __future__ import annotations

import dataclasses
import html
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from jax.extend.core import Primitive
from jax.extend.core import primitives as p

from jaxinterp.trace import addresses
from jaxinterp.trace.analysis import Flow, active_values
from jaxinterp.trace.control import loop_bindings, loop_length
from jaxinterp.trace.draft import Draft
from jaxinterp.trace.nodes import recognize
from jaxinterp.trace.program import Atom, Equation, Program, Value
from jaxinterp.trace.roles import KINDS, Kind, Role

AFFINE = (Role.CONVOLUTION, Role.DENSE)


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """An operation of the network: one or more equations with one role.

    Attributes:
        address: module path and operation.
        role: what it does, in algebraic terms.
        flow: the program that it is part of.
        equations: indices of its equations, in order.
        kernel: for an affine map, the index of the contraction.
        before: elementwise affine steps before the contraction.
        after: affine steps after it.
        inputs: the activations that it reads.
        outputs: its results.
        is_first: an affine map with no other between it and the input.
        is_last: an affine map with no other between it and the output.
        modules: addresses of modules whose output lies in this node.
    """

    address: str
    role: Role
    flow: Flow
    equations: tuple[int, ...]
    kernel: int | None
    before: tuple[int, ...]
    after: tuple[int, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    is_first: bool
    is_last: bool
    modules: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{self.role} {self.address} {self.outputs[0]}>"

    @property
    def members(self) -> tuple[Equation, ...]:
        """Its equations."""
        return tuple(self.flow.program.equations[i] for i in self.equations)

    @property
    def primitives(self) -> frozenset[Primitive]:
        """What its equations apply."""
        return frozenset(equation.primitive for equation in self.members)

    @property
    def is_structural(self) -> bool:
        """Whether it only moves entries about, or carries no derivative."""
        carries = any(o.is_inexact for o in self.outputs)
        return not carries or self.role in (Role.INDEXING, Role.LOOP)

    @property
    def line(self) -> str:
        """Where the user wrote it: file, line and function."""
        return self.flow.program.equations[self.equations[-1]].line

    @property
    def weights(self) -> tuple[Atom, ...]:
        """The operands that do not depend on the explained input."""
        own = {o for e in self.members for o in e.outputs}
        return tuple(
            dict.fromkeys(
                v
                for e in self.members
                for v in e.values
                if v not in own and v not in self.flow.active
            )
        )

    @property
    def flops(self) -> int:
        """Floating-point operations of one evaluation (a multiply-add counts as two)."""
        return sum(_flops(equation) for equation in self.members)


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """A place whose activation can be read or replaced.

    Attributes:
        address: its unique name.
        value: the value of the program that it stands for.
        node: the node that computes it.
        shape: shape of what `capture` returns: loops stack their steps in front.
        length: number of steps of each `scan` around it.
    """

    address: str
    value: Value
    node: Node
    shape: tuple[int, ...]
    length: tuple[int, ...] = ()

    @property
    def role(self) -> Role:
        """The role of the node that computes it."""
        return self.node.role

    @property
    def primitives(self) -> frozenset[Primitive]:
        """The primitives of the node that computes it."""
        return self.node.primitives

    @property
    def is_first(self) -> bool:
        """Whether it is computed by the first affine map."""
        return self.node.is_first

    @property
    def is_last(self) -> bool:
        """Whether it is computed by the last affine map."""
        return self.node.is_last

    @property
    def modules(self) -> tuple[str, ...]:
        """Other addresses that stand for the same place: none, a site has one."""
        return ()


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """An immutable picture of a traced function.

    Attributes:
        program: the equations.
        nodes: the operations that depend on the input, in network order.
        sites: every address, in network order.
        flows: for every program (bodies included) what depends on the input.
        parameters: the leaves of `variables`, by the value that they are.
    """

    program: Program
    nodes: tuple[Node, ...]
    sites: Mapping[str, Site]
    flows: Mapping[Program, Flow]
    parameters: Mapping[Value, str]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @cached_property
    def by_program(self) -> Mapping[Program, tuple[Node, ...]]:
        """The nodes of each program."""
        groups: dict[Program, list[Node]] = {}
        for node in self.nodes:
            groups.setdefault(node.flow.program, []).append(node)
        return {program: tuple(nodes) for program, nodes in groups.items()}

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """Returns address, role, output, FLOPs and parameters of what computes."""
        seen: set[Value] = set()
        rows = []
        for node in self.nodes:
            if node.is_structural:
                continue
            leaves = _parameter_leaves(node, self.parameters) - seen
            seen |= leaves
            count = sum(int(np.prod(leaf.shape)) for leaf in leaves)
            rows.append(
                (
                    node.address,
                    str(node.role),
                    repr(node.outputs[0]),
                    f"{node.flops:,}",
                    f"{count:,}" if count else "",
                )
            )
        return rows

    def __str__(self) -> str:
        head = ("address", "role", "output", "FLOPs", "parameters")
        rows = self.table()
        hidden = sum(node.is_structural for node in self.nodes)
        total = sum(node.flops for node in self.nodes)
        lines = format_table(head, rows, right=(3, 4))
        return f"{lines}\n{len(rows)} nodes and {hidden} of indexing, {total:,} FLOPs"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = ("address", "role", "output", "FLOPs", "parameters")
        return html_table(head, self.table())


def format_table(
    head: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[int, ...] = ()
) -> str:
    """Returns rows of text as aligned columns under a rule.

    Args:
        head: names of the columns.
        rows: their cells.
        right: the columns that are aligned at the right.
    """
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(head), rule, *map(line, rows)])


def html_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Returns rows of text as an HTML table, for notebooks.

    Args:
        head: names of the columns.
        rows: their cells.
    """

    def cells(row: tuple[str, ...], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead>{body}</table>"


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
    paths = addresses.parameter_paths(program, parameters)
    counts: Counter = Counter()
    flows: dict[Program, Flow] = {}
    drafts: list[tuple[Flow, Draft, addresses.Named]] = []
    modules: list[tuple[Program, str, Value]] = []
    lengths: dict[Program, tuple[int, ...]] = {program: ()}

    def visit(program: Program, home: addresses.Home) -> None:
        flow = flows[program] = Flow(program, active)
        found = recognize(flow, cuts)
        names, outputs = addresses.name_nodes(flow, found, paths, counts, home)
        modules.extend((program, address, value) for address, value in outputs.items())
        for draft in found:
            drafts.append((flow, draft, names[draft]))
            equation = program.equations[draft.last]
            length = loop_length(equation)
            for body in equation.bodies:
                lengths[body] = lengths[program] + ((length,) if length else ())
                visit(body, names[draft].home)

    visit(program, addresses.Home())
    first, last = _ends(flows, drafts, active)
    within = _modules_within(drafts, modules)
    nodes = tuple(
        _finish(flow, draft, named, draft in first, draft in last, within[draft])
        for flow, draft, named in drafts
    )
    sites = _sites(nodes, [n for _, _, n in drafts], modules, lengths)
    return Graph(program, nodes, sites, flows, paths)


def _modules_within(drafts: list, modules: list) -> dict[Draft, tuple[str, ...]]:
    owner = {
        output: draft
        for flow, draft, _ in drafts
        for index in draft.equations
        for output in flow.program.equations[index].outputs
    }
    within: dict[Draft, tuple[str, ...]] = {draft: () for _, draft, _ in drafts}
    for _, address, value in modules:
        if value in owner:
            within[owner[value]] += (address,)
    return within


def _finish(
    flow: Flow,
    draft: Draft,
    named: addresses.Named,
    is_first: bool,
    is_last: bool,
    modules: tuple[str, ...],
) -> Node:
    equations = tuple(sorted(draft.equations))
    own = {o for i in equations for o in flow.program.equations[i].outputs}
    read = [v for i in equations for v in flow.active_inputs(i) if v not in own]
    return Node(
        address=named.address,
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
    names: list[addresses.Named],
    modules: list[tuple[Program, str, Value]],
    lengths: Mapping[Program, tuple[int, ...]],
) -> dict[str, Site]:
    owner = {
        output: (i, index, node)
        for i, node in enumerate(nodes)
        for index in node.equations
        for output in node.flow.program.equations[index].outputs
    }
    named = [(n.address, n.value, node) for n, node in zip(names, nodes, strict=True)]
    outer = [(a, v, owner[v][2]) for _, a, v in modules if v in owner]
    # A module follows the operations in it; a loop's body follows the loop.
    places = [(*owner[v][:2], 0, a, v, node) for a, v, node in named if v in owner]
    places += [(*owner[v][:2], 1, a, v, node) for a, v, node in outer]
    places.sort(key=lambda place: place[:3])
    sites = {}
    for *_, address, value, node in places:
        steps = lengths[node.flow.program]
        sites[address] = Site(address, value, node, steps + value.shape, steps)
    return sites


def _ends(
    flows: Mapping[Program, Flow],
    drafts: list[tuple[Flow, Draft, addresses.Named]],
    active: frozenset[Value],
) -> tuple[set[Draft], set[Draft]]:
    """The affine maps with no other before them, and those with no other after them."""
    kernels = {
        (flow.program, i): draft
        for flow, draft, _ in drafts
        if (i := draft.kernel) is not None
    }
    after: set[Value] = set()  # values with an affine map before them
    before: set[Value] = set()  # values with an affine map after them
    size = (-1, -1)
    while size != (len(after), len(before)):
        size = (len(after), len(before))
        for flow in flows.values():
            _spread(flow, kernels, active, after, before)
    first, last = set(), set()
    for (body, index), draft in kernels.items():
        equation = body.equations[index]
        if not any(v in after for v in equation.values if v in active):
            first.add(draft)
        if not any(o in before for o in equation.outputs):
            last.add(draft)
    return first, last


def _spread(
    flow: Flow, kernels: Mapping, active: frozenset, after: set, before: set
) -> None:
    equations = flow.program.equations
    for index, equation in enumerate(equations):
        for _, enter, leave in loop_bindings(equation) if equation.bodies else ():
            after.update(b for a, b in (*enter, *leave) if a in after)
            before.update(a for a, b in (*enter, *leave) if b in before)
        if equation.bodies:
            continue
        if (flow.program, index) in kernels or any(v in after for v in equation.values):
            after.update(o for o in equation.outputs if o in active)
    for index in reversed(range(len(equations))):
        equation = equations[index]
        for _, enter, leave in loop_bindings(equation) if equation.bodies else ():
            before.update(a for a, b in (*enter, *leave) if b in before)
        if equation.bodies:
            continue
        if (flow.program, index) in kernels or any(
            o in before for o in equation.outputs
        ):
            before.update(v for v in equation.values if v in active)


def _parameter_leaves(node: Node, parameters: Mapping[Value, str]) -> set[Value]:
    found, todo = set(), list(node.weights)
    while todo:
        value = todo.pop()
        if value in parameters:
            found.add(value)
        at = node.flow.producer.get(value)
        if at is not None:
            todo += node.flow.program.equations[at].values
    return found


def _flops(equation: Equation) -> int:
    size = sum(int(np.prod(o.shape)) for o in equation.outputs)
    if equation.primitive is p.dot_general_p:
        contracting = equation.params["dimension_numbers"][0][0]
        return (
            2 * size * int(np.prod([equation.inputs[0].shape[i] for i in contracting]))
        )
    if equation.primitive is p.conv_general_dilated_p:
        kernel = equation.inputs[1].shape
        features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return 2 * size * int(np.prod(kernel)) // max(features, 1)
    kind = KINDS.get(equation.primitive)
    if kind in (Kind.LAYOUT, Kind.MOVE, Kind.CAST, Kind.LOOKUP, Kind.LOOP):
        return 0
    if kind in (Kind.SUM, Kind.PICK):
        return sum(int(np.prod(v.shape)) for v in equation.inputs)
    return size
