"""A network as a graph: nodes with a role, sites with an address, and a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive

from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.facts.channel_axis import channel_axes
from jaxinterp.tracing.facts.cost import flops
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.program.program import Equation, Program, Value

AFFINE = (Role.CONVOLUTION, Role.DENSE)


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """An operation of the network: one or more equations with one role.

    Attributes:
        address: the unique name of the node, module path and operation.
        role: what the node does, in algebraic terms.
        flow: the program that holds the node, and what in it depends on the input.
        equations: the indices of the node's equations in the program, in order.
        kernel: for an affine map, the index of the contraction.
        products: for one without a contraction, the indices of the products with
            weights, of which `kernel` is the first.
        statistics: for a normalization, the values inside it that something is divided
            by, or their reciprocals: standard deviations, root mean squares. For a
            quotient of two activations the divisor.
        softmaxes: the inputs that are the result of a softmax, moved, masked or cast.
        hides_activation: whether a product, or a choice, has an activation and its
            input as factors, and others: `sigmoid(a) * b * a` is `silu(a) * b`.
        twin: for an activation, the output of an earlier node that is always equal.
        before: indices of the elementwise affine steps before the contraction.
        after: indices of the affine steps after the contraction.
        inputs: the activations that the node reads.
        outputs: the values that the node computes.
        maps_before: for an affine map, how many others are on the longest way from the
            input to it: the smallest and the largest number over the steps of loops.
        maps_after: the same of the longest way from it to the output.
        modules: the addresses of modules whose output is computed inside this node.
        names: what a selector may match: `address` and `modules`, each also without
            the name of the model.
    """

    address: str
    role: Role
    flow: Flow
    equations: tuple[int, ...]
    kernel: int | None
    products: tuple[int, ...]
    statistics: frozenset[Value]
    softmaxes: frozenset[Value]
    hides_activation: bool
    twin: Value | None
    before: tuple[int, ...]
    after: tuple[int, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    maps_before: tuple[float, float] | None
    maps_after: tuple[float, float] | None
    modules: tuple[str, ...]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<{self.role} {self.address} {self.outputs[0]}>"

    @property
    def members(self) -> tuple[Equation, ...]:
        """The equations of the node."""
        return tuple(self.flow.program.equations[i] for i in self.equations)

    @property
    def primitives(self) -> frozenset[Primitive]:
        """The primitives that the equations of the node apply."""
        return frozenset(equation.primitive for equation in self.members)

    @property
    def is_first(self) -> bool | None:
        """Whether it is an affine map with no other between it and the input.

        `None` if that is so in the first step of a loop alone.
        """
        return _is_zero(self.maps_before)

    @property
    def is_last(self) -> bool | None:
        """Whether it is an affine map with no other between it and the output.

        `None` if that is so in the last step of a loop alone.
        """
        return _is_zero(self.maps_after)

    @property
    def is_structural(self) -> bool:
        """Whether the node only moves entries about, or carries no derivative."""
        carries = any(o.is_inexact for o in self.outputs)
        return not carries or self.role in (Role.INDEXING, Role.LOOP)

    @property
    def is_dead(self) -> bool:
        """Whether nothing reads the results of the node."""
        return self.flow.dead.issuperset(self.equations)

    @property
    def line(self) -> str:
        """Where the user wrote the operation: file, line and function."""
        return self.flow.program.equations[self.equations[-1]].line

    @property
    def weights(self) -> tuple[Value, ...]:
        """The values that the node reads beside `inputs`; no relevance goes to them."""
        own = {o for e in self.members for o in e.outputs}
        whole = set(self.equations)
        calls = [  # they are bound whole, with operands that nothing inside may read
            call.equation
            for call in self.flow.program.calls
            if whole.issuperset(range(call.start, call.stop))
        ]
        return tuple(
            dict.fromkeys(
                v
                for e in (*self.members, *calls)
                for v in e.values
                if v not in own and v not in self.inputs
            )
        )

    @property
    def flops(self) -> int:
        """Floating-point operations of one call; a multiply-add counts as two."""
        return sum(map(flops, self.members))


def _is_zero(bounds: tuple[float, float] | None) -> bool | None:
    """Whether a number is zero, `None` if only the smaller bound of it is."""
    if bounds is None or bounds[0] > 0:
        return False
    return True if bounds[1] == 0 else None


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """An activation of the network that can be read or replaced.

    Attributes:
        address: the unique name of the site.
        value: the value of the program that is the activation.
        node: the node that computes the activation.
        shape: the shape of the array that `capture` returns: the steps of loops are
            stacked on its first axes.
        length: the number of steps of each `scan` around the site, outer first.
        names: what a selector may match: `address`, also without the name of the
            model.
    """

    address: str
    value: Value
    node: Node
    shape: tuple[int, ...]
    length: tuple[int, ...]
    names: tuple[str, ...]

    @cached_property
    def channel_axis(self) -> int:
        """The axis of channels in the array that `capture` returns.

        The last one, unless a convolution of the model has them elsewhere.

        Raises:
            ValueError: if a convolution has its channels first, and a step after it
                takes them apart.
        """
        axes = channel_axes(self.node.flow)
        if self.value not in axes:
            return len(self.shape) - 1
        axis = axes[self.value]
        if axis is None:
            raise ValueError(
                f"Which axis of {self.address!r}, {self.value.dtype}"
                f"{list(self.value.shape)}, holds the channels cannot be told: a "
                "convolution before it has them first,\nand a step in between takes "
                f"them apart ({self.node.line}). Name a site before that step."
            )
        return axis + len(self.length)

    def channels_last(self, array: Any) -> Any:
        """Returns an array at the site with its channels on the last axis.

        Args:
            array: an array with the axes of the one that `capture` returns.
        """
        return jnp.moveaxis(array, self.channel_axis, -1) if self.shape else array

    def channels_back(self, array: Any) -> Any:
        """Returns an array with its channels where the site has them.

        Args:
            array: an array as `channels_last` returns it.
        """
        return jnp.moveaxis(array, -1, self.channel_axis) if self.shape else array

    @property
    def role(self) -> Role:
        """The role of the node that computes the activation."""
        return self.node.role

    @property
    def primitives(self) -> frozenset[Primitive]:
        """The primitives of the node that computes the activation."""
        return self.node.primitives

    @property
    def is_first(self) -> bool | None:
        """Whether a first affine map computes the activation."""
        return self.node.is_first

    @property
    def is_last(self) -> bool | None:
        """Whether a last affine map computes the activation."""
        return self.node.is_last

    @property
    def maps_before(self) -> tuple[float, float] | None:
        """How many affine maps come before the one that computes the activation."""
        return self.node.maps_before

    @property
    def maps_after(self) -> tuple[float, float] | None:
        """How many affine maps come after the one that computes the activation."""
        return self.node.maps_after


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A traced function as nodes and sites; immutable.

    Attributes:
        program: the equations of the function.
        nodes: the operations that depend on the input, in network order.
        sites: the site at every address, in network order.
        flows: for the program and every body of a loop, what depends on the input.
        parameters: for each value that is a leaf of `variables`, the path of the leaf.
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
        """Returns address, role, output, FLOPs and parameters of each operation.

        Nodes that only move entries about are left out.
        """
        counted: set[Value] = set()
        rows = []
        for node in self.nodes:
            if node.is_structural:
                continue
            leaves = set(parameter_leaves(node, self.parameters)) - counted
            counted |= leaves
            n_parameters = sum(int(np.prod(leaf.shape)) for leaf in leaves)
            rows.append(
                (
                    node.address,
                    str(node.role),
                    repr(node.outputs[0]),
                    cell(node.flops, ","),
                    cell(n_parameters or None, ","),
                )
            )
        return rows

    def __str__(self) -> str:
        head = ("address", "role", "output", "FLOPs", "parameters")
        rows = self.table()
        n_structural = sum(node.is_structural for node in self.nodes)
        total = sum(node.flops for node in self.nodes)
        lines = format_table(head, rows, right=(3, 4))
        nodes = f"{len(rows)} nodes and {n_structural} of indexing"
        return f"{lines}\n{nodes}, {total:,} FLOPs"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = ("address", "role", "output", "FLOPs", "parameters")
        return html_table(head, self.table())


def parameter_leaves(node: Node, parameters: Mapping[Value, str]) -> tuple[Value, ...]:
    """Returns the leaves of `variables` from which a node's weights are computed.

    Args:
        node: an operation of the network.
        parameters: for each value that is a leaf of `variables`, the path of the leaf.

    Returns:
        The leaves in the order in which the equations of the node read them.
    """
    leaves, todo = {}, list(reversed(node.weights))
    while todo:
        value = todo.pop()
        if value in parameters:
            leaves[value] = None
        at = node.flow.producer.get(value)
        if at is not None:
            todo += reversed(node.flow.program.equations[at].values)
    return tuple(leaves)
