"""Which values depend on the input, who reads them, and what lies between two.

Everything here follows the flow of data. A value is *active* if it depends on the
explained input; weights, constants and what is computed from them alone are inactive,
whether they are arguments, closed over or written in an equation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property

from jax.extend.core import primitives as p

from jaxinterp.checks import is_traced
from jaxinterp.tracing.compat import existing
from jaxinterp.tracing.facts.axes import reshape_groups
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind
from jaxinterp.tracing.facts.signs import NOTHING, Signs, signs
from jaxinterp.tracing.program.loops import loop_bindings
from jaxinterp.tracing.program.program import Atom, Call, Constant, Program, Value

_STOPS = frozenset(existing("stop_gradient_p"))


def active_values(program: Program, roots: Iterable[Value]) -> frozenset[Value]:
    """Returns the values, those of bodies included, that depend on `roots`.

    Args:
        program: the traced function.
        roots: the values that are the explained inputs.
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

    A mask such as `x > 0` is active and carries no gradient. Neither do integers: if
    the input is tokens, only what a table or a kernel makes of them carries one.

    Args:
        program: the traced function.
        roots: the values that are the explained inputs.
        active: the values that depend on the explained inputs.
    """
    roots = list(roots)
    carrying = {root for root in roots if root.is_inexact}
    by_tokens = len(carrying) < len(roots)

    def visit(program: Program) -> None:
        ends = {c.stop - 1: c.equation for c in program.calls if c.has_own_derivative}
        for index, equation in enumerate(program.equations):
            if index in ends and not carrying.isdisjoint(ends[index].values):
                # Its derivative is the user's, whatever the equations inside do.
                carrying.update(o for o in ends[index].outputs if o.is_inexact)
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
    """A program, and which of its values depend on the explained input.

    Attributes:
        program: the traced function, or the body of a loop.
        active: the values that depend on the explained input.
        carrying: the active values that can send a gradient back; all of them if
            `None`.
        whole: the traced function, around all loops; the program if `None`.
        assumed: what is proven of values that enter the body of a loop.
    """

    program: Program
    active: frozenset[Value]
    carrying: frozenset[Value] | None = None
    whole: Program | None = None
    assumed: Signs = NOTHING

    @cached_property
    def producer(self) -> Mapping[Value, int]:
        """For each value, the index of the equation that writes it."""
        return {
            output: index
            for index, equation in enumerate(self.program.equations)
            for output in equation.outputs
        }

    @cached_property
    def readers(self) -> Mapping[Value, tuple[int, ...]]:
        """For each value, the indices of the equations that read it.

        The index -1 stands for the outputs of the program.
        """
        readers: dict[Value, list[int]] = {}
        for index, equation in enumerate(self.program.equations):
            for value in dict.fromkeys(equation.values):
                readers.setdefault(value, []).append(index)
        for value in self.program.outputs:
            if isinstance(value, Value):
                readers.setdefault(value, []).append(-1)
        return {value: tuple(indices) for value, indices in readers.items()}

    @cached_property
    def rematerialized(self) -> Mapping[int, Call]:
        """For the index of an equation, the innermost `jax.checkpoint` around it."""
        calls = [call for call in self.program.calls if call.checkpoint is not None]
        return {i: call for call in calls for i in range(call.start, call.stop)}

    @cached_property
    def dead(self) -> frozenset[int]:
        """The indices of the equations whose results nothing needs."""
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

    def carries(self, value: Atom) -> bool:
        """Whether an active value can send a gradient back, as no mask or count can."""
        return self.carrying is None or value in self.carrying

    def only_reader(self, value: Value) -> int | None:
        """The index of the equation that reads a value, if there is exactly one."""
        readers = self.readers.get(value, ())
        return readers[0] if len(readers) == 1 and readers[0] >= 0 else None

    @cached_property
    def dominator(self) -> Mapping[Value, tuple[Value | None, int]]:
        """For each active value its immediate dominator, and its depth below inputs.

        `u` dominates `v` if every path from the inputs to `v` goes through `u`.
        """
        tree: dict[Value, tuple[Value | None, int]] = {}
        for value in self.program.inputs:
            tree[value] = (None, 1)
        for index, equation in enumerate(self.program.equations):
            operands = self.active_inputs(index)
            if not operands:
                continue
            parent = operands[0]
            for other in operands[1:]:
                parent = _meet(tree, parent, other)
            depth = tree[parent][1] + 1 if parent is not None else 1
            for output in equation.outputs:
                tree[output] = (parent, depth)
        return tree

    def common_source(self, values: Iterable[Value]) -> Value | None:
        """The nearest value through which all paths from the inputs to `values` go."""
        first, *rest = values
        source: Value | None = first
        for other in rest:
            source = _meet(self.dominator, source, other)
        return source

    def between(self, source: Value, index: int) -> set[int] | None:
        """The active equations on all paths from a value to an equation.

        The equation itself is one of them, and so are equations whose results nothing
        needs. Returns `None` if an equation outside reads anything between, or if only
        a part of the equations is in a `jax.checkpoint`.
        """
        region = {index}
        todo = [v for v in self.active_inputs(index) if v is not source]
        while todo:
            at = self.producer.get(todo.pop())
            if at is None:
                return None
            if at not in region:
                region.add(at)
                todo += [v for v in self.active_inputs(at) if v is not source]
        equations = self.program.equations
        values = {o for at in region for o in equations[at].outputs} | {source}
        todo = [o for at in region - {index} for o in equations[at].outputs]
        while todo:
            for reader in self.readers.get(todo.pop(), ()):
                if reader in region:
                    continue
                if reader not in self.dead or reader > index:
                    return None
                if not values.issuperset(self.active_inputs(reader)):
                    return None
                region.add(reader)
                values.update(equations[reader].outputs)
                todo += equations[reader].outputs
        is_whole = len({self.rematerialized.get(at) for at in region}) == 1
        return region if is_whole else None

    # --- Inactive values --------------------------------------------------------------

    @cached_property
    def fixed(self) -> frozenset[Value]:
        """The values computed from literals, indices and truth values: no weights."""
        constants = self.program.constants.items()
        known = (v for v, array in constants if not is_traced(array))
        fixed = {v for v in known if not v.is_inexact}
        for equation in self.program.equations:
            literals = [v for v in equation.inputs if isinstance(v, Constant)]
            is_fixed = fixed.issuperset(equation.values) and not equation.bodies
            if is_fixed and all(v.shape == () for v in literals):
                fixed.update(equation.outputs)
        return frozenset(fixed)

    def varying_axes(self, atom: Atom) -> frozenset[int]:
        """The axes along which an inactive value may differ and not only repeat."""
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
    def signs(self) -> Signs:
        """What the graph proves of the signs of values."""
        return signs(self.program, self.assumed)

    @property
    def nonnegative(self) -> frozenset[Value]:
        """The values that the graph proves to be at least zero."""
        return self.signs.nonnegative

    @property
    def gates(self) -> frozenset[Value]:
        """The values that the graph proves to be gates, between zero and one."""
        return self.signs.gates


def _meet(
    tree: Mapping[Value, tuple[Value | None, int]], a: Value | None, b: Value | None
) -> Value | None:
    """The nearest common dominator of two values."""
    while a is not b:
        if a is None or b is None:
            return None
        if tree[a][1] >= tree[b][1]:
            a = tree[a][0]
        else:
            b = tree[b][0]
    return a
