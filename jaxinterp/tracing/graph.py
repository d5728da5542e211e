"""A network as a graph: nodes with a role, sites with an address, and a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from jax.extend.core import Primitive

from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.facts.cost import flops
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.program.program import Equation, Program, Value

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
        names: what selectors may call it: its address and those of `modules`, each
            also without the name of the model.
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
    modules: tuple[str, ...]
    names: tuple[str, ...]

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
    def is_dead(self) -> bool:
        """Whether nobody needs its results."""
        return self.flow.dead.issuperset(self.equations)

    @property
    def line(self) -> str:
        """Where the user wrote it: file, line and function."""
        return self.flow.program.equations[self.equations[-1]].line

    @property
    def weights(self) -> tuple[Value, ...]:
        """What it reads beside `inputs`: nothing goes back there."""
        own = {o for e in self.members for o in e.outputs}
        return tuple(
            dict.fromkeys(
                v
                for e in self.members
                for v in e.values
                if v not in own and v not in self.inputs
            )
        )

    @property
    def flops(self) -> int:
        """Floating-point operations of one evaluation; a multiply-add counts as two."""
        return sum(map(flops, self.members))


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """A place whose activation can be read or replaced.

    Attributes:
        address: its unique name.
        value: the value of the program that it stands for.
        node: the node that computes it.
        shape: shape of what `capture` returns: loops stack their steps in front.
        length: number of steps of each `scan` around it.
        names: what selectors may call it: its address, also without the name of the
            model.
    """

    address: str
    value: Value
    node: Node
    shape: tuple[int, ...]
    length: tuple[int, ...]
    names: tuple[str, ...]

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
                    cell(node.flops, ","),
                    cell(count or None, ","),
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
