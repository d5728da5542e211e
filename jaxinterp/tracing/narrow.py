"""Computes of each activation only what the outputs read of it.

A language model makes logits for every token, and most explanations read those after
the last. `narrowed` moves such a slice in front of what computes its operand, past
products, norms and sums, as far back as every reader wants the same slice:

    (x @ w)[:, -1:]  =  x[:, -1:] @ w

The function is the same, and the relevance too: what is not read has none. (That holds
for rules that are local, see `rules.local`.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import Primitive
from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.axes import reshape_groups
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE
from jaxinterp.tracing.program.program import Atom, Call, Equation, Program, Value


class Slice(NamedTuple):
    """A range of one axis.

    Attributes:
        axis: which axis.
        start: the first entry.
        stop: one past the last entry.
    """

    axis: int
    start: int
    stop: int

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the slice of an array."""
        size = self.stop - self.start
        return tuple(size if i == self.axis else n for i, n in enumerate(shape))


def takes_slices(program: Program) -> bool:
    """Whether there is a slice of one axis: without one there is nothing to narrow.

    Args:
        program: a function.
    """
    return any(_sliced(equation) for equation in program.equations)


def narrowed(
    program: Program, active: Collection[Value], whole: Collection[Value] = ()
) -> Program:
    """Returns the same function, which multiplies less if its outputs are slices.

    Axis 0 and kernels are left whole, and all that is in a loop, in a call with a
    derivative of its own, or computed again on the way back.

    Args:
        program: the function.
        active: the values that depend on the inputs that are explained.
        whole: values that are to be computed, and whole.
    """
    narrow = _wanted(program, active, frozenset(whole))
    products = (e for e in program.equations if e.primitive is p.dot_general_p)
    if narrow.keys().isdisjoint(e.outputs[0] for e in products):
        return program
    return _Rewrite(program, narrow).program()


# --- What is wanted -------------------------------------------------------------------


def _wanted(
    program: Program, active: Collection[Value], whole: frozenset[Value]
) -> dict[Value, Slice]:
    """The slice that is read of each value of which its equation can compute a part."""
    closed = [
        call
        for call in program.calls
        if call.has_own_derivative or call.checkpoint is not None
    ]
    inside = {index for call in closed for index in range(call.start, call.stop)}
    read = [v for call in closed for v in call.equation.values]
    outputs = [o for o in program.outputs if isinstance(o, Value)]
    wanted: dict[Value, Slice | None] = dict.fromkeys((*whole, *read, *outputs))
    narrow: dict[Value, Slice] = {}
    for index in reversed(range(len(program.equations))):
        equation = program.equations[index]
        parts = None
        if len(equation.outputs) == 1 and index not in inside:
            (output,) = equation.outputs
            part = wanted.get(output)
            if output not in whole:
                parts = _parts(equation, part, active)
            if part is not None and parts is not None:
                narrow[output] = part
        for i, atom in enumerate(equation.inputs):
            if isinstance(atom, Value):
                part = parts[i] if parts is not None else None
                wanted[atom] = part if wanted.get(atom, part) == part else None
    return narrow


def _parts(
    equation: Equation, part: Slice | None, active: Collection[Value]
) -> list[Slice | None] | None:
    """Which slice of each operand is read, `None` for all of one.

    If the equation cannot compute a part of its result, the answer is `None` itself.

    Args:
        equation: an equation with one result.
        part: the slice of its result that is wanted; `None` for all of it.
        active: the values that depend on what is explained.
    """
    if part is None:
        sliced = _sliced(equation)
        return None if sliced is None else [sliced]
    if part.axis == 0:
        return None
    axes = _operand_axes(equation, part.axis)
    if axes is None:
        return None
    is_kernel = equation.primitive is p.dot_general_p
    read = [
        v for v, axis in zip(equation.inputs, axes, strict=True) if axis is not None
    ]
    if any(not isinstance(v, Value) or (is_kernel and v not in active) for v in read):
        return None
    return [None if axis is None else part._replace(axis=axis) for axis in axes]


