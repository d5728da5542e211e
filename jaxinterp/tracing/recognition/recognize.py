"""Groups equations into nodes: the affine maps and activations that a person sees.

Nothing here looks at a name. An activation is whatever maps each entry of one value
through a nonlinear function, however many primitives that takes; a softmax is an
exponential over its own sum; an affine region is a kernel with everything elementwise
and affine around it. The passes run in this order, and a later one never takes
equations from an earlier one:

1. joins: where paths from one value meet again, everything between may be one node
   (gelu, softmax, layer norm);
2. activations: one equation, or a call that is an activation but for fixed factors;
3. fixed linear maps: means, sums, average pooling;
4. affine regions around a kernel;
5. elementwise affine chains, and the rest, one equation each.
"""

from __future__ import annotations

import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.axes import contracted_axes, feature_axes, relabel
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import POINTWISE, Kind, Role
from jaxinterp.tracing.program.program import Call, Equation, Value
from jaxinterp.tracing.recognition.joins import join
from jaxinterp.tracing.recognition.sketch import Draft, Sketch

_AFFINE_STEPS = ("scale", "shift", "cast")

# The logarithm of a softmax and the exponential of its logarithm are each other.
_COMPLETED = {
    (Role.SOFTMAX, p.log_p): Role.LOG_SOFTMAX,
    (Role.LOG_SOFTMAX, p.exp_p): Role.SOFTMAX,
}


def recognize(flow: Flow, cuts: frozenset[Value] = frozenset()) -> list[Draft]:
    """Returns the nodes of a program in network order.

    Args:
        flow: the program and what depends on its input.
        cuts: values that must stay visible: no node may contain one in its inside.
    """
    sketch = Sketch(flow, cuts)
    active = [
        index
        for index, equation in enumerate(sketch.equations)
        if equation.outputs and flow.is_active(index)  # a print has no output
    ]
    for index in active:
        join(sketch, index)
    for index in active:
        _activation(sketch, index)
    for call in reversed(flow.program.calls):  # inner before outer
        _activation_call(sketch, call)
    for single in (_fixed_linear, _affine, _scale, _rest):
        for index in active:
            if sketch.is_free(index):
                single(sketch, index)
    drafts = list(dict.fromkeys(sketch.owner.values()))
    return sorted(drafts, key=lambda draft: draft.last)


# --- 2. Activations -------------------------------------------------------------------


def _activation(sketch: Sketch, index: int) -> None:
    if not sketch.is_free(index) or not _is_activation(sketch, index):
        return
    draft = Draft(Role.ACTIVATION, {index} | _exponential_before(sketch, index))
    before = sketch.flow.producer.get(sketch.flow.active_inputs(index)[0])
    if before is not None and sketch.next(before) == index and before in sketch.owner:
        owner, primitive = sketch.owner[before], sketch.equations[index].primitive
        is_clip = {sketch.kind(i) for i in (before, index)} == {Kind.EXTREMUM}
        completed = _COMPLETED.get((owner.role, primitive))
        if owner.last == before and (is_clip or completed):
            draft = owner
            draft.role = completed or draft.role
            draft.equations.add(index)
    sketch.claim(draft)


def _is_activation(sketch: Sketch, index: int) -> bool:
    equation, kind = sketch.equations[index], sketch.kind(index)
    operands = sketch.flow.active_inputs(index)
    if len(operands) != 1 or not operands[0].is_inexact:
        return False
    (x,), (output, *more) = operands, equation.outputs
    if more or output.shape != x.shape or not output.is_inexact:
        return False
    if kind is Kind.DIVISION:
        return equation.inputs[0] is not x
    return kind in (Kind.ELEMENTWISE, Kind.EXTREMUM)


def _exponential_before(sketch: Sketch, index: int) -> set[int]:
    """The steps since an exponential: `1 / (1 + exp(-x))` is one function."""
    steps: set[int] = set()
    (value,) = sketch.flow.active_inputs(index)
    while (at := sketch.flow.producer.get(value)) is not None:
        if sketch.next(at) is None:
            break
        steps.add(at)
        if sketch.equations[at].primitive is p.exp_p:
            return steps if sketch.owner[at].equations == {at} else set()
        is_step = sketch.is_free(at) and sketch.affine_step(at) in _AFFINE_STEPS
        if not is_step or not sketch.is_fixed_step(at):
            break
        (value,) = sketch.flow.active_inputs(at)
    return set()


