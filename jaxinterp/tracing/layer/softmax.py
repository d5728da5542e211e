r"""The derivative of a softmax from its result alone, $J^\top v = y (v - \sum y v)$.

JAX goes back through exponential, sum and quotient instead, one array of scores each.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.graph import Node
from jaxinterp.tracing.program.program import Atom, Equation


def softmax_axes(node: Node) -> tuple[int, ...] | None:
    """Returns the axes of a softmax that is spelled as exponentials over their sum.

    Args:
        node: a node of a graph.

    Returns:
        The axes that are summed over; `None` if the node is something else, or a
        softmax in another spelling: one with a sink, a mask or another base.
    """
    if node.role is not Role.SOFTMAX or len(node.inputs) != 1:
        return None
    quotient = node.members[-1]
    if quotient.primitive is not p.div_p:
        return None
    dividend, divisor = quotient.inputs
    exponential = _producer(node, dividend, p.exp_p)
    total = _producer(node, _before_layout(node, divisor), p.reduce_sum_p)
    if exponential is None or total is None or total.inputs[0] is not dividend:
        return None
    axes = total.params["axes"]
    kept = tuple(1 if i in axes else n for i, n in enumerate(dividend.shape))
    if divisor.shape != kept or not _is_shifted(node, exponential.inputs[0], axes):
        return None
    return axes


def softmax_transpose(y: Any, cotangent: Any, axes: tuple[int, ...]) -> Any:
    """Returns the cotangent of the input of a softmax.

    Args:
        y: the result of the softmax.
        cotangent: the cotangent of the result.
        axes: the axes that are summed over.
    """
    weighted = y * cotangent
    return weighted - y * jnp.sum(weighted, axis=axes, keepdims=True)


def _producer(node: Node, value: Atom | None, primitive: Any) -> Equation | None:
    """The equation of a node that computes a value, if it is of one primitive."""
    for equation in node.members:
        if value in equation.outputs:
            return equation if equation.primitive is primitive else None
    return None


def _before_layout(node: Node, value: Atom) -> Atom | None:
    """The sums that a divisor was before its axes of size 1 were put back."""
    spread = _producer(node, value, p.broadcast_in_dim_p)
    if spread is not None:
        axes = spread.params["broadcast_dimensions"]
        kept = [i for i, n in enumerate(value.shape) if n != 1 or i in axes]
        return spread.inputs[0] if list(axes) == kept else None
    shaped = _producer(node, value, p.reshape_p)
    return value if shaped is None else shaped.inputs[0]


def _is_shifted(node: Node, value: Atom, axes: tuple[int, ...]) -> bool:
    """Whether a value is the input, less one number for all entries of a sum."""
    (source,) = node.inputs
    if value is source:
        return True
    shifted = _producer(node, value, p.sub_p)
    if shifted is None or shifted.inputs[0] is not source:
        return False
    shift = shifted.inputs[1]
    return not shift.shape or all(shift.shape[i] == 1 for i in axes)
