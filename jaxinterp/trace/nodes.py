"""Groups equations into nodes: the affine maps, activations and sums that a person sees.

Nothing here looks at a name. An activation is whatever maps each entry of one value through
a nonlinear function, however many primitives that takes; a softmax is an exponential over
its own sum; an affine region is a kernel with everything elementwise and affine around it.
The passes run in this order, and a later one never takes equations from an earlier one:

1. joins: where paths from one value meet again, everything between may be one node
   (gelu, softmax, layer norm);
2. activations of a single equation;
3. affine regions around a kernel;
4. fixed linear maps, elementwise affine chains, and the rest, one equation each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.trace.analysis import Flow, reshape_groups
from jaxinterp.trace.program import Equation, Value
from jaxinterp.trace.roles import KINDS, Kind, Role, existing

POINTWISE = frozenset(
    {
        *(Kind.ADDITIVE, Kind.MULTIPLICATIVE, Kind.DIVISION, Kind.NEGATION, Kind.CAST),
        *(Kind.ELEMENTWISE, Kind.EXTREMUM, Kind.CHOICE, Kind.TEST),
    }
)
_LOCAL = POINTWISE | {Kind.SUM, Kind.PICK, Kind.LAYOUT, Kind.MOVE}
_ROOTS = frozenset({p.rsqrt_p, p.sqrt_p, p.pow_p})
_STOPS = frozenset(existing("stop_gradient_p"))
_LINEAR = (Kind.SUM, Kind.MOVE)
_EMPTY: frozenset[Value] = frozenset()


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


class Recognizer:
    """Finds the nodes of one program.

    Attributes:
        flow: the program and what depends on its input.
        cuts: values that must stay visible: no node may contain one in its inside.
        owner: the node of each equation.
    """

    def __init__(self, flow: Flow, cuts: frozenset[Value] = _EMPTY):
        self.flow = flow
        self.equations = flow.program.equations
        self.cuts = cuts
        self.owner: dict[int, Draft] = {}

    def run(self) -> list[Draft]:
        """Returns the nodes in network order."""
        active = [i for i in range(len(self.equations)) if self.flow.is_active(i)]
        for index in active:
            self._join(index)
        for index in active:
            self._activation(index)
        for index in active:
            self._affine(index)
        for index in active:
            self._linear(index)
        for index in active:
            self._scale(index)
        for index in active:
            if index not in self.owner:
                self._claim(Draft(self._single_role(index), {index}))
        drafts = list(dict.fromkeys(self.owner.values()))
        return sorted(drafts, key=lambda draft: draft.last)

    # --- Shared questions ---------------------------------------------------------------

    def _kind(self, index: int) -> Kind | None:
        return KINDS.get(self.equations[index].primitive)

    def _claim(self, draft: Draft) -> None:
        for index in draft.equations:
            self.owner[index] = draft

    def _is_free(self, index: int) -> bool:
        return index not in self.owner

    def _next(self, index: int) -> int | None:
        """The only reader of an equation's only result, unless the value is a cut."""
        (*_, output) = self.equations[index].outputs
        if output in self.cuts or len(self.equations[index].outputs) != 1:
            return None
        reader = self.flow.only_reader(output)
        homes = self.flow.rematerialized
        if reader is None or homes.get(reader) is not homes.get(index):
            return None
        return reader

    def _affine_step(self, index: int) -> str | None:
        """Says what an equation with one active operand does: scale, shift, cast, layout."""
        operands = self.flow.active_inputs(index)
        equation = self.equations[index]
        kind = KINDS.get(equation.primitive)
        if len(operands) != 1 or equation.values.count(operands[0]) != 1:
            return None
        if len(equation.outputs) != 1:
            return None
        (x,) = operands
        (output,) = equation.outputs
        if not (x.is_inexact and output.is_inexact) or equation.primitive in _STOPS:
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

    # --- 1. Joins -----------------------------------------------------------------------

    def _join(self, index: int) -> None:
        operands = self.flow.active_inputs(index)
        kind = self._kind(index)
        if len(operands) < 2 or kind not in POINTWISE:
            if kind in POINTWISE and self._reads_twice(index):
                self._claim(Draft(self._twice_role(index), {index}))
            return
        source = self.flow.common_source(operands)
        inside = self.flow.between(source, index) if source is not None else None
        if source is None or inside is None or not self._may_own(inside, index):
            return
        role = self._role_of_region(source, inside, index)
        if role is None:
            return
        draft = Draft(role, set(inside))
        if role in (Role.SOFTMAX, Role.LOG_SOFTMAX, Role.NORMALIZATION):
            self._extend_back(draft, source)
        if role is Role.NORMALIZATION:
            self._absorb_affine(draft)
        self._claim(draft)

    def _reads_twice(self, index: int) -> bool:
        values = [v for v in self.equations[index].values if v in self.flow.active]
        return len(values) != len(set(values))

    def _twice_role(self, index: int) -> Role:
        linear = self._kind(index) in (Kind.ADDITIVE,)
        return Role.SCALE if linear else Role.ACTIVATION

    def _may_own(self, inside: set[int], last: int) -> bool:
        absorbable = (Role.ACTIVATION, Role.SCALE, Role.LINEAR)
        for index in inside:
            draft = self.owner.get(index)
            if draft is not None and (
                draft.role not in absorbable or not draft.equations <= inside
            ):
                return False
            if self._kind(index) not in _LOCAL:
                return False
            if index != last and self.cuts.intersection(self.equations[index].outputs):
                return False
        return True

    def _role_of_region(
        self, source: Value, inside: set[int], index: int
    ) -> Role | None:
        kinds = {self._kind(i) for i in inside}
        primitives = {self.equations[i].primitive for i in inside}
        shapes = {o.shape for i in inside for o in self.equations[i].outputs}
        if kinds <= POINTWISE and shapes == {source.shape}:
            return Role.SCALE if self._is_linear(inside) else Role.ACTIVATION
        if self._is_linear(inside):
            return Role.LINEAR
        if Kind.SUM not in kinds:
            return None
        if p.exp_p in primitives and p.log_p in primitives:
            same = self.equations[index].outputs[0].shape == source.shape
            return Role.LOG_SOFTMAX if same else Role.LOGSUMEXP
        last = self._kind(index)
        if last in (Kind.DIVISION, Kind.MULTIPLICATIVE):
            if self._is_result_of(source, p.exp_p):
                return Role.SOFTMAX
            if primitives & _ROOTS or last is Kind.DIVISION:
                return Role.NORMALIZATION
        return None

    def _is_linear(self, inside: Iterable[int]) -> bool:
        """Whether every step is affine in the source, by what it does to active operands."""
        for index in inside:
            equation, kind = self.equations[index], self._kind(index)
            if equation.primitive in _STOPS:
                return False
            active = [v for v in equation.inputs if v in self.flow.active]
            if kind in (Kind.ADDITIVE, Kind.NEGATION, Kind.CAST, Kind.LAYOUT, *_LINEAR):
                if all(o.is_inexact for o in equation.outputs):
                    continue
                return False
            if kind is Kind.MULTIPLICATIVE and len(active) == 1:
                continue
            if kind is Kind.DIVISION and active == [equation.inputs[0]]:
                continue
            return False
        return True

    def _is_result_of(self, value: Value, primitive) -> bool:
        at = self.flow.producer.get(value)
        return at is not None and self.equations[at].primitive is primitive

    def _extend_back(self, draft: Draft, source: Value) -> None:
        """Takes in what prepares a softmax or a norm: exp, the shift by the maximum, mean."""
        while source not in self.cuts:
            at = self.flow.producer.get(source)
            if at is None or any(
                r not in draft.equations for r in self.flow.readers[source]
            ):
                return
            taken = self._preparation(draft.role, at)
            if taken is None:
                return
            before = self.flow.active_inputs(at)
            draft.equations |= taken
            source = (
                before[0] if len(before) == 1 else self.flow.common_source(before)
            ) or source
            if source in (o for i in taken for o in self.equations[i].outputs):
                return

    def _preparation(self, role: Role, at: int) -> set[int] | None:
        owner = self.owner.get(at)
        if role is Role.NORMALIZATION:  # centering
            is_mean = owner is not None and owner.role is Role.LINEAR
            is_sub = self.equations[at].primitive is p.sub_p
            return set(owner.equations) if is_mean and is_sub else None
        if self.equations[at].primitive is p.exp_p and role is Role.SOFTMAX:
            return {at} if owner is None else None
        if self.equations[at].primitive is not p.sub_p or owner is not None:
            return None
        operands = self.flow.active_inputs(at)
        source = self.flow.common_source(operands)
        inside = self.flow.between(source, at) if source is not None else None
        if inside is None or not self._may_own(inside, at):
            return None
        kinds = {self._kind(i) for i in inside}
        picks = Kind.PICK in kinds and kinds <= {
            *(Kind.PICK, Kind.CAST, Kind.LAYOUT, Kind.EXTREMUM, Kind.ADDITIVE),
            *(Kind.CHOICE, Kind.TEST),
        }
        return inside if picks else None

    def _absorb_affine(self, draft: Draft) -> None:
        at = self._next(draft.last)
        while at is not None and self._affine_step(at) in ("scale", "shift", "cast"):
            if not self._is_free(at):
                return
            draft.equations.add(at)
            at = self._next(at)

    # --- 2. Activations -----------------------------------------------------------------

    def _activation(self, index: int) -> None:
        if not self._is_free(index) or not self._is_activation(index):
            return
        draft = Draft(Role.ACTIVATION, {index})
        before = self.flow.producer.get(self.flow.active_inputs(index)[0])
        if (
            before is not None
            and self._kind(index) is Kind.EXTREMUM
            and self._kind(before) is Kind.EXTREMUM
            and before in self.owner
            and self._next(before) == index
        ):  # a clip: min(max(x, low), high)
            draft = self.owner[before]
            draft.equations.add(index)
        self._claim(draft)

    def _is_activation(self, index: int) -> bool:
        equation, kind = self.equations[index], self._kind(index)
        operands = self.flow.active_inputs(index)
        if len(operands) != 1 or not operands[0].is_inexact:
            return False
        (x,), (output, *more) = operands, equation.outputs
        if more or output.shape != x.shape or not output.is_inexact:
            return False
        if kind is Kind.DIVISION:
            return equation.inputs[0] is not x
        return kind in (Kind.ELEMENTWISE, Kind.EXTREMUM)

    # --- 3. Affine regions --------------------------------------------------------------

    def _affine(self, index: int) -> None:
        equation = self.equations[index]
        operands = self.flow.active_inputs(index)
        if not self._is_free(index) or self._kind(index) is not Kind.KERNEL:
            return
        if len(operands) != 1 or self._reads_twice(index):
            return
        is_conv = equation.primitive is p.conv_general_dilated_p
        x = equation.inputs.index(operands[0])
        before = self._before(index, x)
        after = self._after(index, feature_axes(equation, 1 - x))
        role = Role.CONVOLUTION if is_conv else Role.DENSE
        self._claim(Draft(role, {index, *before, *after}, index, before, after))

    def _before(self, index: int, x: int) -> tuple[int, ...]:
        """The elementwise affine steps that feed a kernel and nothing else."""
        equation = self.equations[index]
        foldable = contracted_axes(equation, x)
        steps: list[int] = []
        value = equation.inputs[x]
        while isinstance(value, Value) and value not in self.cuts:
            at = self.flow.producer.get(value)
            if at is None or not self._is_free(at) or self._next(at) is None:
                break
            step = self._affine_step(at)
            if step not in ("scale", "shift", "cast"):
                break
            if step == "scale" and not self._scale_axes(at) <= foldable:
                break
            steps.insert(0, at)
            (value,) = self.flow.active_inputs(at)
        kept = [i for i in steps if self._affine_step(i) != "cast"]
        return tuple(steps) if kept else ()

    def _after(self, index: int, foldable: frozenset[int]) -> tuple[int, ...]:
        """The affine steps that follow a kernel, to the last that scales or shifts."""
        steps: list[int] = []
        kept = 0
        labels = [frozenset({i}) for i in range(len(self.equations[index].outputs[0].shape))]
        at = self._next(index)
        while at is not None and self._is_free(at):
            step = self._affine_step(at)
            if step is None:
                break
            if step == "layout":
                labels = _relabel(self.equations[at], labels)
            if step == "scale":
                axes = self._scale_axes(at)
                if not frozenset().union(*(labels[i] for i in axes)) <= foldable:
                    break
            steps.append(at)
            if step in ("scale", "shift"):
                kept = len(steps)
            at = self._next(at)
        return tuple(steps[:kept])

    def _scale_axes(self, index: int) -> frozenset[int]:
        """The axes of an equation's result along which its scale may differ."""
        equation = self.equations[index]
        factors = [v for v in equation.inputs if v not in self.flow.active]
        return frozenset().union(*(self.flow.varying_axes(v) for v in factors if v.shape))

    # --- 4. The rest --------------------------------------------------------------------

    def _linear(self, index: int) -> None:
        if not self._is_free(index) or self._kind(index) is not Kind.SUM:
            return
        if not all(o.is_inexact for o in self.equations[index].outputs):
            return
        draft = Draft(Role.LINEAR, {index})
        at = self._next(index)
        while at is not None and self._is_free(at) and self._affine_step(at) == "scale":
            draft.equations.add(at)
            at = self._next(at)
        self._claim(draft)

    def _scale(self, index: int) -> None:
        if not self._is_free(index) or self._affine_step(index) not in ("scale", "shift"):
            return
        draft = Draft(Role.SCALE, {index})
        at = self._next(index)
        while (
            at is not None
            and self._is_free(at)
            and self._affine_step(at) in ("scale", "shift", "cast")
        ):
            draft.equations.add(at)
            at = self._next(at)
        self._claim(draft)

    def _single_role(self, index: int) -> Role:
        equation, kind = self.equations[index], self._kind(index)
        if kind is Kind.CHOICE and equation.inputs[0] in self.flow.active:
            return Role.SELECTION
        if kind is Kind.LOOKUP:
            by_input = equation.inputs[1] in self.flow.active
            return Role.EMBEDDING if by_input else Role.INDEXING
        if kind is Kind.PICK:
            windowed = equation.primitive is p.reduce_window_max_p
            return Role.MAX_POOL if windowed else Role.SELECTION
        if kind is None:
            is_carrying = any(o.is_inexact for o in equation.outputs)
            return Role.UNKNOWN if is_carrying else Role.INDEXING
        return _SINGLE_ROLES.get(kind, Role.INDEXING)


