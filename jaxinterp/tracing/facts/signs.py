"""Which values cannot be negative, and which lie between zero and one (gates).

Both are proven equation by equation, for any input. NaN counts as not negative.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.tracing.compat import existing
from jaxinterp.tracing.program.program import Atom, Constant, Equation, Program, Value

_ALWAYS = frozenset(
    {
        *(p.abs_p, p.exp_p, p.exp2_p, p.logistic_p, p.square_p, p.sqrt_p, p.rsqrt_p),
        *(p.cosh_p, p.eq_p, p.ne_p, p.ge_p, p.gt_p, p.le_p, p.lt_p, p.is_finite_p),
    }
)

# Results that are nonnegative if every operand is.
_KEEP_SIGN = frozenset(
    {
        *(p.add_p, p.mul_p, p.div_p, p.min_p, p.dot_general_p, p.reduce_sum_p),
        *(p.conv_general_dilated_p, p.reduce_window_sum_p, p.cumsum_p, p.sort_p),
        *(p.reshape_p, p.transpose_p, p.squeeze_p, p.broadcast_in_dim_p, p.slice_p),
        *(p.convert_element_type_p, p.reduce_precision_p, p.copy_p, p.name_p),
        *(p.concatenate_p, p.pad_p, p.rev_p, p.reduce_max_p, p.reduce_min_p),
        *(p.reduce_window_max_p, p.cummax_p, p.floor_p, p.round_p, p.ceil_p, p.sign_p),
        *(p.tanh_p, p.log1p_p, p.expm1_p, p.erf_p, p.cbrt_p, p.atan_p),
        *existing("stop_gradient_p"),
    }
)

_KEEP_SIGN_OF_FIRST = frozenset({p.dynamic_slice_p, p.gather_p, p.pow_p, p.clamp_p})

IsNonnegative = Callable[[Atom], bool]


def nonnegative_values(
    program: Program, assumed: frozenset[Value] = frozenset()
) -> frozenset[Value]:
    """Returns the values of a program that cannot be negative.

    Args:
        program: a traced function, or the body of a loop.
        assumed: values that are taken as not negative without a proof.
    """
    proven: set[Value] = set(assumed)
    producer: dict[Value, Equation] = {}

    def is_nonnegative(atom: Atom) -> bool:
        if isinstance(atom, Constant):
            return not np.any(np.asarray(atom.value) < 0)
        return atom in proven

    for equation in program.equations:
        producer.update(dict.fromkeys(equation.outputs, equation))
        if _is_proven(equation, is_nonnegative, producer):
            proven.update(equation.outputs)
    return frozenset(proven)


def _is_proven(
    equation: Equation,
    is_nonnegative: IsNonnegative,
    producer: dict[Value, Equation],
) -> bool:
    primitive, inputs = equation.primitive, equation.inputs
    if primitive in _ALWAYS:
        return True
    if primitive is p.max_p:
        return any(map(is_nonnegative, inputs))
    if primitive is p.select_n_p:
        return _is_choice_proven(equation, is_nonnegative, producer)
    if primitive is p.integer_pow_p:
        return equation.params["y"] % 2 == 0 or is_nonnegative(inputs[0])
    if primitive is p.mul_p and inputs[0] is inputs[1]:
        return True
    if primitive in _KEEP_SIGN_OF_FIRST:
        fill = equation.params.get("fill_value")
        return is_nonnegative(inputs[0]) and (fill is None or bool(fill >= 0))
    return primitive in _KEEP_SIGN and all(map(is_nonnegative, inputs))


def _is_choice_proven(
    equation: Equation,
    is_nonnegative: IsNonnegative,
    producer: dict[Value, Equation],
) -> bool:
    """Whether each case is nonnegative, or selected only where it is."""
    which, *cases = equation.inputs
    test = producer.get(which) if isinstance(which, Value) else None
    return all(
        is_nonnegative(case)
        or (test is not None and _is_implied(test, bool(number), case, is_nonnegative))
        for number, case in enumerate(cases)
    )


def _is_implied(
    test: Equation, answer: bool, value: Atom, is_nonnegative: IsNonnegative
) -> bool:
    """Whether the result of a comparison implies that a value is not negative."""
    if len(test.inputs) != 2:
        return False
    left, right = test.inputs
    if test.primitive is p.ne_p and left is right:
        return answer  # only NaN differs from itself
    if test.primitive in (p.gt_p, p.ge_p):
        high, low = (left, right) if answer else (right, left)
    elif test.primitive in (p.lt_p, p.le_p):
        high, low = (right, left) if answer else (left, right)
    else:
        return False
    return high is value and is_nonnegative(low)


def gate_values(program: Program, nonnegative: frozenset[Value]) -> frozenset[Value]:
    """Returns the values that are gates: sigmoids and the like, between 0 and 1.

    Copies of a gate are gates too, and so are one minus a gate and products of gates.

    Args:
        program: a traced function, or the body of a loop.
        nonnegative: the values of the program that cannot be negative.
    """
    proven: set[Value] = set()
    above_one: set[Value] = set()  # such as the divisor in `1 / (1 + exp(-x))`

    for equation in program.equations:
        primitive, inputs = equation.primitive, equation.inputs
        if primitive is p.add_p and len(equation.outputs) == 1:
            numbers = [i for i in inputs if _is_between(i, 1.0, np.inf)]
            others = [i for i in inputs if isinstance(i, Value) and i in nonnegative]
            if numbers and others:
                above_one.update(equation.outputs)
        is_gate = (
            primitive is p.logistic_p
            or (primitive is p.div_p and _is_gate_ratio(inputs, above_one))
            or (primitive is p.clamp_p and _is_between_all(inputs[::2]))
            or (primitive is p.sub_p and _is_rest_of(inputs, proven))
            or (primitive in _COPIES and inputs[0] in proven)
            or (primitive is p.mul_p and all(i in proven for i in inputs))
        )
        if is_gate:
            proven.update(equation.outputs)
    return frozenset(proven)


_COPIES = frozenset(
    {
        *(p.reshape_p, p.transpose_p, p.squeeze_p, p.broadcast_in_dim_p, p.slice_p),
        *(p.convert_element_type_p, p.reduce_precision_p, p.copy_p, p.name_p, p.rev_p),
        *(p.dynamic_slice_p, *existing("split_p", "stop_gradient_p")),
    }
)


def _is_between(atom: Atom, low: float, high: float) -> bool:
    if not isinstance(atom, Constant):
        return False
    value = np.asarray(atom.value)
    return bool(((value >= low) & (value <= high)).all())


def _is_between_all(atoms: tuple[Atom, ...]) -> bool:
    return all(_is_between(atom, 0.0, 1.0) for atom in atoms)


def _is_rest_of(inputs: tuple[Atom, ...], gates: set[Value]) -> bool:
    whole, part = inputs
    return _is_between(whole, 1.0, 1.0) and part in gates


def _is_gate_ratio(inputs: tuple[Atom, ...], above_one: set[Value]) -> bool:
    dividend, divisor = inputs
    return _is_between(dividend, 0.0, 1.0) and divisor in above_one
