"""Facts about the values of a program: who reads them, what they depend on, their sign.

Everything here follows the flow of data. A value is *active* if it depends on the
explained input; weights, constants and what is computed from them alone are inactive,
whether they are arguments, closed over or written in an equation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property

from jax.extend.core import primitives as p

from jaxinterp.tracing.compat import existing
from jaxinterp.tracing.facts.axes import reshape_groups
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.facts.signs import gate_values, nonnegative_values
from jaxinterp.tracing.program.loops import loop_bindings
from jaxinterp.tracing.program.program import Atom, Call, Program, Value

_STOPS = frozenset(existing("stop_gradient_p"))


def active_values(program: Program, roots: Iterable[Value]) -> frozenset[Value]:
    """Returns the values, those of bodies included, that depend on `roots`.

    Args:
        program: the traced function.
        roots: the explained inputs.
    """
    active = set(roots)

    def visit(program: Program) -> None:
        for equation in program.equations:
            if not equation.bodies:
                if any(v in active for v in equation.values):
                    active.update(equation.outputs)
                continue
            size = -1
            while size != len(active):  # what is carried may become active later
                size = len(active)
                for body, enter, leave in loop_bindings(equation):
                    active.update(inner for outer, inner in enter if outer in active)
                    visit(body)
                    active.update(outer for inner, outer in leave if inner in active)
            if equation.primitive is p.cond_p and equation.inputs[0] in active:
                active.update(equation.outputs)

    visit(program)
    return frozenset(active)


def carrying_values(
    program: Program, roots: Iterable[Value], active: frozenset[Value]
) -> frozenset[Value]:
    """Returns the active values that can send a gradient back to the input.

    A mask such as `x > 0` is active and carries nothing. Integers carry nothing either:
    where the input is tokens, what a table or a kernel makes of them does.

    Args:
        program: the traced function.
        roots: the explained inputs.
        active: the values that depend on them.
    """
    roots = list(roots)
    carrying = {root for root in roots if root.is_inexact}
    by_tokens = len(carrying) < len(roots)

    def visit(program: Program) -> None:
        for equation in program.equations:
            if equation.bodies:
                size = -1
                while size != len(carrying):
                    size = len(carrying)
                    for body, enter, leave in loop_bindings(equation):
                        pairs = (p for p in enter if p[0] in carrying)
                        carrying.update(inner for _, inner in pairs)
                        visit(body)
                        pairs = (p for p in leave if p[0] in carrying)
                        carrying.update(outer for _, outer in pairs)
                continue
            kind = KINDS.get(equation.primitive)
            starts = by_tokens and kind in (Kind.LOOKUP, Kind.KERNEL)
            sources = active if starts else carrying
            is_stop = equation.primitive in _STOPS
            if not is_stop and any(v in sources for v in equation.values):
                carrying.update(o for o in equation.outputs if o.is_inexact)

    visit(program)
    return frozenset(carrying)


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """A program with the question of what depends on its input already answered.

    Attributes:
        program: the traced function, or the body of a loop.
        active: the values that depend on the explained input.
        carrying: those of them that can send a gradient back; all by default.
    """

    program: Program
    active: frozenset[Value]
    carrying: frozenset[Value] | None = None

    @cached_property
    def producer(self) -> Mapping[Value, int]:
        """The index of the equation that writes a value."""
        return {
            output: index
            for index, equation in enumerate(self.program.equations)
            for output in equation.outputs
        }

    @cached_property
    def readers(self) -> Mapping[Value, tuple[int, ...]]:
        """The indices of the equations that read a value; -1 is the program itself."""
        readers: dict[Value, list[int]] = {}
        for index, equation in enumerate(self.program.equations):
            for value in dict.fromkeys(equation.values):
                readers.setdefault(value, []).append(index)
        for value in self.program.outputs:
            if isinstance(value, Value):
                readers.setdefault(value, []).append(-1)
        return {value: tuple(at) for value, at in readers.items()}

    @cached_property
    def rematerialized(self) -> Mapping[int, Call]:
        """The innermost rematerialized call that an equation is part of."""
        calls = [call for call in self.program.calls if call.checkpoint is not None]
        return {i: call for call in calls for i in range(call.start, call.stop)}

    @cached_property
    def dead(self) -> frozenset[int]:
        """The equations whose results nobody needs."""
        dead: set[int] = set()
        for index in reversed(range(len(self.program.equations))):
            equation = self.program.equations[index]
            readers = (r for o in equation.outputs for r in self.readers.get(o, ()))
            is_needed = equation.bodies or equation.origin.effects
            if not is_needed and all(reader in dead for reader in readers):
                dead.add(index)
        return frozenset(dead)

    def active_inputs(self, index: int) -> tuple[Value, ...]:
        """The distinct active operands of an equation, in order."""
        values = self.program.equations[index].values
        return tuple(dict.fromkeys(v for v in values if v in self.active))

    def is_active(self, index: int) -> bool:
        """Whether an equation computes from the explained input."""
        return any(v in self.active for v in self.program.equations[index].values)

    def only_reader(self, value: Value) -> int | None:
        """The index of the one equation that reads a value, if there is just one."""
        readers = self.readers.get(value, ())
        return readers[0] if len(readers) == 1 and readers[0] >= 0 else None

    @cached_property
    def dominator(self) -> Mapping[Value, tuple[Value | None, int]]:
        """For each active value its immediate dominator, and its depth below inputs.

        `u` dominates `v` if everything that reaches `v` has come through `u`.
        """
        tree: dict[Value, tuple[Value | None, int]] = {}
        for value in self.program.inputs:
            tree[value] = (None, 1)
        for index, equation in enumerate(self.program.equations):
            operands = self.active_inputs(index)
            if not operands:
                continue
            above = operands[0]
            for other in operands[1:]:
                above = _meet(tree, above, other)
            depth = tree[above][1] + 1 if above is not None else 1
            for output in equation.outputs:
                tree[output] = (above, depth)
        return tree

    def common_source(self, values: Iterable[Value]) -> Value | None:
        """The nearest value through which everything that reaches `values` has come."""
        first, *rest = values
        source: Value | None = first
        for other in rest:
            source = _meet(self.dominator, source, other)
        return source

    def between(self, source: Value, index: int) -> set[int] | None:
        """The active equations on the way from `source` to an equation, it included.

        What nobody needs is taken along. Returns `None` if anything between is read
        from outside, or only a part of it is rematerialized.
        """
        found = {index}
        todo = [v for v in self.active_inputs(index) if v is not source]
        while todo:
            at = self.producer.get(todo.pop())
            if at is None:
                return None
            if at not in found:
                found.add(at)
                todo += [v for v in self.active_inputs(at) if v is not source]
        equations = self.program.equations
        written = {o for at in found for o in equations[at].outputs} | {source}
        todo = [o for at in found - {index} for o in equations[at].outputs]
        while todo:
            for reader in self.readers.get(todo.pop(), ()):
                if reader in found:
                    continue
                if reader not in self.dead or reader > index:
                    return None
                if not written.issuperset(self.active_inputs(reader)):
                    return None
                found.add(reader)
                written.update(equations[reader].outputs)
                todo += equations[reader].outputs
        is_whole = len({self.rematerialized.get(at) for at in found}) == 1
        return found if is_whole else None

    # --- Inactive values --------------------------------------------------------------

    def varying_axes(self, atom: Atom) -> frozenset[int]:
        """The axes along which an inactive value may differ; elsewhere it repeats."""
        axes = frozenset(i for i, size in enumerate(atom.shape) if size != 1)
        at = self.producer.get(atom) if isinstance(atom, Value) else None
        if not axes or at is None:
            return axes
        equation = self.program.equations[at]
        kind = KINDS.get(equation.primitive)
        if equation.primitive is p.broadcast_in_dim_p:
            dims = equation.params["broadcast_dimensions"]
            (operand, *_) = equation.inputs
            inner = self.varying_axes(operand)
            return frozenset(d for i, d in enumerate(dims) if i in inner)
        if equation.primitive is p.reshape_p:
            (operand, *_) = equation.inputs
            inner = self.varying_axes(operand)
            groups = reshape_groups(operand.shape, atom.shape)
            return axes & frozenset(
                new for olds, news in groups if inner & set(olds) for new in news
            )
        if equation.primitive is p.transpose_p:
            inner = self.varying_axes(equation.inputs[0])
            order = equation.params["permutation"]
            return frozenset(i for i, old in enumerate(order) if old in inner)
        if kind in POINTWISE:
            return axes & frozenset().union(
                *(self.varying_axes(v) for v in equation.inputs if v.shape)
            )
        return axes

    # --- Signs ------------------------------------------------------------------------

    @cached_property
    def nonnegative(self) -> frozenset[Value]:
        """The values that the graph proves to be at least zero."""
        return nonnegative_values(self.program)

    @cached_property
    def gates(self) -> frozenset[Value]:
        """The values that the graph proves to be gates, between zero and one."""
        return gate_values(self.program, self.nonnegative)


def _meet(
    tree: Mapping[Value, tuple[Value | None, int]], a: Value | None, b: Value | None
) -> Value | None:
    while a is not b:
        if a is None or b is None:
            return None
        if tree[a][1] >= tree[b][1]:
            a = tree[a][0]
        else:
            b = tree[b][0]
    return a
