"""Which changes of layout entries go through from one value to another."""

from __future__ import annotations

import math

from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.program.program import Equation, Value


def moves_between(flow: Flow, source: Value, value: Value) -> tuple[Equation, ...]:
    """Returns the changes of layout that the entries of a value go through.

    Args:
        flow: the program of both values.
        source: the value that the entries come from.
        value: the value whose entries are those of `source`, each changed alone or by
            what it is divided by.

    Returns:
        The transposes and reshapes, in order, on the way that keeps all entries.
    """
    size = math.prod(source.shape)

    def way(value: Value) -> tuple[Equation, ...] | None:
        if value is source:
            return ()
        at = flow.producer.get(value)
        if at is None or math.prod(value.shape) != size:
            return None
        equation = flow.program.equations[at]
        kind = KINDS.get(equation.primitive)
        if kind not in (*POINTWISE, Kind.LAYOUT):
            return None
        ways = (way(operand) for operand in flow.active_inputs(at))
        first = next((w for w in ways if w is not None), None)
        is_move = kind is Kind.LAYOUT
        return None if first is None else (*first, *([equation] if is_move else ()))

    return way(value) or ()