def _sliced(equation: Equation) -> Slice | None:
    """Which range of one axis, not the first, an equation takes, if it is a slice."""
    if equation.primitive is not p.slice_p:
        return None
    starts, stops = (equation.params[k] for k in ("start_indices", "limit_indices"))
    shape = equation.inputs[0].shape
    parts = [
        Slice(axis, start, stop)
        for axis, (start, stop, n) in enumerate(zip(starts, stops, shape, strict=True))
        if (start, stop) != (0, n)
    ]
    strides = equation.params["strides"]
    is_range = len(parts) == 1 and (strides is None or {*strides} == {1})
    return parts[0] if is_range and parts[0].axis > 0 else None


# --- Which axis of an operand is that of the result -----------------------------------

# From an equation and an axis of its result to the axis of each operand; `None` where
# the operand is read whole. The result is `None` if the equation mixes the entries.
_Axes = Sequence[int | None] | None


def _operand_axes(equation: Equation, axis: int) -> _Axes:
    placed = [
        v for k, v in equation.params.items() if "sharding" in k or k == "devices"
    ]
    if any(v is not None for v in placed):
        return None
    if KINDS.get(equation.primitive) in POINTWISE:
        return [_broadcast(atom, axis) for atom in equation.inputs]
    follow = _FOLLOW.get(equation.primitive)
    return None if follow is None else follow(equation, axis)


def _broadcast(atom: Atom, axis: int) -> int | None:
    is_repeated = axis >= len(atom.shape) or atom.shape[axis] == 1
    return None if is_repeated else axis


def _of_product(equation: Equation, axis: int) -> _Axes:
    contracted, batch = equation.params["dimension_numbers"]
    if axis < len(batch[0]):
        return [batch[0][axis], batch[1][axis]]
    free = [
        (side, i)
        for side, atom in enumerate(equation.inputs)
        for i in range(len(atom.shape))
        if i not in contracted[side] and i not in batch[side]
    ]
    side, own = free[axis - len(batch[0])]
    return [own if side == i else None for i in range(2)]


def _of_broadcast(equation: Equation, axis: int) -> _Axes:
    (operand,) = equation.inputs
    axes = equation.params["broadcast_dimensions"]
    if axis not in axes or operand.shape[axes.index(axis)] == 1:
        return [None]
    return [axes.index(axis)]


def _of_reshape(equation: Equation, axis: int) -> _Axes:
    (operand,), (result,) = equation.inputs, equation.outputs
    groups = reshape_groups(operand.shape, result.shape)
    old, new = next(group for group in groups if axis in group[1])
    sources = [i for i in old if operand.shape[i] != 1]
    is_alone = math.prod(result.shape[i] for i in new) == result.shape[axis]
    return sources if is_alone and len(sources) == 1 else None


def _of_left(equation: Equation, axis: int, gone: tuple[int, ...]) -> _Axes:
    (operand,) = equation.inputs
    return [[i for i in range(len(operand.shape)) if i not in gone][axis]]


def _of_slice(equation: Equation, axis: int) -> _Axes:
    params, (operand,) = equation.params, equation.inputs
    ends = params["start_indices"][axis], params["limit_indices"][axis]
    is_strided = params["strides"] is not None and params["strides"][axis] != 1
    return None if is_strided or ends != (0, operand.shape[axis]) else [axis]


def _of_concatenation(equation: Equation, axis: int) -> _Axes:
    if axis == equation.params["dimension"]:
        return None
    return [axis] * len(equation.inputs)


_FOLLOW: dict[Primitive, Callable[[Equation, int], _Axes]] = {
    p.dot_general_p: _of_product,
    p.broadcast_in_dim_p: _of_broadcast,
    p.reshape_p: _of_reshape,
    p.transpose_p: lambda e, axis: [e.params["permutation"][axis]],
    p.reduce_sum_p: lambda e, axis: _of_left(e, axis, e.params["axes"]),
    p.reduce_max_p: lambda e, axis: _of_left(e, axis, e.params["axes"]),
    p.squeeze_p: lambda e, axis: _of_left(e, axis, e.params["dimensions"]),
    p.slice_p: _of_slice,
    p.concatenate_p: _of_concatenation,
}

# The parameters that hold the shape of the result.
_SHAPES = {p.broadcast_in_dim_p: "shape", p.reshape_p: "new_sizes"}


# --- The program that computes no more ------------------------------------------------


