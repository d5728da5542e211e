"""Nodes in the making, and what every pass of recognition asks about an equation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import jax
import numpy as np
from jax.extend.core import Primitive
from jax.extend.core import primitives as p

from jaxinterp.tracing.compat import bind, existing
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.program.program import Constant, Value

# What hands a value on and lets no derivative back.
_STOPS = frozenset(existing("stop_gradient_p"))


@dataclasses.dataclass(eq=False)
class Draft:
    """A node in the making: its role and the equations that it owns."""

    role: Role
    equations: set[int]
    kernel: int | None = None
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def last(self) -> int:
        """The equation that gives the node's result."""
        return max(self.equations)


class Sketch:
    """The drafts of one program so far.

    Attributes:
        flow: the program and what depends on its input.
        equations: those of the program.
        cuts: values that must stay visible: no node may contain one in its inside.
        owner: the node of each equation.
    """

    def __init__(self, flow: Flow, cuts: frozenset[Value]):
        self.flow = flow
        self.equations = flow.program.equations
        self.cuts = cuts
        self.owner: dict[int, Draft] = {}
        self._fixed: dict[Value, bool] = {}

    def claim(self, draft: Draft) -> None:
        """Gives a draft its equations, also those that had another owner."""
        for index in draft.equations:
            self.owner[index] = draft

    def is_free(self, index: int) -> bool:
        """Whether no draft owns an equation."""
        return index not in self.owner

    def kind(self, index: int) -> Kind | None:
        """What the primitive of an equation does; `None` if nobody knows."""
        return KINDS.get(self.equations[index].primitive)

    def produces(self, value: Value, primitive: Primitive) -> bool:
        """Whether a value is the result of a primitive."""
        at = self.flow.producer.get(value)
        return at is not None and self.equations[at].primitive is primitive

    def is_inexact(self, index: int) -> bool:
        """Whether every result of an equation can carry a derivative."""
        return all(output.is_inexact for output in self.equations[index].outputs)

    def is_at_one_home(self, equations: Iterable[int]) -> bool:
        """Whether all or none of some equations are of one rematerialized call."""
        return len({self.flow.rematerialized.get(i) for i in equations}) <= 1

    def reads_twice(self, index: int) -> bool:
        """Whether an equation reads an active value more than once, as in `x * x`."""
        values = [v for v in self.equations[index].values if v in self.flow.active]
        return len(values) != len(set(values))

    def next(self, index: int) -> int | None:
        """The only reader of an equation's only result, unless the value is a cut."""
        (*_, output) = self.equations[index].outputs
        if output in self.cuts or len(self.equations[index].outputs) != 1:
            return None
        reader = self.flow.only_reader(output)
        homes = self.flow.rematerialized
        if reader is None or homes.get(reader) is not homes.get(index):
            return None
        return reader

    def affine_step(self, index: int) -> str | None:
        """What an equation with one active operand does: scale, shift, cast, layout."""
        operands = self.flow.active_inputs(index)
        equation = self.equations[index]
        if len(operands) != 1 or equation.values.count(operands[0]) != 1:
            return None
        if len(equation.outputs) != 1 or equation.primitive in _STOPS:
            return None
        (x,), (output,), kind = operands, equation.outputs, self.kind(index)
        if not (x.is_inexact and output.is_inexact):
            return None
        if kind is Kind.LAYOUT:
            repeats = equation.primitive is p.broadcast_in_dim_p and np.prod(
                x.shape
            ) != np.prod(output.shape)
            return None if repeats else "layout"
        if kind is Kind.CAST:
            return "cast"
        if x.shape != output.shape:
            return None
        if kind is Kind.ADDITIVE:
            return "shift"
        if kind in (Kind.MULTIPLICATIVE, Kind.NEGATION):
            return "scale"
        if kind is Kind.DIVISION and equation.inputs[0] is x:
            return "scale"
        return None

    def is_linear(self, inside: Iterable[int]) -> bool:
        """Whether every step is affine in what is active, so that all together are."""
        linear = (
            Kind.ADDITIVE,
            Kind.NEGATION,
            Kind.CAST,
            Kind.LAYOUT,
            Kind.SUM,
            Kind.MOVE,
            Kind.SCATTER,
        )
        for index in inside:
            equation, kind = self.equations[index], self.kind(index)
            if equation.primitive in _STOPS or not self.is_inexact(index):
                return False
            active = [v for v in equation.inputs if v in self.flow.active]
            if (
                kind in linear
                or (kind is Kind.MULTIPLICATIVE and len(active) == 1)
                or (kind is Kind.DIVISION and active == [equation.inputs[0]])
            ):
                continue
            return False
        return True

    def is_fixed(self, value: Value | Constant) -> bool:
        """Whether a value is made of numbers alone: it reads no weight and no input."""
        if isinstance(value, Constant):
            return value.shape == ()
        if value not in self._fixed:
            at = self.flow.producer.get(value)
            self._fixed[value] = at is not None and all(
                self.is_fixed(v) for v in self.equations[at].inputs
            )
        return self._fixed[value]

    def is_negative(self, value: Value | Constant) -> bool:
        """Whether a value is a number below zero, written in an equation."""
        return isinstance(value, Constant) and bool(np.all(np.asarray(value.value) < 0))

    def is_equal(self, first: int, second: int) -> bool:
        """Whether two equations compute the same: one, or one written twice."""
        if first == second:
            return True
        a, b = self.equations[first], self.equations[second]
        if (a.primitive, len(a.inputs)) != (b.primitive, len(b.inputs)):
            return False
        pairs = zip(a.inputs, b.inputs, strict=True)
        return a.params == b.params and all(self._is_same(*pair) for pair in pairs)

    def _is_same(self, left: Value | Constant, right: Value | Constant) -> bool:
        if left is right:
            return True
        if isinstance(left, Constant) and isinstance(right, Constant):
            return np.array_equal(np.asarray(left.value), np.asarray(right.value))
        if not (isinstance(left, Value) and isinstance(right, Value)):
            return False
        one, other = self.flow.producer.get(left), self.flow.producer.get(right)
        return one is not None and other is not None and self.is_equal(one, other)

    def number(self, value: Value | Constant) -> np.ndarray:
        """The array that a fixed value is."""
        if isinstance(value, Constant):
            return np.asarray(value.value)
        equation = self.equations[self.flow.producer[value]]
        operands = [self.number(v) for v in equation.inputs]
        with jax.ensure_compile_time_eval():
            results = bind(equation.primitive, operands, equation.params)
        return np.asarray(results[equation.outputs.index(value)])

    def is_fixed_step(self, index: int) -> bool:
        """Whether all that an equation reads, besides activations, is fixed."""
        inputs = self.equations[index].inputs
        return all(v in self.flow.active or self.is_fixed(v) for v in inputs)
