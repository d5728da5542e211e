"""The groups of equations that become nodes, and questions about single equations.

Every pass of `recognize` and `joins` reads and extends one `Grouping`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.extend.core import primitives as p

from jaxinterp.tracing.compat import existing
from jaxinterp.tracing.facts.axes import relabel
from jaxinterp.tracing.facts.constants import (
    is_mask,
    known_array,
    known_mask,
    mask_factor,
)
from jaxinterp.tracing.facts.curve import constant_number, curve
from jaxinterp.tracing.facts.fixed_kernel import copies_entries
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.program.program import Constant, Value

# Primitives that return their operand and stop its derivative.
_STOPS = frozenset(existing("stop_gradient_p"))


@dataclasses.dataclass(eq=False)
class Group:
    """The equations that together become one node.

    Attributes:
        role: the role of the node.
        equations: the indices of the equations.
        kernel: for an affine map, the index of its contraction.
        before: indices of the elementwise affine steps before the contraction.
        after: indices of the affine steps after it.
        products: for an affine map without a contraction, its products with weights.
        statistics: what a normalization or a quotient divides by.
        around: the signs and shifts around an activation, which are no part of what
            is captured and edited by its name.
        curve: whether a softmax has an exponential that only arithmetic found.
        hides_activation: whether a product has an activation and its input as factors.
        twin: for an activation, an earlier one with the same values.
    """

    role: Role
    equations: set[int]
    kernel: int | None = None
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    products: tuple[int, ...] = ()
    statistics: frozenset[Value] = frozenset()
    around: set[int] = dataclasses.field(default_factory=set)
    curve: bool = False
    hides_activation: bool = False
    twin: Group | None = None

    @property
    def last(self) -> int:
        """The index of the equation whose result is that of the node."""
        return max(self.equations)

    @property
    def core(self) -> set[int]:
        """The equations without those around an activation."""
        return self.equations - self.around


class Grouping:
    """Which group each equation of a program belongs to, as far as is decided.

    Attributes:
        flow: the program and what depends on its input.
        equations: the equations of the program.
        cuts: values that must stay visible: each is an input or the result of a node,
            never a step inside one.
        owner: for the index of each equation that has a group, the group.
    """

    def __init__(self, flow: Flow, cuts: frozenset[Value]):
        self.flow = flow
        self.equations = flow.program.equations
        self.cuts = cuts
        self.owner: dict[int, Group] = {}
        self._masking: dict[int, bool] = {}
        self._known_masks: dict[int, bool] = {}

    def claim(self, group: Group) -> None:
        """Makes a group the owner of its equations, also of those that had another."""
        for index in group.equations:
            self.owner[index] = group

    def is_free(self, index: int) -> bool:
        """Whether an equation belongs to no group yet."""
        return index not in self.owner

    def kind(self, index: int) -> Kind | None:
        """What the primitive of an equation does; `None` if it is not in the table."""
        return KINDS.get(self.equations[index].primitive)

    def produces(self, value: Value, primitive: Primitive) -> bool:
        """Whether a value is the result of a primitive."""
        at = self.flow.producer.get(value)
        return at is not None and self.equations[at].primitive is primitive

    def is_inexact(self, index: int) -> bool:
        """Whether every result of an equation can carry a derivative."""
        return all(output.is_inexact for output in self.equations[index].outputs)

    def is_in_one_checkpoint(self, equations: Iterable[int]) -> bool:
        """Whether equations are all in the same `jax.checkpoint`, or all in none."""
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
        checkpoints = self.flow.rematerialized
        if reader is None or checkpoints.get(reader) is not checkpoints.get(index):
            return None
        return reader

    def previous(self, indices: Iterable[int]) -> int | None:
        """The equation of the only active value that some read, if they alone do."""
        readers = set(indices)
        sources = self.sources(readers)
        at = self.flow.producer.get(sources[0]) if len(sources) == 1 else None
        if at is None or len(self.equations[at].outputs) != 1:
            return None
        is_alone = readers.issuperset(self.flow.readers[sources[0]])
        is_hidden = is_alone and sources[0] not in self.cuts
        return at if is_hidden and self.is_in_one_checkpoint({at, *readers}) else None

    def affine_step(self, index: int) -> str | None:
        """What an equation does to its one active operand, if that is an affine step.

        Returns:
            `"scale"`, `"shift"`, `"cast"` or `"layout"`; `None` for other equations.
        """
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
        if x.shape != output.shape or self.is_masking(index):
            return None
        if kind is Kind.ADDITIVE:
            return "shift"
        if kind in (Kind.MULTIPLICATIVE, Kind.NEGATION):
            return "scale"
        if kind is Kind.DIVISION and equation.inputs[0] is x:
            return "scale"
        return None

    def is_masking(self, index: int) -> bool:
        """Whether an equation multiplies by zeros and ones: it selects entries."""
        if index not in self._masking:
            factor = mask_factor(self.flow, self.equations[index])
            self._masking[index] = factor is not None
        return self._masking[index]

    def is_known_mask(self, index: int) -> bool:
        """Whether an equation keeps known entries, and makes zeros of the others."""
        if index not in self._known_masks:
            mask = known_mask(self.flow, self.equations[index])
            self._known_masks[index] = mask is not None
        return self._known_masks[index]

    def affine_steps_before(
        self, indices: Iterable[int], foldable: frozenset[int]
    ) -> tuple[int, ...]:
        """The elementwise affine steps that feed some equations and nothing else.

        Args:
            indices: the indices of the equations, which read one active value.
            foldable: the axes of that value along which scales may differ.
        """
        every, steps = set(indices), list[int]()
        while (at := self.previous(every)) is not None and self.is_free(at):
            step = self.affine_step(at)
            if step not in ("scale", "shift", "cast"):
                break
            if step == "scale" and not self._scale_axes(at) <= foldable:
                break
            steps.insert(0, at)
            every.add(at)
        is_cast = [self.affine_step(i) == "cast" for i in steps]
        return () if all(is_cast) else tuple(steps)

    def affine_steps_after(
        self, index: int, foldable: frozenset[int]
    ) -> tuple[int, ...]:
        """The affine steps after an equation, up to the last that scales or shifts.

        Args:
            index: the index of the equation.
            foldable: the axes of its result along which scales may differ.
        """
        rank = len(self.equations[index].outputs[0].shape)
        labels = [frozenset({i}) for i in range(rank)]
        steps, n_steps = list[int](), 0
        at = self.next(index)
        while at is not None and self.is_free(at):
            step = self.affine_step(at)
            if step == "layout":
                labels = relabel(self.equations[at], labels)
            axes = self._scale_axes(at) if step == "scale" else ()
            is_foldable = frozenset().union(*(labels[i] for i in axes)) <= foldable
            if step is None or not is_foldable:
                break
            steps.append(at)
            if step in ("scale", "shift"):
                n_steps = len(steps)
            at = self.next(at)
        return tuple(steps[:n_steps])

    def _scale_axes(self, index: int) -> frozenset[int]:
        """The axes of an equation's result along which its scale may differ."""
        inputs = self.equations[index].inputs
        factors = [v for v in inputs if v not in self.flow.active and v.shape]
        return frozenset().union(*map(self.flow.varying_axes, factors))

    def is_linear(self, indices: Iterable[int]) -> bool:
        """Whether each of some equations is affine in its active operand."""
        linear = (
            Kind.ADDITIVE,
            Kind.NEGATION,
            Kind.CAST,
            Kind.LAYOUT,
            Kind.SUM,
            Kind.TRANSFORM,
            Kind.MOVE,
            Kind.SCATTER,
        )
        for index in indices:
            equation, kind = self.equations[index], self.kind(index)
            if equation.primitive in _STOPS or not self.is_inexact(index):
                return False
            active = [v for v in equation.inputs if v in self.flow.active]
            if equation.primitive is p.scatter_mul_p and active[1:]:
                return False
            if (
                kind in linear
                or self.is_average(index)
                or (kind is Kind.LOOKUP and active == [equation.inputs[0]])
                or (kind is Kind.MULTIPLICATIVE and len(active) == 1)
                or (kind is Kind.DIVISION and active == [equation.inputs[0]])
            ):
                continue
            return False
        return True

    def role_of_curve(self, indices: set[int], sources: Sequence[Value]) -> Role:
        """Whether a function of each entry alone is an activation."""
        outputs = [o for i in indices for o in self.equations[i].outputs]
        if any(jnp.issubdtype(o.dtype, jnp.complexfloating) for o in outputs):
            return Role.UNKNOWN
        shape = curve(self.flow, indices, *sources) if len(sources) == 1 else None
        is_known = shape is not None
        return (
            Role.POINTWISE if is_known and not shape.is_activation else Role.ACTIVATION
        )

    def role_of_group(self, group: Group) -> Role:
        """Whether a group that is a function of each entry alone is an activation."""
        return self.role_of_curve(group.equations, self.sources(group.equations))

    def sources(self, indices: set[int]) -> tuple[Value, ...]:
        """The active values that some equations read and do not compute."""
        inner = {o for i in indices for o in self.equations[i].outputs}
        active = {v for i in indices for v in self.flow.active_inputs(i)}
        return tuple(active - inner)

    def is_average(self, index: int) -> bool:
        """Whether an equation sums entries by a contraction with equal numbers.

        Some of them may be masked: a contraction with zeros and ones is a sum too.
        """
        equation = self.equations[index]
        others = [v for v in equation.inputs if v not in self.flow.active]
        if self.kind(index) is not Kind.KERNEL or len(others) != 1:
            return False
        number = constant_number(self.flow, others[0])
        if number is None:
            return is_mask(self.flow, others[0])
        return bool(number > 0)

    def copies_entries(self, index: int, has_signs: bool = False) -> bool:
        """Whether a contraction only copies entries, as into patches of an image."""
        is_kernel = self.kind(index) is Kind.KERNEL
        if not is_kernel or len(self.flow.active_inputs(index)) != 1:
            return False
        equation = self.equations[index]
        return not self.reads_twice(index) and copies_entries(
            self.flow, equation, has_signs
        )

    def is_fixed(self, value: Value | Constant) -> bool:
        """Whether a value is computed without a weight and without the input."""
        is_literal = isinstance(value, Constant)
        return value.shape == () if is_literal else value in self.flow.fixed

    def is_negative(self, value: Value | Constant) -> bool:
        """Whether a value is a literal below zero."""
        return isinstance(value, Constant) and bool(np.all(np.asarray(value.value) < 0))

    def is_equal(self, first: int, second: int) -> bool:
        """Whether two equations are one, or the same one written twice."""
        one, other = self.equations[first].inputs, self.equations[second].inputs
        return self._is_alike(first, second) and all(map(self.is_same, one, other))

    def _is_alike(self, first: int, second: int) -> bool:
        """Whether two equations apply the same primitive in the same way."""
        a, b = self.equations[first], self.equations[second]
        is_alike = (a.primitive, len(a.inputs)) == (b.primitive, len(b.inputs))
        return is_alike and a.params == b.params

    def is_same(self, left: Value | Constant, right: Value | Constant) -> bool:
        """Whether two values are one, or computed in the same way from the same."""
        todo, known = [(left, right)], set()
        while todo:
            pair = todo.pop()
            a, b = pair
            if a is b or pair in known:
                continue
            known.add(pair)
            if isinstance(a, Constant) and isinstance(b, Constant):
                if not np.array_equal(np.asarray(a.value), np.asarray(b.value)):
                    return False
                continue
            if not (isinstance(a, Value) and isinstance(b, Value)):
                return False
            one, other = (self.flow.producer.get(v, -1) for v in (a, b))
            if min(one, other) < 0 or not self._is_alike(one, other):
                return False
            outputs = self.equations[one].outputs, self.equations[other].outputs
            if outputs[0].index(a) != outputs[1].index(b):
                return False
            pairs = zip(
                self.equations[one].inputs, self.equations[other].inputs, strict=True
            )
            # Weights last, to be compared first: they soon tell unlike values apart.
            todo += sorted(pairs, key=lambda pair: pair[0] not in self.flow.active)
        return True

    def number(self, value: Value | Constant) -> np.ndarray:
        """The array of a value for which `is_fixed` holds."""
        with jax.ensure_compile_time_eval():
            return np.asarray(known_array(self.flow, value))

    def is_fixed_step(self, index: int) -> bool:
        """Whether an equation reads nothing but activations and fixed values."""
        inputs = self.equations[index].inputs
        return all(v in self.flow.active or self.is_fixed(v) for v in inputs)