class _Rewrite:
    """A program while it is rewritten.

    Attributes:
        old: the program as it was.
        narrow: the slice that is wanted of each value that is computed in part.
        parts: the value that takes the place of such a value, or of a slice of one.
        slices: the slices of values that are computed whole.
        equations: the equations so far.
        positions: where each equation that is kept as it is now stands.
    """

    def __init__(self, program: Program, narrow: dict[Value, Slice]):
        self.old = program
        self.narrow = narrow
        self.parts: dict[Value, Value] = {}
        self.slices: dict[tuple[Value, Slice], Value] = {}
        self.equations: list[Equation] = []
        self.positions: dict[int, int] = {}

    def program(self) -> Program:
        for index, equation in enumerate(self.old.equations):
            if not self.narrow.keys().isdisjoint(equation.outputs):
                self._narrow(equation)
            elif _sliced(equation) and equation.inputs[0] in self.narrow:
                self.parts[equation.outputs[0]] = self.parts[equation.inputs[0]]
            else:
                self.positions[index] = len(self.equations)
                self.equations.append(self._renamed(equation))
        outputs = tuple(self._read(atom) for atom in self.old.outputs)
        return dataclasses.replace(
            self.old,
            outputs=outputs,
            equations=tuple(self.equations),
            calls=tuple(self._calls()),
        )

    def _read(self, atom: Atom) -> Atom:
        return self.parts.get(atom, atom) if isinstance(atom, Value) else atom

    def _renamed(self, equation: Equation) -> Equation:
        inputs = tuple(map(self._read, equation.inputs))
        return dataclasses.replace(equation, inputs=inputs)

    def _narrow(self, equation: Equation) -> None:
        """Adds an equation that computes a part of what it did."""
        (output,) = equation.outputs
        part = self.narrow[output]
        axes = _operand_axes(equation, part.axis)
        assert axes is not None, "only what follows an axis is narrow"
        inputs = tuple(
            self._read(atom)
            if axis is None or not isinstance(atom, Value)
            else self._part(equation, atom, part._replace(axis=axis))
            for atom, axis in zip(equation.inputs, axes, strict=True)
        )
        shape, params = part.shape(output.shape), dict(equation.params)
        if equation.primitive in _SHAPES:
            params[_SHAPES[equation.primitive]] = shape
        if equation.primitive is p.slice_p:
            stops = list(params["limit_indices"])
            stops[part.axis] = part.stop - part.start
            params["limit_indices"] = tuple(stops)
        self.parts[output] = value = _value(shape, output.dtype)
        self.equations.append(
            dataclasses.replace(
                equation, params=params, inputs=inputs, outputs=(value,)
            )
        )

    def _part(self, reader: Equation, atom: Value, part: Slice) -> Value:
        """The slice of an operand, made where the first reader needs it."""
        if atom in self.narrow:
            return self.parts[atom]
        if (atom, part) not in self.slices:
            shape = part.shape(atom.shape)
            starts, stops = [0] * len(shape), list(atom.shape)
            starts[part.axis], stops[part.axis] = part.start, part.stop
            params = {
                "start_indices": tuple(starts),
                "limit_indices": tuple(stops),
                "strides": None,
            }
            value = _value(shape, atom.dtype)
            operands, results = (self._read(atom),), (value,)
            self.equations.append(
                Equation(
                    *(p.slice_p, params, operands, results, reader.scope),
                    origin=reader.origin,
                    callers=reader.callers,
                )
            )
            self.slices[atom, part] = value
        return self.slices[atom, part]

    def _calls(self) -> Iterator[Call]:
        """The calls in which nothing was rewritten."""
        for call in self.old.calls:
            indices = range(call.start, call.stop)
            kept = [self.positions[i] for i in indices if i in self.positions]
            is_whole = len(kept) == len(indices)
            is_whole &= self.narrow.keys().isdisjoint(call.equation.inputs)
            if not (kept and is_whole and kept[-1] - kept[0] == len(kept) - 1):
                continue
            yield dataclasses.replace(
                call,
                start=kept[0],
                stop=kept[-1] + 1,
                equation=self._renamed(call.equation),
            )


def _value(shape: tuple[int, ...], dtype: Any) -> Value:
    return Value(jax.ShapeDtypeStruct(shape, dtype))