_SINGLE_ROLES = {
    Kind.ADDITIVE: Role.ADD,
    Kind.MULTIPLICATIVE: Role.PRODUCT,
    Kind.DIVISION: Role.QUOTIENT,
    Kind.KERNEL: Role.MATMUL,
    Kind.EXTREMUM: Role.SELECTION,
    Kind.ELEMENTWISE: Role.ACTIVATION,
    Kind.LOOP: Role.LOOP,
}


def feature_axes(equation: Equation, kernel: int) -> frozenset[int]:
    """Returns the axes of a contraction's result that the kernel indexes.

    Args:
        equation: a `conv_general_dilated` or `dot_general`.
        kernel: which operand is the kernel.
    """
    if equation.primitive is p.conv_general_dilated_p:
        if kernel != 1 or equation.params["batch_group_count"] != 1:
            return frozenset()
        return frozenset({equation.params["dimension_numbers"].out_spec[1]})
    (contracting, batch) = equation.params["dimension_numbers"]
    lhs, rhs = equation.inputs
    n_batch = len(batch[0])
    n_lhs = len(lhs.shape) - n_batch - len(contracting[0])
    n_rhs = len(rhs.shape) - n_batch - len(contracting[1])
    free = range(n_batch, n_batch + n_lhs)
    if kernel == 1:
        free = range(n_batch + n_lhs, n_batch + n_lhs + n_rhs)
    return frozenset(range(n_batch)) | frozenset(free)


