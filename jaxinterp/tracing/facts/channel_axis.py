"""The axis of an inner array along which channels lie.

It is the last one, unless a convolution says otherwise: models of Equinox, and those
that were ported from PyTorch, have channels first inside. A convolution names the axis,
and the steps after it move it.
"""

from __future__ import annotations

from typing import NamedTuple

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.batch_axis import moved_axis
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, Kind
from jaxinterp.tracing.program.loops import loop_bindings
from jaxinterp.tracing.program.program import Atom, Equation, Program, Value


class _Channels(NamedTuple):
    """What is known of the channels of a value.

    Attributes:
        axis: their axis; `None` if a reshape took it apart or merged it.
        shape: the shape of the last value whose axis was known.
        known: that axis. It is right again where a later value has that shape, as
            after a group norm, which divides the channels and puts them together.
    """

    axis: int | None
    shape: tuple[int, ...]
    known: int


def channel_axes(flow: Flow) -> dict[Value, int | None]:
    """Returns the axis of channels of each active value, as far as convolutions say.

    Args:
        flow: what depends on the input, in the traced function or in a loop of it.

    Returns:
        The axis by value, for those that a convolution reaches; `None` where channels
        that were not last were taken apart.
    """
    reader = _Reader(flow.active)
    reader.read(flow.program if flow.whole is None else flow.whole)
    return {
        value: c.axis
        for value, c in reader.channels.items()
        if c.axis is not None or (c.known != len(c.shape) - 1 and len(value.shape) > 2)
    }


class _Reader:
    """What is known of the channels of all values, as equations are read in order."""

    def __init__(self, active: frozenset[Value]):
        self.active = active
        self.channels: dict[Value, _Channels] = {}

    def read(self, program: Program) -> None:
        """Notes the channels of what a program computes, with its loops."""
        for equation in program.equations:
            if equation.bodies:
                self._read_loop(equation)
                continue
            after = self._after(equation)
            if after is None:
                continue
            for v in equation.outputs:
                if v in self.active:
                    is_known = after.axis is not None
                    own = after._replace(shape=v.shape) if is_known else after
                    self.channels[v] = own

    def _read_loop(self, equation: Equation) -> None:
        size = -1
        while size != len(self.channels):  # what is carried may become known later
            size = len(self.channels)
            for body, enter, leave in loop_bindings(equation):
                for outer, inner in enter:
                    self._pass(outer, inner)
                self.read(body)
                for inner, outer in leave:
                    self._pass(inner, outer)

    def _pass(self, source: Atom, target: Value) -> None:
        """Notes what is known across the border of a loop, where steps are stacked."""
        if target in self.channels or target not in self.active:
            return
        if not isinstance(source, Value) or source not in self.channels:
            return
        own = self.channels[source]
        steps = len(target.shape) - len(source.shape)  # 1 out of a scan, -1 into it
        if own.axis is not None and own.axis + steps >= 0:
            axis = own.axis + steps
            self.channels[target] = _Channels(axis, target.shape, axis)
        elif steps == 0:
            self.channels[target] = own

    def _after(self, equation: Equation) -> _Channels | None:
        """What is known of the result of an equation."""
        shape = equation.outputs[0].shape if equation.outputs else ()
        before = {
            i: self.channels[v]
            for i, v in enumerate(equation.inputs)
            if isinstance(v, Value) and v in self.channels
        }
        if equation.primitive is p.conv_general_dilated_p:
            axis = equation.params["dimension_numbers"].out_spec[1]
            if not (before and _is_of_planes(equation)):
                return _Channels(axis, shape, axis)
        moves = {i: self._moved(equation, i, c.axis) for i, c in before.items()}
        axes = {axis for axis in moves.values() if axis is not None}
        if len(axes) == 1:
            (axis,) = axes
            return _Channels(axis, shape, axis)
        last = {(c.shape, c.known) for c in before.values()}
        if axes or len(last) != 1 or equation.primitive is p.dot_general_p:
            return None  # nothing is known, they disagree, or channels are added up
        ((old, known),) = last
        return _Channels(known if shape == old else None, old, known)

    def _moved(self, equation: Equation, operand: int, axis: int | None) -> int | None:
        """The axis of a result that has the channels of an operand, if one has."""
        if axis is None:
            return None
        shape, new = equation.inputs[operand].shape, equation.outputs[0].shape
        if equation.primitive is p.dot_general_p:
            contracting, _ = equation.params["dimension_numbers"]
            if axis in contracting[operand]:
                return self._rows(equation, 1 - operand)
        if KINDS.get(equation.primitive) is Kind.MOVE and len(new) == len(shape):
            return axis  # also where its length changes
        if equation.primitive is p.gather_p and operand == 0:
            return _of_gather(equation, axis)
        moved = moved_axis(equation, operand, axis, shape[axis])
        if equation.primitive in (p.reshape_p, p.squeeze_p) and moved is not None:
            return moved if new[moved] == shape[axis] > 1 else None
        return moved

    def _rows(self, equation: Equation, matrix: int) -> int | None:
        """The axis of the rows of a matrix of weights, which are the new channels."""
        contracting, batch = equation.params["dimension_numbers"]
        taken = len({*contracting[matrix], *batch[matrix]})
        weights = equation.inputs[matrix]
        if weights in self.active or len(weights.shape) - taken != 1:
            return None
        return len(equation.outputs[0].shape) - 1 if matrix == 1 else len(batch[0])


def _is_of_planes(equation: Equation) -> bool:
    """Whether a convolution blurs one plane, and says nothing of channels."""
    numbers = equation.params["dimension_numbers"]
    kernel, result = equation.inputs[1].shape, equation.outputs[0].shape
    return result[numbers.out_spec[1]] == 1 == kernel[numbers.rhs_spec[1]]


def _of_gather(equation: Equation, axis: int) -> int | None:
    numbers = equation.params["dimension_numbers"]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [i for i in range(len(equation.inputs[0].shape)) if i not in gone]
    return numbers.offset_dims[kept.index(axis)] if axis in kept else None
