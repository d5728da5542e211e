r"""How much is added up in a value: the sizes of the contributions to its change.

A value that is a sum, $x = \sum_i w_i u_i + b$, changes by $\Delta x = \sum_i w_i
\Delta u_i$. Its contributions have the size $s = \sum_i |w_i \Delta u_i|$ together, so
that the positive ones add up to $(\Delta x + s) / 2$, and the negative ones to $(\Delta
x - s) / 2$. The size is computed by the layer itself, with absolute weights, and has a
derivative in $u$ that knows the sign of each contribution.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.tracing import compat
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.graph import AFFINE, Node
from jaxinterp.tracing.layer.layer import Layer
from jaxinterp.tracing.program.evaluate import evaluate_part
from jaxinterp.tracing.program.program import Constant, Value

# Nodes through which every contribution passes by itself.
_PASSING = (Role.ADD, Role.SCALE, Role.INDEXING)
# What a fixed linear map may consist of, so that no entry counts twice.
_MIXING = frozenset({Kind.SUM, Kind.KERNEL})
_SCALING = frozenset({Kind.MULTIPLICATIVE, Kind.DIVISION})
_STEPS = _SCALING | {Kind.NEGATION, Kind.CAST, Kind.LAYOUT}
_SHIFTED = _STEPS | {Kind.ADDITIVE, Kind.MOVE}


@dataclasses.dataclass(frozen=True)
class Contributions:
    """Of what a value is the sum.

    Attributes:
        value: the value.
        nodes: the nodes that add up and pass on, in order.
        ends: the values whose entries contribute.
    """

    value: Value
    nodes: tuple[Node, ...]
    ends: tuple[Value, ...]

    @property
    def reads(self) -> frozenset[Value]:
        """The values whose arrays are needed for `size`."""
        return frozenset(self.ends).union(*(node.weights for node in self.nodes))

    def size(self, env: Mapping[Value, Any], references: Mapping[Value, Value]) -> Any:
        """Returns the size of all contributions together, an array like the value.

        Args:
            env: the arrays of all values computed so far.
            references: for each end, the value that has its array for the reference.
        """
        changes = {v: _distance(env[v], env[references[v]]) for v in self.ends}
        sizes = dict(changes)
        for node in self.nodes:
            sources = sizes if node.role in _PASSING else changes
            inputs = [sources[v] for v in node.inputs]
            weights = {v: env[v] for v in node.weights}
            sizes.update(zip(node.outputs, _sizes(node, inputs, weights), strict=True))
        return sizes[self.value]


def contributions_to(
    value: Value, producer: Mapping[Value, Node], is_split_only: Role | None = None
) -> Contributions | None:
    """Returns of what a value is the sum; `None` if it is no sum.

    Sums of sums are taken apart: a sum of two layers has the contributions of both. A
    layer adds up what comes in, whatever that was made of. Any other value, such as a
    maximum or a product of two activations, is a single contribution.

    Args:
        value: a value of a program.
        producer: the node of each value of that program.
        is_split_only: the role of the nodes that count as sums; all by default.
    """
    split = (is_split_only,) if is_split_only else (*AFFINE, Role.LINEAR)
    nodes: dict[Node, None] = {}
    ends: dict[Value, None] = {}
    todo = [value]
    while todo:
        v = todo.pop()
        node = producer.get(v)
        if node is not None and node.role in _PASSING and _is_real(node):
            todo += [] if node in nodes else node.inputs
        elif (
            node is not None and node.role in split and _is_real(node) and _is_sum(node)
        ):
            ends |= dict.fromkeys(node.inputs)
        else:
            ends[v] = None
            continue
        nodes[node] = None
    is_sum = any(node.role in split for node in nodes)
    if not is_split_only:
        is_sum |= any(node.role is Role.ADD for node in nodes)
    if not is_sum:
        return None
    in_order = sorted(nodes, key=lambda node: node.equations[-1])
    return Contributions(value, tuple(in_order), tuple(ends))


def _distance(x: Any, ref: Any) -> Any:
    """The size of a change; its derivative is its sign, 0 where nothing changes."""
    change = x - ref
    return change * jax.lax.stop_gradient(jnp.sign(change))


def _is_real(node: Node) -> bool:
    return all(
        jnp.issubdtype(v.dtype, jnp.floating) for v in (*node.inputs, *node.outputs)
    )


def _is_sum(node: Node) -> bool:
    """Whether the weights of a linear map can be seen."""
    if node.role is not Role.LINEAR:
        return node.kernel is not None
    kinds = {KINDS.get(e.primitive) for e in node.members}
    if kinds <= _SHIFTED:  # a difference of neighbors
        return _is_one_way(node)
    n_mixing = sum(KINDS.get(e.primitive) in _MIXING for e in node.members)
    return kinds <= _STEPS | _MIXING and n_mixing == 1


def _is_one_way(node: Node) -> bool:
    """Whether no entry comes to a result twice: copies move by different steps."""
    reads = []
    for equation in node.members:
        is_move = KINDS.get(equation.primitive) is Kind.MOVE
        move = (equation.primitive, str(equation.params)) if is_move else None
        reads += [(v, move) for v in equation.values if v in node.flow.active]
    return len(set(reads)) == len(reads)


def _sizes(node: Node, sizes: list[Any], weights: Mapping[Value, Any]) -> list[Any]:
    """The sizes of the outputs of a node, of those of its inputs."""
    if node.role is Role.LINEAR:
        return [_with_absolute_weights(node, sizes[0], weights)]
    if node.role in AFFINE:
        (output,) = node.outputs
        spec = jax.ShapeDtypeStruct(output.shape, output.dtype)
        layer = Layer(node, tuple(sizes), weights, spec)
        size = layer.linear(sizes[0].astype(layer.dtype), jnp.abs(layer.kernel))
        return [size.astype(output.dtype)]
    program = node.flow.program

    def run(*inputs: Any) -> list[Any]:
        env = dict(zip(node.inputs, inputs, strict=True))
        env = {**program.constants, **weights, **env}
        env = evaluate_part(program, node.equations, env)
        return [env[v] for v in node.outputs]

    zeros = [jnp.zeros_like(size) for size in sizes]
    total = [jnp.zeros(v.shape, v.dtype) for v in node.outputs]
    for i, size in enumerate(sizes):  # each entry comes alone, with one factor
        alone = [*zeros[:i], size, *zeros[i + 1 :]]
        _, moved = jax.jvp(run, zeros, alone)
        total = [t + jnp.abs(m) for t, m in zip(total, moved, strict=True)]
    return total


def _with_absolute_weights(node: Node, x: Any, weights: Mapping[Value, Any]) -> Any:
    """The result of a fixed linear map without the signs of its weights."""
    active = node.flow.active
    env = {**node.flow.program.constants, **weights, node.inputs[0]: x}
    for equation in node.members:
        kind = KINDS[equation.primitive]
        if kind in (Kind.ADDITIVE, Kind.NEGATION):
            (output,) = equation.outputs
            total = sum(env[v] for v in equation.values if v in active)
            env[output] = jnp.broadcast_to(total, output.shape)
            continue
        operands = []
        for v in equation.inputs:
            array = v.value if isinstance(v, Constant) else env[v]
            if v not in active and jnp.issubdtype(v.dtype, jnp.inexact):
                is_weight = kind in _SCALING | _MIXING
                array = jnp.abs(array) if is_weight else jnp.zeros_like(array)
            operands.append(array)
        with compat.equation_context(equation.origin, equation.scope):
            results = compat.bind(equation.primitive, operands, equation.params)
        env |= zip(equation.outputs, results, strict=True)
    return env[node.outputs[0]]
