"""Entries of an activation that do not depend on the input: padding, a column of ones.

They are joined to an activation by a pad, a concatenation or a write into zeros, and
move with it through slices, reshapes and functions of each entry alone. To a layer that
reads them they are a part of its bias. A factor of zeros and ones makes constants too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.checks import is_traced
from jaxinterp.tracing.compat import bind
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.program.program import Atom, Constant, Equation, Value

_SAME_NUMBERS = (Kind.LAYOUT, Kind.CAST)

# A bound that no activation reaches: with others it is a mask.
_BEYOND = 1e3

_MOVES = (Kind.LAYOUT, Kind.MOVE, Kind.LOOKUP, Kind.SCATTER)


def active_entries(flow: Flow, value: Value) -> Any | None:
    """Returns which entries of an activation depend on the input.

    Args:
        flow: the program of the value.
        value: an active value.

    Returns:
        An array of ones and zeros like the value; `None` if all
        entries may depend on the input, or it cannot be told.
    """
    if not any(_joins_constants(flow, e) for e in _origin(flow, value)):
        return None
    return _entries(flow, value, {})


def mask_factor(flow: Flow, equation: Equation) -> Atom | None:
    """Returns the zeros and ones by which an equation multiplies an activation.

    Args:
        flow: the program of the equation.
        equation: any equation.

    Returns:
        The operand that is the mask, `None` if there is none.
    """
    inactive = [v for v in equation.inputs if v not in flow.active]
    if KINDS.get(equation.primitive) is not Kind.MULTIPLICATIVE or len(inactive) != 1:
        return None
    return inactive[0] if is_mask(flow, inactive[0]) else None


def known_mask(flow: Flow, equation: Equation) -> Atom | None:
    """Returns what says which entries an equation keeps, if all others become zero.

    Args:
        flow: the program of the equation.
        equation: any equation.

    Returns:
        The operand that is the mask; `None` if there is none, or it is not known.
    """
    mask = mask_factor(flow, equation)
    if KINDS.get(equation.primitive) is Kind.CHOICE:
        which, *cases = equation.inputs
        others = [v for v in cases if v not in flow.active]
        if which not in flow.active and len(others) == len(cases) - 1:
            numbers = (_literal(flow, v) for v in others)
            mask = (
                which if all(n is not None and not n.any() for n in numbers) else None
            )
    is_known = mask is not None and _literal(flow, mask) is not None
    return mask if is_known else None


def _literal(flow: Flow, atom: Atom) -> np.ndarray | None:
    with jax.ensure_compile_time_eval():
        array = known_array(flow, atom)
    return None if array is None or is_traced(array) else np.asarray(array)


def is_mask(flow: Flow, atom: Atom) -> bool:
    """Whether a value is truth values, or fixed zeros and ones that are not all equal.

    Args:
        flow: the program of the value.
        atom: a value that does not depend on the input.
    """
    value: Atom | None = atom
    while isinstance(value, Value) and value.is_inexact:
        if value in flow.fixed or value in flow.program.constants:
            return _is_binary(flow, value)
        value = _same_numbers(flow, value)
    return value is not None and jnp.issubdtype(value.dtype, jnp.bool_)


def _same_numbers(flow: Flow, value: Value) -> Atom | None:
    """The value whose numbers another has, in another shape or dtype."""
    at = flow.producer.get(value)
    if at is None:
        return None
    equation = flow.program.equations[at]
    is_same = KINDS.get(equation.primitive) in _SAME_NUMBERS
    return equation.inputs[0] if is_same else None


def _is_binary(flow: Flow, value: Value) -> bool:
    array = _literal(flow, value)
    if array is None:
        return False
    array = array.reshape(-1)
    # A look at some entries is enough for most arrays of weights.
    is_binary = all(bool(((a == 0) | (a == 1)).all()) for a in (array[:99], array))
    return is_binary and 0 < array.sum() < array.size


def _keeps_some(flow: Flow, equation: Equation) -> bool:
    """Whether an equation makes constants of some entries, and only of them."""
    is_mask = mask_factor(flow, equation) is not None
    return is_mask or bounded(flow, equation) is not None or bool(_rest(flow, equation))


def _kept(flow: Flow, equation: Equation) -> Any | None:
    """Ones for the entries that `_keeps_some` keeps; `None` if they are not known."""
    factor, rest = mask_factor(flow, equation), _rest(flow, equation)
    if factor is not None:
        return known_array(flow, factor)
    if rest is not None:
        numbers = known_array(flow, rest)
        return None if numbers is None else 1 - numbers
    return bounded(flow, equation)


def _rest(flow: Flow, equation: Equation) -> Atom | None:
    """The mask $m$ if an equation is $x - m x$."""
    left, right = (*equation.inputs, None, None)[:2]
    at = flow.producer.get(right) if isinstance(right, Value) else None
    if equation.primitive is not p.sub_p or at is None or left not in flow.active:
        return None
    product = flow.program.equations[at]
    return mask_factor(flow, product) if left in product.values else None


def bounded(flow: Flow, equation: Equation) -> np.ndarray | None:
    """Returns which entries a maximum or minimum leaves as they are.

    Args:
        flow: the program of the equation.
        equation: any equation.

    Returns:
        Truth values like the known numbers of which it is the maximum or minimum, all
        of them beyond what an activation is; `None` for other equations.
    """
    numbers = [v for v in equation.inputs if v not in flow.active and v.shape]
    if equation.primitive not in (p.max_p, p.min_p) or len(numbers) != 1:
        return None
    bounds = _literal(flow, numbers[0])
    if bounds is None or (np.abs(bounds) < _BEYOND).any():
        return None
    kept = bounds < 0 if equation.primitive is p.max_p else bounds > 0
    return None if kept.all() or not kept.any() else kept


def _joins_constants(flow: Flow, equation: Equation) -> bool:
    if _keeps_some(flow, equation):
        return True
    if equation.primitive is p.pad_p:
        edges = equation.params["padding_config"]
        return any(low > 0 or high > 0 or inner for low, high, inner in edges)
    return equation.primitive in (
        *(p.concatenate_p, p.dynamic_update_slice_p, p.scatter_p, p.scatter_add_p),
        p.select_n_p,
    )


def _origin(flow: Flow, value: Value) -> list[Equation]:
    """The equations that only move entries, or change each alone, before a value."""
    equations: dict[int, Equation] = {}
    todo = [value]
    while todo:
        at = flow.producer.get(todo.pop())
        if at is None or at in equations:
            continue
        equation = flow.program.equations[at]
        if KINDS.get(equation.primitive) in (*_MOVES, *POINTWISE):
            equations[at] = equation
            todo += flow.active_inputs(at)
    return list(equations.values())


def _entries(flow: Flow, value: Value, known: dict[Value, Any]) -> Any | None:
    if value in known:
        return known[value]
    known[value] = None
    at = flow.producer.get(value)
    if at is not None and len(flow.program.equations[at].outputs) == 1:
        known[value] = _of_result(flow, flow.program.equations[at], known)
    return known[value]


def _of_result(flow: Flow, equation: Equation, known: dict[Value, Any]) -> Any | None:
    kind = KINDS.get(equation.primitive)
    active = [v for v in equation.inputs if v in flow.active and v.is_inexact]
    masks = [_entries(flow, v, known) for v in active]
    if kind is Kind.CHOICE or kind in _MOVES:
        operands = [_operand(flow, v, known) for v in equation.inputs]
        is_plain = all(m is None for m in masks)
        is_plain = is_plain and not _joins_constants(flow, equation)
        if is_plain or any(o is None for o in operands):
            return None
        (entries,) = bind(equation.primitive, operands, equation.params)
        return jnp.minimum(entries, 1)
    if _keeps_some(flow, equation):
        numbers, entries = _kept(flow, equation), masks[0]
        if numbers is None:
            return None
        kept = jnp.broadcast_to(numbers, equation.outputs[0].shape)
        return kept if entries is None else entries * kept
    known_masks = [m for m in masks if m is not None]
    if kind not in POINTWISE or len(known_masks) < len(masks) or not masks:
        return None
    (output,) = equation.outputs
    union = jnp.zeros(output.shape, output.dtype)
    for mask in known_masks:
        union = jnp.maximum(union, mask.astype(output.dtype))
    return union if output.is_inexact else None


def _operand(flow: Flow, atom: Atom, known: dict[Value, Any]) -> Any | None:
    """Ones or zeros for an array of numbers, and indices as they are."""
    if isinstance(atom, Value) and atom in flow.active:
        if not atom.is_inexact:
            return None
        entries = _entries(flow, atom, known)
        return jnp.ones(atom.shape, atom.dtype) if entries is None else entries
    if jnp.issubdtype(atom.dtype, jnp.inexact):
        return jnp.zeros(atom.shape, atom.dtype)
    return known_array(flow, atom)


def known_array(flow: Flow, atom: Atom) -> Any | None:
    """Returns the array of a value that literals and constants alone give.

    Args:
        flow: the program of the value.
        atom: the value, which does not depend on the input.

    Returns:
        The array, `None` if it depends on an argument of the program.
    """
    if isinstance(atom, Constant):
        return np.asarray(atom.value)
    if atom in flow.program.constants:
        return flow.program.constants[atom]
    at = flow.producer.get(atom)
    if at is None or flow.program.equations[at].bodies:
        return None
    equation = flow.program.equations[at]
    operands = [known_array(flow, v) for v in equation.inputs]
    if any(o is None for o in operands):
        return None
    results = bind(equation.primitive, operands, equation.params)
    return results[equation.outputs.index(atom)]
