"""How many floating-point operations an equation takes."""

from __future__ import annotations

import math

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.roles import KINDS, Kind
from jaxinterp.tracing.program.program import Equation

_FREE = (Kind.LAYOUT, Kind.MOVE, Kind.CAST, Kind.LOOKUP, Kind.LOOP)


def flops(equation: Equation) -> int:
    """Returns how many operations an equation takes; a multiply-add counts as two.

    Args:
        equation: any equation; a loop counts as zero, since the equations of its body
            are counted themselves.
    """
    size = sum(math.prod(output.shape) for output in equation.outputs)
    if equation.primitive is p.dot_general_p:
        contracting, _ = equation.params["dimension_numbers"]
        shape = equation.inputs[0].shape
        return 2 * size * math.prod(shape[i] for i in contracting[0])
    if equation.primitive is p.conv_general_dilated_p:
        kernel = equation.inputs[1].shape
        features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return 2 * size * math.prod(kernel) // max(features, 1)
    kind = KINDS.get(equation.primitive)
    if kind in _FREE:
        return 0
    if kind in (Kind.SUM, Kind.PICK):
        return sum(math.prod(operand.shape) for operand in equation.inputs)
    return size
