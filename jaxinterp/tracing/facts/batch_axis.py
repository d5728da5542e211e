"""The axis of an inner array along which the examples of the batch lie.

By contract it is the first axis of the explained input. Transposes, contractions and
reductions move it. Behind an operation that mixes examples, or that is not understood,
the axis cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.extend.core import primitives as p

from jaxinterp.checks import is_integer
from jaxinterp.tracing.facts.axes import reshape_groups
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.program.program import Equation, Value

# A function of an equation, the number of an operand and the operand's axis of
# examples, to the axis of examples of the equation's first result.
_Move = Callable[[Equation, int, int], int | None]


def batch_axis(flow: Flow, value: Value, size: int) -> int | None:
    """Returns the axis of an active value along which examples lie.

    A reshape may have merged other axes into it: then it is longer than the batch.

    Args:
        flow: the program of the value, which must not be the body of a loop.
        value: the value whose axis is returned.
        size: how many examples the batch holds.

    Returns:
        The axis, or `None` if it cannot be told.
    """
    return _axes(flow, size, value).get(value)


def mixing_equation(flow: Flow, value: Value, size: int) -> Equation | None:
    """Returns an equation that adds up or compares examples, on which a value depends.

    An example is the mean over the batch of a batch norm in training. Operations that
    are not understood count as not mixing.

    Args:
        flow: the program of the value, which must not be the body of a loop.
        value: the value that may depend on such an equation.
        size: how many examples the batch holds, more than 1.

    Returns:
        The first such equation, or `None`.
    """
    axes = _axes(flow, size, value)
    mixing: dict[Value, Equation] = {}
    for equation in flow.program.equations:
        operands = [v for v in equation.values if v in flow.active]
        source = next((mixing[v] for v in operands if v in mixing), None)
        if source is None and any(
            axes.get(v) is not None and _takes_together(equation, i, axes[v])
            for i, v in enumerate(equation.inputs)
            if isinstance(v, Value) and v in flow.active
        ):
            source = equation
        if source is not None:
            mixing.update(dict.fromkeys(equation.outputs, source))
        if value in equation.outputs:
            break
    return mixing.get(value)


def _axes(flow: Flow, size: int, last: Value) -> dict[Value, int | None]:
    """For each value up to the last, the axis of examples if it can be told."""
    inputs = (v for v in flow.program.inputs if v in flow.active)
    axes: dict[Value, int | None] = dict.fromkeys(inputs, 0)
    for equation in flow.program.equations:
        if last in axes:
            break
        candidates = {
            moved_axis(equation, i, axes.get(v), size)
            for i, v in enumerate(equation.inputs)
            if isinstance(v, Value) and v in flow.active
        }
        if len(candidates) == 1:
            axes.update(dict.fromkeys(equation.outputs, *candidates))
    return axes


def _takes_together(equation: Equation, operand: int, axis: int | None) -> bool:
    """Whether an equation sums or compares the entries along an axis of an operand."""
    if equation.primitive is p.dot_general_p:
        contracting, _ = equation.params["dimension_numbers"]
        return axis in contracting[operand]
    is_reduction = KINDS.get(equation.primitive) in (Kind.SUM, Kind.PICK)
    return is_reduction and axis in equation.params.get("axes", ())


def moved_axis(
    equation: Equation, operand: int, axis: int | None, size: int
) -> int | None:
    """Returns the axis of a result that is an axis of an operand, if one is.

    Args:
        equation: an equation that is no loop.
        operand: the number of the operand.
        axis: the axis of the operand, such as that of the examples.
        size: how many entries, or examples, lie along it.
    """
    if axis is None:
        return None
    if equation.primitive in (p.reshape_p, p.squeeze_p):
        return _reshape(equation, axis, size)
    move = _MOVES.get(equation.primitive)
    if move is not None:
        return move(equation, operand, axis)
    kind = KINDS.get(equation.primitive)
    if kind in POINTWISE:
        return axis if equation.inputs[operand].shape else None
    if kind in (Kind.SUM, Kind.PICK, Kind.MOVE):
        return _unless_reduced(equation, operand, axis)
    return None


def _transpose(equation: Equation, operand: int, axis: int) -> int | None:
    return equation.params["permutation"].index(axis)


def _broadcast(equation: Equation, operand: int, axis: int) -> int | None:
    return equation.params["broadcast_dimensions"][axis]


def _reshape(equation: Equation, axis: int, size: int) -> int | None:
    old, new = equation.inputs[0].shape, equation.outputs[0].shape
    olds, news = next(g for g in reshape_groups(old, new) if axis in g[0])
    if any(old[i] != 1 for i in olds if i < axis):
        return None  # examples are no longer the outermost of what is merged
    entries = 1
    for i in news:
        entries *= new[i]
        if new[i] == entries == size:
            return i
    wide = [i for i in news if new[i] != 1]
    return wide[0] if len(wide) == 1 else None


def _dot(equation: Equation, operand: int, axis: int) -> int | None:
    contracting, batch = equation.params["dimension_numbers"]
    if axis in batch[operand]:
        return list(batch[operand]).index(axis)
    if axis in contracting[operand]:
        return None
    free = [
        [i for i in range(len(v.shape)) if i not in (*contracting[side], *batch[side])]
        for side, v in enumerate(equation.inputs)
    ]
    before = len(batch[0]) + (len(free[0]) if operand == 1 else 0)
    return before + free[operand].index(axis)


def _convolution(equation: Equation, operand: int, axis: int) -> int | None:
    numbers = equation.params["dimension_numbers"]
    is_batch = operand == 0 and axis == numbers.lhs_spec[0]
    is_grouped = equation.params["batch_group_count"] != 1
    return numbers.out_spec[0] if is_batch and not is_grouped else None


def _gather(equation: Equation, operand: int, axis: int) -> int | None:
    if operand == 0:
        return None
    offset = equation.params["dimension_numbers"].offset_dims
    rest = [i for i in range(len(equation.outputs[0].shape)) if i not in offset]
    return rest[axis]


def _unless_reduced(equation: Equation, operand: int, axis: int) -> int | None:
    params = equation.params
    shape, new = equation.inputs[operand].shape, equation.outputs[0].shape
    if len(new) > len(shape):  # a stack: the new axis pushes later ones back
        return axis + (axis >= params["axis"])
    is_unstacked = len(new) < len(shape) and "axes" not in params
    reduced = _axes_of(params["axis"] if is_unstacked else params.get("axes", ()))
    mixed = {*reduced, *_axes_of(params.get("dimensions", ()))}
    mixed |= {*_axes_of(params.get("dimension", ())), *_axes_of(params.get("axis"))}
    window = params.get("window_dimensions")
    padding = params.get("padding_config")
    if axis in mixed or (window is not None and window[axis] != 1):
        return None
    if padding is not None and tuple(padding[axis]) != (0, 0, 0):
        return None
    left = axis if len(new) == len(shape) else axis - sum(i < axis for i in reduced)
    is_whole = left < len(new) and new[left] == shape[axis]
    return left if is_whole else None


def _axes_of(param: Any) -> tuple[int, ...]:
    if param is None:
        return ()
    return (int(param),) if is_integer(param) else tuple(param)


_MOVES: dict[Any, _Move] = {
    p.transpose_p: _transpose,
    p.broadcast_in_dim_p: _broadcast,
    p.dot_general_p: _dot,
    p.conv_general_dilated_p: _convolution,
    p.gather_p: _gather,
}
