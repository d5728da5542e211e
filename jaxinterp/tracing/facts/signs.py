"""Which values cannot be negative, or positive, and which lie between zero and one.

All are proven equation by equation, for any input. NaN counts as what it should be,
and sums and products of integers as if integers had no end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.tracing.compat import existing
from jaxinterp.tracing.facts.roles import KINDS, SPLITS, Kind
from jaxinterp.tracing.program.flatten import BARRIER
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
        *(p.device_put_p, p.sharding_constraint_p, BARRIER, *SPLITS),
        *existing("stop_gradient_p"),
    }
)

# Results that are the same if the operands are.
_OF_EACH_ENTRY = (
    *(Kind.ADDITIVE, Kind.MULTIPLICATIVE, Kind.DIVISION, Kind.NEGATION),
    Kind.ELEMENTWISE,
)

_KEEP_SIGN_OF_FIRST = frozenset({p.dynamic_slice_p, p.gather_p, p.pow_p})

# Results that are not positive if no operand is.
_KEEP_OTHER_SIGN = frozenset(
    {
        *(p.add_p, p.max_p, p.reduce_sum_p, p.reduce_window_sum_p, p.cumsum_p),
        *(p.concatenate_p, p.reduce_max_p, p.reduce_min_p),
        *SPLITS,
    }
)

# Results that lie between zero and one if every operand does.
_KEEP_GATES = frozenset(
    {
        *(p.mul_p, p.max_p, p.select_n_p, p.concatenate_p, p.pad_p),
        *(p.sqrt_p, p.square_p, p.integer_pow_p, *SPLITS),
    }
)

_BILINEAR = frozenset({p.mul_p, p.div_p, p.dot_general_p})

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
    if primitive is p.clamp_p:  # the upper bound wins if it is below the lower one
        return is_nonnegative(inputs[2]) and any(map(is_nonnegative, inputs[:2]))
    if primitive is p.convert_element_type_p and not _keeps_order(equation):
        return _is_unsigned(equation)
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


class Signs(NamedTuple):
    """What is proven of the values of a program.

    Attributes:
        nonnegative: the values that cannot be negative.
        nonpositive: some of those that cannot be positive.
        gates: the values that lie between zero and one.
    """

    nonnegative: frozenset[Value] = frozenset()
    nonpositive: frozenset[Value] = frozenset()
    gates: frozenset[Value] = frozenset()


NOTHING = Signs()


def signs(program: Program, assumed: Signs = NOTHING) -> Signs:
    """Returns what is proven of the values of a program.

    Gates are sigmoids and the like, and exponentials of what is never positive, such as
    the decay of a state or a gate that is stabilized by a maximum. Copies of a gate are
    gates too, and so are one minus a gate and products of gates.

    Args:
        program: a traced function, or the body of a loop.
        assumed: what is taken as proven, of inputs of a body.
    """
    nonnegative = nonnegative_values(program, assumed.nonnegative | assumed.gates)
    proofs = _Proofs(nonnegative, set(assumed.nonpositive), set(assumed.gates))
    for equation in program.equations:
        proofs.read(equation)
    proven = frozenset(proofs.nonpositive), frozenset(proofs.gates)
    return Signs(nonnegative, *proven)


class _Proofs:
    """What is proven of the equations that were read, one after the other.

    Attributes:
        nonnegative: the values that cannot be negative.
        nonpositive: those that cannot be positive.
        gates: those between zero and one.
        above_one: those of at least one, such as the divisor in `1 / (1 + exp(-x))`.
        number: for each value what it has in common with those computed in the same
            way from the same.
        reached: for such a number those of the values that it cannot be below.
        numbers: the number of each way to compute something.
    """

    def __init__(
        self, nonnegative: frozenset[Value], nonpositive: set[Value], gates: set[Value]
    ):
        self.nonnegative = nonnegative
        self.nonpositive = nonpositive
        self.gates = gates
        self.above_one: set[Value] = set()
        self.number: dict[Value, int] = {}
        self.reached: dict[int, frozenset[int]] = {}
        self.numbers: dict[Hashable, int] = {}

    def read(self, equation: Equation) -> None:
        """Adds what is proven of the results of an equation."""
        if not equation.outputs:  # an effect alone
            return
        if len(equation.outputs) == 1:
            self._compare(equation)
            inputs = equation.inputs
            numbers = [i for i in inputs if _is_between(i, 1.0, np.inf)]
            others = [i for i in inputs if i in self.nonnegative]
            if equation.primitive is p.add_p and numbers and others:
                self.above_one.update(equation.outputs)
        if self._is_gate(equation):
            self.gates.update(equation.outputs)
        if self._is_nonpositive(equation):
            self.nonpositive.update(equation.outputs)

    # --- Which values are at least as large as others ---------------------------------

    def _compare(self, equation: Equation) -> None:
        (output,), primitive = equation.outputs, equation.primitive
        operands = [self._number(atom) for atom in equation.inputs]
        if primitive in _SAME or _is_lossless(equation):
            self.number[output] = operands[0]
            return
        params = ""
        if primitive in (p.add_p, p.max_p):
            own = self._numbered((primitive, frozenset(operands)))
        elif primitive in _COPIES or KINDS.get(primitive) in _OF_EACH_ENTRY:
            params = repr(sorted(equation.params.items()))
            own = self._numbered((primitive, params, *operands))
        else:
            return
        self.number[output] = own
        first, *rest = operands
        if primitive is p.max_p:
            self._reach(own, operands)
        elif primitive is p.add_p:
            pairs = zip(reversed(equation.inputs), operands, strict=True)
            self._reach(
                own, [n for other, n in pairs if self._is_never_negative(other)]
            )
        elif primitive in _COPIES and _keeps_order(equation):
            copies = (
                (primitive, params, n, *rest) for n in self.reached.get(first, ())
            )
            self.reached[own] = frozenset(map(self._numbered, copies))

    def _reach(self, own: int, below: Sequence[int]) -> None:
        """Notes that a value is at least as large as others, and all below these."""
        further = (self.reached.get(n, frozenset()) for n in below)
        self.reached[own] = frozenset(below).union(*further)

    def _numbered(self, key: Hashable) -> int:
        """The number of what is computed in one way, small however long that is."""
        return self.numbers.setdefault(key, len(self.numbers))

    def _number(self, atom: Atom) -> int:
        if isinstance(atom, Value):
            known = self.number.get(atom)
            return self._numbered(atom) if known is None else known
        value = np.asarray(atom.value)
        if value.shape:
            return self._numbered(id(atom))
        return self._numbered((str(value.dtype), value.tobytes()))

    def _is_at_least(self, atom: Atom, other: Atom) -> bool:
        high, low = self._number(atom), self._number(other)
        return high == low or low in self.reached.get(high, ())

    # --- Signs ------------------------------------------------------------------------

    def _is_never_negative(self, atom: Atom) -> bool:
        return _is_between(atom, 0.0, np.inf) or atom in self.nonnegative

    def _is_never_positive(self, atom: Atom) -> bool:
        return _is_between(atom, -np.inf, 0.0) or atom in self.nonpositive

    def _is_nonpositive(self, equation: Equation) -> bool:
        primitive, inputs = equation.primitive, equation.inputs
        if _is_unsigned(equation):
            return False  # below zero they start again from above
        if primitive is p.neg_p:
            return self._is_never_negative(inputs[0])
        if primitive is p.sub_p:
            left, right = inputs
            is_less = self._is_never_positive(left) and self._is_never_negative(right)
            return is_less or self._is_at_least(right, left)
        if primitive is p.div_p and inputs[1] in self.nonpositive:
            return False  # it may be zero, and the quotient positive infinity
        if primitive in _BILINEAR:
            pairs = (inputs[:2], inputs[1::-1])
            return any(
                self._is_never_negative(a) and self._is_never_positive(b)
                for a, b in pairs
            )
        if primitive is p.log_p:
            return inputs[0] in self.gates
        if primitive is p.min_p:
            return any(map(self._is_never_positive, inputs))
        keeps = primitive in _KEEP_OTHER_SIGN and all(
            map(self._is_never_positive, inputs)
        )
        is_copy = primitive in _COPIES and _keeps_order(equation)
        return keeps or (is_copy and self._is_never_positive(inputs[0]))

    def _is_gate_or_number(self, atom: Atom) -> bool:
        return _is_between(atom, 0.0, 1.0) or atom in self.gates

    def _is_gate(self, equation: Equation) -> bool:
        primitive, inputs = equation.primitive, equation.inputs
        if primitive in (p.exp_p, p.exp2_p):
            return inputs[0] in self.nonpositive
        if primitive is p.min_p:
            is_bounded = any(map(self._is_gate_or_number, inputs))
            return is_bounded and all(map(self._is_never_negative, inputs))
        if primitive is p.div_p:
            if self._is_never_negative(inputs[0]) and self._is_at_least(*inputs[::-1]):
                return True
            return _is_between(inputs[0], 0.0, 1.0) and inputs[1] in self.above_one
        if primitive is p.clamp_p:
            return all(_is_between(i, 0.0, 1.0) for i in inputs[::2])
        if primitive is p.sub_p:
            return _is_between(inputs[0], 1.0, 1.0) and inputs[1] in self.gates
        if primitive is p.integer_pow_p and equation.params["y"] < 0:
            return False
        if primitive is p.pow_p:
            is_power = _is_between(inputs[1], 0.0, np.inf)
            return is_power and inputs[0] in self.gates
        if primitive in _KEEP_GATES:
            return all(map(self._is_gate_or_number, _cases(equation)))
        is_copy = primitive in _COPIES and self._is_gate_or_number(inputs[0])
        return primitive is p.logistic_p or is_copy


def _cases(equation: Equation) -> tuple[Atom, ...]:
    """The operands that a result is made of: of a choice not what decides."""
    is_choice = equation.primitive is p.select_n_p
    return equation.inputs[1:] if is_choice else equation.inputs


_SAME = frozenset(
    {
        *(p.copy_p, p.name_p, p.device_put_p, p.sharding_constraint_p),
        *(BARRIER, *existing("stop_gradient_p")),
    }
)

_COPIES = _SAME | frozenset(
    {
        *(p.convert_element_type_p, p.reduce_precision_p),
        *(p.reshape_p, p.transpose_p, p.squeeze_p, p.broadcast_in_dim_p, p.slice_p),
        *(p.rev_p, p.dynamic_slice_p),
    }
)


def _is_lossless(equation: Equation) -> bool:
    """Whether it is a conversion to a dtype with all numbers of the one before."""
    if equation.primitive is not p.convert_element_type_p:
        return False
    old, new = equation.inputs[0].dtype, equation.params["new_dtype"]
    is_rounded = jnp.issubdtype(old, jnp.integer) and jnp.issubdtype(new, jnp.inexact)
    return jnp.promote_types(old, new) == new and not is_rounded


def _is_unsigned(equation: Equation) -> bool:
    """Whether the result has a dtype without negative numbers."""
    dtype = equation.outputs[0].dtype
    kinds = jnp.bool_, jnp.unsignedinteger
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def _keeps_order(equation: Equation) -> bool:
    """Whether copies of larger numbers are never smaller, as those of -1 and 0 in bool.

    Integers of fewer bits start again from the other end; other numbers do not.
    """
    if equation.primitive is not p.convert_element_type_p:
        return True
    old, new = equation.inputs[0].dtype, equation.params["new_dtype"]
    is_truncated = jnp.issubdtype(old, jnp.inexact) and jnp.issubdtype(
        new, jnp.signedinteger
    )
    return jnp.issubdtype(new, jnp.inexact) or is_truncated or _is_lossless(equation)


def _is_between(atom: Atom, low: float, high: float) -> bool:
    if not isinstance(atom, Constant):
        return False
    value = np.asarray(atom.value)
    return bool(((value >= low) & (value <= high)).all())
