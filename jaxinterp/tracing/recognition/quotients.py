"""What is divided by what, also by a product with a reciprocal."""

from __future__ import annotations

from collections.abc import Iterator

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.curve import last_curve
from jaxinterp.tracing.facts.roles import POINTWISE, Kind
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.recognition.grouping import Grouping

_LOCAL = POINTWISE | {
    *(Kind.SUM, Kind.TRANSFORM, Kind.PICK, Kind.LAYOUT, Kind.MOVE, Kind.SCATTER),
}


def is_local(grouping: Grouping, index: int) -> bool:
    """Whether an equation may be a part of a softmax, a norm or an activation.

    Args:
        grouping: the groups of the equations.
        index: the index of the equation.
    """
    kind, active = grouping.kind(index), grouping.flow.active_inputs(index)
    if kind is Kind.KERNEL:  # a sum, or a sum of squares
        return grouping.is_average(index) or grouping.reads_twice(index)
    if kind is Kind.LOOKUP:
        return active == (grouping.equations[index].inputs[0],)
    return kind in _LOCAL


def quotients(grouping: Grouping, index: int) -> list[tuple[Value, Value]]:
    """What may be divided by what: `a / b`, or `a * b` where `b` is a reciprocal.

    Args:
        grouping: the groups of the equations.
        index: the index of the equation.
    """
    if grouping.kind(index) not in (Kind.DIVISION, Kind.MULTIPLICATIVE):
        return []
    left, right = grouping.equations[index].inputs
    if not (left in grouping.flow.active and right in grouping.flow.active):
        return []
    assert isinstance(left, Value)
    assert isinstance(right, Value)
    if grouping.kind(index) is Kind.DIVISION:
        return [(left, right)]
    pairs = [(left, right), (right, left)]
    return [(a, b) for a, b in pairs if is_reciprocal(grouping, b)]


def divisors(grouping: Grouping, index: int) -> frozenset[Value]:
    """What a quotient of two activations divides by, or its reciprocal.

    It is empty if each factor is a reciprocal, so that there is no dividend.

    Args:
        grouping: the groups of the equations.
        index: the index of the equation.
    """
    pairs = quotients(grouping, index)
    return frozenset(divisor for _, divisor in pairs if len(pairs) == 1)


def is_reciprocal(grouping: Grouping, value: Value) -> bool:
    """Whether a value is one over something, times factors.

    Args:
        grouping: the groups of the equations.
        value: an active value.
    """
    for at, operands in steps_before(grouping, value):
        equation, kind = grouping.equations[at], grouping.kind(at)
        if len(operands) != 1:
            return False
        if equation.primitive is p.rsqrt_p:
            return True
        if kind is Kind.DIVISION and equation.inputs[0] is not operands[0]:
            return True
        if equation.primitive is p.integer_pow_p:
            return equation.params["y"] < 0
        if equation.primitive is p.pow_p:
            return grouping.is_negative(equation.inputs[1])
        is_clip = kind is Kind.EXTREMUM and grouping.is_fixed_step(at)
        is_step = kind in (Kind.CAST, Kind.LAYOUT, Kind.MULTIPLICATIVE, Kind.CHOICE)
        if not (is_clip or is_step or _is_local_lookup(grouping, at)):
            return False
    return False


def steps_before(
    grouping: Grouping, value: Value
) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """The equations before a value, last first, and the active operands of each.

    They end after an equation of more than one activation; truth values and indices
    are none.

    Args:
        grouping: the groups of the equations.
        value: an active value.
    """
    while (at := grouping.flow.producer.get(value)) is not None:
        operands = grouping.flow.active_inputs(at)
        yield at, operands
        inexact = [operand for operand in operands if operand.is_inexact]
        if len(inexact) != 1:
            return
        (value,) = inexact


def divides(grouping: Grouping, index: int) -> bool:
    """Whether an equation multiplies one activation by the reciprocal of another.

    Args:
        grouping: the groups of the equations.
        index: the index of the equation.
    """
    if grouping.kind(index) is not Kind.MULTIPLICATIVE:
        return False
    pairs = quotients(grouping, index)
    divisors = [divisor for _, divisor in pairs if grouping.flow.carries(divisor)]
    curves = [last_curve(grouping.flow, divisor) for divisor in divisors]
    return any(shape is None or not shape.is_activation for shape in curves)


def _is_local_lookup(grouping: Grouping, index: int) -> bool:
    return grouping.kind(index) in (Kind.LOOKUP, Kind.MOVE) and is_local(
        grouping, index
    )
