"""Whether a function of one value is homogeneous: a norm is of degree zero."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.curve import constant_number
from jaxinterp.tracing.facts.roles import Kind
from jaxinterp.tracing.program.program import Constant, Equation, Value
from jaxinterp.tracing.recognition.grouping import Grouping

_POWERS = {
    p.square_p: Fraction(2),
    p.sqrt_p: Fraction(1, 2),
    p.rsqrt_p: Fraction(-1, 2),
    p.cbrt_p: Fraction(1, 3),
    p.abs_p: Fraction(1),
    p.sign_p: Fraction(0),
}


def degree(grouping: Grouping, source: Value, inside: set[int]) -> Fraction | None:
    r"""The degree $d$ with $f(k x) = k^d f(x)$ for large $k > 0$, `None` without one.

    Fixed numbers that are added to a power of the input, or bound it, are small.

    Args:
        grouping: the groups of the equations.
        source: the value $x$ of which everything is a function.
        inside: the indices of the equations of $f$.
    """
    degrees: dict[Value, Fraction | None] = {source: Fraction(1)}
    for index in sorted(inside):
        equation = grouping.equations[index]
        result = _degree_of_result(grouping, index, degrees)
        degrees.update(dict.fromkeys(equation.outputs, result))
    return degrees[grouping.equations[max(inside)].outputs[0]]


def _degree_of_result(
    grouping: Grouping, index: int, degrees: Mapping[Value, Fraction | None]
) -> Fraction | None:
    equation, kind = grouping.equations[index], grouping.kind(index)
    of_inputs = [degrees[v] for v in equation.values if v in degrees]
    if not of_inputs or any(d is None for d in of_inputs):
        return None
    own = [d for d in of_inputs if d is not None]
    if kind in (Kind.MULTIPLICATIVE, Kind.KERNEL):
        return sum(own, Fraction(0))
    if kind is Kind.DIVISION:
        top, bottom = (v in degrees for v in equation.inputs)
        return (own[0] if top else Fraction(0)) - (own[-1] if bottom else Fraction(0))
    power = _power(grouping, equation)
    if power is not None:
        return own[0] * power
    if kind in (Kind.ADDITIVE, Kind.EXTREMUM, Kind.CHOICE):
        (only, *others) = set(own)
        is_small = all(map(grouping.is_fixed, _inactive(equation, degrees)))
        return only if not others and (is_small or only == 0) else None
    if kind is Kind.TEST:
        return Fraction(0)
    if kind is Kind.ELEMENTWISE:
        return Fraction(0) if set(own) == {0} else None
    return own[0]


def _power(grouping: Grouping, equation: Equation) -> Fraction | None:
    """The fixed power to which an equation raises its operand, if it does."""
    if equation.primitive is p.integer_pow_p:
        return Fraction(equation.params["y"])
    if equation.primitive is p.pow_p:
        exponent = constant_number(grouping.flow, equation.inputs[1])
        if exponent is None or equation.inputs[0] not in grouping.flow.active:
            return None
        return Fraction(float(exponent))
    return _POWERS.get(equation.primitive)


def _inactive(equation: Equation, degrees: Mapping) -> list[Value | Constant]:
    return [v for v in equation.inputs if isinstance(v, Constant) or v not in degrees]