def _activation_call(sketch: Sketch, call: Call) -> None:
    """Claims a call that is an activation but for fixed numbers, such as selu."""
    flow, body = sketch.flow, range(call.start, call.stop)
    inside = {i for i in body if flow.is_active(i)}
    owners = {sketch.owner[i] for i in inside if i in sketch.owner}
    if len(owners) != 1 or not sketch.is_at_one_home(inside):
        return
    (draft,) = owners
    is_whole = draft.role is Role.ACTIVATION and draft.equations < inside
    if not is_whole or len(call.equation.outputs) != 1:
        return
    written = {o for i in inside for o in sketch.equations[i].outputs}
    read = {v for i in inside for v in flow.active_inputs(i)} - written
    hidden = written - set(call.equation.outputs)
    if len(read) != 1 or hidden & sketch.cuts or written == hidden:
        return
    shapes = {v.shape for v in written | read}
    is_alone = all(r in inside for v in hidden for r in flow.readers.get(v, ()))
    is_pointwise = all(sketch.kind(i) in POINTWISE for i in inside)
    is_fixed = all(map(sketch.is_fixed_step, inside - draft.equations))
    if len(shapes) == 1 and is_alone and is_pointwise and is_fixed:
        draft.equations |= inside
        sketch.claim(draft)


# --- 3. Fixed linear maps -------------------------------------------------------------


def _fixed_linear(sketch: Sketch, index: int) -> None:
    if sketch.kind(index) is not Kind.SUM or not sketch.is_inexact(index):
        return
    draft = Draft(Role.LINEAR, {index})
    at = sketch.next(index)
    while at is not None and sketch.is_free(at) and sketch.is_fixed_step(at):
        if sketch.affine_step(at) != "scale":
            break
        draft.equations.add(at)
        at = sketch.next(at)
    sketch.claim(draft)


# --- 4. Affine regions ----------------------------------------------------------------


def _affine(sketch: Sketch, index: int) -> None:
    equation = sketch.equations[index]
    operands = sketch.flow.active_inputs(index)
    if sketch.kind(index) is not Kind.KERNEL:
        return
    if len(operands) != 1 or sketch.reads_twice(index):
        return
    is_conv = equation.primitive is p.conv_general_dilated_p
    x = equation.inputs.index(operands[0])
    if _is_one_hot(sketch, equation, 1 - x):  # patches of an image, a permutation
        sketch.claim(Draft(Role.INDEXING, {index}))
        return
    before = _before(sketch, index, x)
    after = _after(sketch, index, feature_axes(equation, 1 - x))
    role = Role.CONVOLUTION if is_conv else Role.DENSE
    sketch.claim(Draft(role, {index, *before, *after}, index, before, after))


def _is_one_hot(sketch: Sketch, equation: Equation, kernel: int) -> bool:
    """Whether a kernel of fixed numbers hands one entry on to each of a result."""
    value = equation.inputs[kernel]
    if not sketch.is_fixed(value):
        return False
    numbers = sketch.number(value)
    if equation.primitive is p.conv_general_dilated_p:
        kept = (equation.params["dimension_numbers"].rhs_spec[0],)
        is_plain = kernel == 1 and equation.params["batch_group_count"] == 1
    else:
        (contracting, _) = equation.params["dimension_numbers"]
        kept = set(range(numbers.ndim)) - set(contracting[kernel])
        is_plain = True
    axes = tuple(i for i in range(numbers.ndim) if i not in kept)
    is_binary = bool(np.isin(numbers, (0, 1)).all())
    return is_plain and is_binary and bool((numbers.sum(axis=axes) == 1).all())