def contracted_axes(equation: Equation, x: int) -> frozenset[int]:
    """Returns the axes of the activation that the kernel indexes too.

    Args:
        equation: a `conv_general_dilated` or `dot_general`.
        x: which operand is the activation.
    """
    if equation.primitive is p.conv_general_dilated_p:
        if x != 0 or equation.params["batch_group_count"] != 1:
            return frozenset()
        return frozenset({equation.params["dimension_numbers"].lhs_spec[1]})
    (contracting, batch) = equation.params["dimension_numbers"]
    return frozenset(contracting[x]) | frozenset(batch[x])


def _relabel(equation: Equation, labels: list[frozenset[int]]) -> list[frozenset[int]]:
    """Carries the labels of axes through an equation that changes the layout."""
    (operand, *_), (output,) = equation.inputs, equation.outputs
    if equation.primitive is p.transpose_p:
        return [labels[i] for i in equation.params["permutation"]]
    moved = [frozenset() for _ in output.shape]
    if equation.primitive is p.broadcast_in_dim_p:
        for i, axis in enumerate(equation.params["broadcast_dimensions"]):
            moved[axis] = labels[i]
        return moved
    for olds, news in reshape_groups(operand.shape, output.shape):
        union = frozenset().union(*(labels[i] for i in olds))
        for axis in news:
            moved[axis] = union if output.shape[axis] != 1 else frozenset()
    return moved

