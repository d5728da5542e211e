"""Which axes of the values of a program count the same things: examples, positions.

Every axis of an active value has a name, a tuple of parts: one part for most axes,
several for one that a reshape has merged, and none for one of size 1. An axis that an
equation moves keeps its name, axes that are added or compared entry by entry get to
share one, and any other axis is given a new one. So the axes of an attention matrix
have the same name if the positions that read are those that are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.axes import reshape_groups
from jaxinterp.tracing.facts.batch_axis import moved_axis
from jaxinterp.tracing.facts.roles import KINDS, Kind
from jaxinterp.tracing.program.loops import loop_bindings
from jaxinterp.tracing.program.program import Equation, Program, Value


class Part:
    """One of the axes that an axis was merged of; most axes are one part.

    Args:
        size: the number of entries along it.
        is_position: whether it counts positions of the inputs, or some of them. Along
            examples, features and heads it does not.
    """

    def __init__(self, size: int, is_position: bool = False):
        self.size = size
        self.is_position = is_position
        self._same: Part | None = None

    @property
    def root(self) -> Part:
        """The part that stands for all that turned out to be the same."""
        part = self
        while part._same is not None:
            part = part._same
        return part

    def unite(self, other: Part) -> None:
        """Makes two parts the same.

        Args:
            other: a part of the same size.
        """
        root, same = self.root, other.root
        if root is not same:
            same.is_position |= root.is_position
            root._same = same


Name = tuple[Part, ...]


class AxisNames:
    """The names of the axes of all active values, those in loops included.

    Args:
        program: the traced function.
        roots: the values that are the explained inputs, examples on the first axis.
        active: the values that depend on the explained inputs.
    """

    def __init__(
        self, program: Program, roots: Iterable[Value], active: frozenset[Value]
    ):
        self._active = active
        self._names: dict[Value, tuple[Name, ...]] = {}
        self._examples: Part | None = None
        for root in roots:
            first, *rest = root.shape
            if self._examples is None:
                self._examples = Part(first)
            last = len(rest) - 1
            places = (_new(n, i < last or last == 0) for i, n in enumerate(rest))
            examples = (self._examples,) if first != 1 else ()
            self._names[root] = (examples, *places)
        self._walk(program)

    @property
    def examples(self) -> Part:
        """The part that counts the examples; if there is only one, no axis has it."""
        assert self._examples is not None, "a traced function has an input"
        return self._examples.root

    def of(self, value: Value) -> tuple[Name, ...]:
        """Returns the name of each axis of an active value.

        Args:
            value: a value that depends on the explained inputs.
        """
        names = self._names[value]
        return tuple(tuple(part.root for part in name) for name in names)

    def _walk(self, program: Program) -> None:
        for equation in program.equations:
            if equation.bodies:
                self._loop(equation)
            elif any(v in self._names for v in equation.values):
                for output in equation.outputs:
                    self._names[output] = self._of_result(equation, output)

    def _of_result(self, equation: Equation, output: Value) -> tuple[Name, ...]:
        if equation.primitive in (p.reshape_p, p.squeeze_p):
            (operand, *_) = equation.values
            return _reshaped(self._names[operand], operand.shape, output.shape)
        names: list[Name | None] = [None] * len(output.shape)
        for i, operand in self._sources(equation, output):
            for axis, name in enumerate(self._names[operand]):
                size = operand.shape[axis]
                to = moved_axis(equation, i, axis, size) if name else None
                if to is not None and output.shape[to : to + 1] == (size,):
                    names[to] = _united(names[to], name)
        for axis, size in enumerate(output.shape):
            if names[axis] is None:
                names[axis] = _new(size, self._is_position(equation, output, axis))
        return tuple(name or () for name in names)

    def _is_position(self, equation: Equation, output: Value, axis: int) -> bool:
        """Whether a new axis is made of positions: some, joined, or behind a window."""
        if equation.primitive is p.conv_general_dilated_p:
            return axis in equation.params["dimension_numbers"].out_spec[2:]
        if equation.primitive is p.dot_general_p:
            return False
        return any(
            part.root.is_position
            for _, operand in self._sources(equation, output)
            if len(operand.shape) == len(output.shape)
            for part in self._names[operand][axis]
        )

    def _sources(
        self, equation: Equation, output: Value
    ) -> Iterator[tuple[int, Value]]:
        """The named operands that a result may be made of, with their numbers."""
        is_each = KINDS.get(equation.primitive) is Kind.CAST  # a barrier has several
        own = equation.outputs.index(output)
        for i, operand in enumerate(equation.inputs):
            is_source = not is_each or i == own
            if is_source and isinstance(operand, Value) and operand in self._names:
                yield i, operand

    def _loop(self, equation: Equation) -> None:
        for body, enter, leave in loop_bindings(equation):
            for outer, inner in enter:
                if isinstance(outer, Value) and outer in self._names:
                    self._pass(outer, inner)
            for value in body.inputs:  # what is carried may become active later
                if value in self._active:
                    self._names.setdefault(value, tuple(map(_new, value.shape)))
            self._walk(body)
            for inner, outer in leave:
                if isinstance(inner, Value) and inner in self._names:
                    self._pass(inner, outer)

    def _pass(self, source: Value, value: Value) -> None:
        """Gives names to a value that is another, a step of it, or all its steps."""
        names = self._names[source]
        surplus = len(value.shape) - len(source.shape)
        if surplus > 0:
            names = (*map(_new, value.shape[:surplus]), *names)
        names = names[max(-surplus, 0) :]
        known = self._names.get(value, (None,) * len(names))
        self._names[value] = tuple(map(_united, known, names))


def _new(size: int, is_position: bool = False) -> Name:
    return () if size == 1 else (Part(size, is_position),)


def _united(known: Name | None, name: Name) -> Name:
    """The name of an axis that is known by two; of what is merged the finer one."""
    if known is None:
        return name
    if [part.size for part in known] != [part.size for part in name]:
        return max(known, name, key=len)
    for ours, other in zip(known, name, strict=True):
        ours.unite(other)
    return known


def _reshaped(
    names: tuple[Name, ...], old: tuple[int, ...], new: tuple[int, ...]
) -> tuple[Name, ...]:
    """The names after a reshape that merges axes, or takes apart what was merged."""
    result: list[Name] = [()] * len(new)
    for olds, news in reshape_groups(old, new):
        parts = [part for axis in olds for part in names[axis]]
        is_position = any(part.root.is_position for part in parts)
        for axis in news:
            name: list[Part] = []
            while parts and math.prod(q.size for q in (*name, parts[0])) <= new[axis]:
                name.append(parts.pop(0))
            if math.prod(part.size for part in name) == new[axis]:
                result[axis] = tuple(name)
            else:  # from here on, what is taken apart was no part
                result[axis] = _new(new[axis], is_position)
                parts = []
    return tuple(result)