def _before(sketch: Sketch, index: int, x: int) -> tuple[int, ...]:
    """The elementwise affine steps that feed a kernel and nothing else."""
    equation = sketch.equations[index]
    foldable = contracted_axes(equation, x)
    steps: list[int] = []
    value = equation.inputs[x]
    while isinstance(value, Value) and value not in sketch.cuts:
        at = sketch.flow.producer.get(value)
        if at is None or not sketch.is_free(at) or sketch.next(at) is None:
            break
        step = sketch.affine_step(at)
        if step not in _AFFINE_STEPS:
            break
        if step == "scale" and not _scale_axes(sketch, at) <= foldable:
            break
        steps.insert(0, at)
        (value,) = sketch.flow.active_inputs(at)
    kept = [i for i in steps if sketch.affine_step(i) != "cast"]
    return tuple(steps) if kept else ()


def _after(sketch: Sketch, index: int, foldable: frozenset[int]) -> tuple[int, ...]:
    """The affine steps that follow a kernel, to the last that scales or shifts."""
    steps: list[int] = []
    kept = 0
    rank = len(sketch.equations[index].outputs[0].shape)
    labels = [frozenset({i}) for i in range(rank)]
    at = sketch.next(index)
    while at is not None and sketch.is_free(at):
        step = sketch.affine_step(at)
        if step is None:
            break
        if step == "layout":
            labels = relabel(sketch.equations[at], labels)
        if step == "scale":
            axes = _scale_axes(sketch, at)
            if not frozenset().union(*(labels[i] for i in axes)) <= foldable:
                break
        steps.append(at)
        if step in ("scale", "shift"):
            kept = len(steps)
        at = sketch.next(at)
    return tuple(steps[:kept])


def _scale_axes(sketch: Sketch, index: int) -> frozenset[int]:
    """The axes of an equation's result along which its scale may differ."""
    inputs = sketch.equations[index].inputs
    factors = [v for v in inputs if v not in sketch.flow.active]
    varying = (sketch.flow.varying_axes(v) for v in factors if v.shape)
    return frozenset().union(*varying)


# --- 5. The rest ----------------------------------------------------------------------


def _scale(sketch: Sketch, index: int) -> None:
    if sketch.affine_step(index) not in ("scale", "shift"):
        return
    draft = Draft(Role.SCALE, {index})
    at = sketch.next(index)
    while (
        at is not None
        and sketch.is_free(at)
        and sketch.affine_step(at) in _AFFINE_STEPS
    ):
        draft.equations.add(at)
        at = sketch.next(at)
    sketch.claim(draft)


def _rest(sketch: Sketch, index: int) -> None:
    sketch.claim(Draft(_single_role(sketch, index), {index}))


def _single_role(sketch: Sketch, index: int) -> Role:
    equation, kind = sketch.equations[index], sketch.kind(index)
    active = [v in sketch.flow.active for v in equation.inputs]
    if kind is Kind.LOOP:
        return Role.LOOP
    if not any(output.is_inexact for output in equation.outputs):
        return Role.INDEXING
    if kind is Kind.CHOICE and active[0]:
        return Role.SELECTION
    if kind is Kind.LOOKUP and active[1]:
        return Role.SELECTION if active[0] else Role.EMBEDDING
    if kind is Kind.SCATTER:
        return _SCATTER_ROLES.get((active[0], active[2]), Role.INDEXING)
    if kind is Kind.PICK:
        windowed = equation.primitive is p.reduce_window_max_p
        return Role.MAX_POOL if windowed else Role.SELECTION
    several = len(sketch.flow.active_inputs(index)) > 1
    if kind is None or (kind is Kind.ELEMENTWISE and several):  # such as atan2(x, y)
        return Role.UNKNOWN
    return _SINGLE_ROLES.get(kind, Role.INDEXING)


# Whether the array that is added to, and what is added, depend on the input.
_SCATTER_ROLES = {
    (True, True): Role.ADD,
    (False, True): Role.LINEAR,
    (True, False): Role.SCALE,
}

_SINGLE_ROLES = {
    Kind.ADDITIVE: Role.ADD,
    Kind.MULTIPLICATIVE: Role.PRODUCT,
    Kind.DIVISION: Role.QUOTIENT,
    Kind.KERNEL: Role.MATMUL,
    Kind.EXTREMUM: Role.SELECTION,
    Kind.ELEMENTWISE: Role.ACTIVATION,
}
