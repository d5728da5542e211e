"""A matrix product of two activations, in the order that copies less.

XLA multiplies a matrix whose last axis is summed over by one whose first is, and copies
what lies otherwise. Of the two orders of the factors one often needs no copy of the
larger: the weights of attention, with one entry for each pair of tokens.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from jax import lax
from jax.extend.core import primitives as p

from jaxinterp.tracing.graph import Node
from jaxinterp.tracing.program.program import Equation


class _Axes(NamedTuple):
    """The axes of the factors and of the result, the same number for the same axis."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    result: tuple[int, ...]


def product_of(node: Node) -> Equation | None:
    """Returns the equation of a node that is the product of its two inputs alone.

    Args:
        node: a node of a graph.
    """
    (first, *others) = node.members
    if others or first.primitive is not p.dot_general_p or len(node.inputs) != 2:
        return None
    is_placed = first.params.get("out_sharding") is not None
    precision = first.params["precision"]  # for both factors, or a pair of two
    is_same = not isinstance(precision, tuple) or precision[0] == precision[1]
    return first if is_same and first.inputs == node.inputs and not is_placed else None


def product(equation: Equation, left: Any, right: Any) -> Any:
    """Returns what a `dot_general` does.

    Args:
        equation: the `dot_general`.
        left: the first operand.
        right: the second operand.
    """
    axes = _axes(equation)
    dtype = equation.outputs[0].dtype
    return _contract(equation, left, axes.left, right, axes.right, axes.result, dtype)


def product_transpose(
    equation: Equation, left: Any, right: Any, cotangent: Any
) -> tuple[Any, Any]:
    """Returns the cotangents of both operands of a `dot_general`.

    Args:
        equation: the `dot_general`.
        left: the first operand.
        right: the second operand.
        cotangent: the cotangent of the result.
    """
    axes = _axes(equation)
    back = equation, cotangent, axes.result
    return (
        _contract(*back, right, axes.right, axes.left, left.dtype),
        _contract(*back, left, axes.left, axes.right, right.dtype),
    )


def _axes(equation: Equation) -> _Axes:
    contracted, batch = equation.params["dimension_numbers"]
    left, right = (len(atom.shape) for atom in equation.inputs)
    same = dict(
        zip((*contracted[1], *batch[1]), (*contracted[0], *batch[0]), strict=True)
    )
    rights = tuple(same.get(axis, left + axis) for axis in range(right))
    bound = {*contracted[0], *batch[0]}
    free = [a for a in (*range(left), *rights) if a not in bound]
    return _Axes(tuple(range(left)), rights, (*batch[0], *free))


def _contract(
    equation: Equation,
    left: Any,
    left_axes: tuple[int, ...],
    right: Any,
    right_axes: tuple[int, ...],
    result_axes: tuple[int, ...],
    dtype: Any,
) -> Any:
    """The product of two arrays with named axes, in the better of both orders."""
    first, second = (left, left_axes), (right, right_axes)
    given = _Order((first, second), result_axes)
    swapped = _Order((second, first), result_axes)
    order = swapped if swapped.n_copied < given.n_copied else given
    return order(equation, dtype)


class _Order:
    """A matrix product in one order of its factors.

    Attributes:
        factors: two arrays, each with its axes.
        result: the axes of the result, in the order that is wanted.
    """

    def __init__(self, factors: tuple[Any, Any], result: tuple[int, ...]):
        self.factors, self.result = factors, result
        first, second = factors
        shared = set(first[1]) & set(second[1])
        self.batch = [axis for axis in result if axis in shared]
        self.summed = sorted(shared.difference(result))
        self.free = [[a for a in axes if a not in shared] for _, axes in self.factors]
        self.made = [*self.batch, *self.free[0], *self.free[1]]

    @property
    def n_copied(self) -> int:
        """How many entries are brought into another order."""
        (first, second), (rows, columns) = self.factors, self.free
        sizes = dict(zip(first[1], first[0].shape, strict=True))
        sizes |= dict(zip(second[1], second[0].shape, strict=True))
        pairs = (
            (first[1], [*self.batch, *rows, *self.summed]),
            (second[1], [*self.batch, *self.summed, *columns]),
            (self.result, self.made),
        )
        return sum(
            math.prod(sizes[axis] for axis in own)
            for own, needed in pairs
            if list(own) != needed
        )

    def __call__(self, equation: Equation, dtype: Any) -> Any:
        """Returns the product, with the precision of an equation."""
        (first, first_axes), (second, second_axes) = self.factors
        summed, batch = (
            (
                [first_axes.index(axis) for axis in which],
                [second_axes.index(axis) for axis in which],
            )
            for which in (self.summed, self.batch)
        )
        made = lax.dot_general(
            first,
            second,
            (summed, batch),
            precision=equation.params["precision"],
            preferred_element_type=dtype,
        )
        axes = [self.made.index(axis) for axis in self.result]
        return made if axes == sorted(axes) else lax.transpose(made, axes)
