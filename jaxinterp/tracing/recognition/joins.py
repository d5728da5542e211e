"""Nodes found where paths from one value meet again: gelu, softmax, layer norm.

If everything that an equation reads has come through one value, then all that lies
between the two is a function of that value alone. What kind of function says the
algebra of the steps: an exponential over its own sum is a softmax, however written.
"""

from __future__ import annotations

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.roles import POINTWISE, Kind, Role
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.recognition.sketch import Draft, Sketch

_LOCAL = POINTWISE | {Kind.SUM, Kind.PICK, Kind.LAYOUT, Kind.MOVE, Kind.SCATTER}

_ABSORBABLE = (Role.ACTIVATION, Role.SCALE, Role.LINEAR, Role.LOGSUMEXP)

_STEPS_AFTER_EXP = (Kind.CAST, Kind.LAYOUT, Kind.CHOICE, Kind.MULTIPLICATIVE)

# What a sum goes through before something is divided by it, or it becomes a logarithm.
_STEPS_AFTER_SUM = (
    *(Kind.CAST, Kind.LAYOUT, Kind.CHOICE, Kind.EXTREMUM, Kind.ADDITIVE),
    *(Kind.DIVISION, Kind.MULTIPLICATIVE),
)

_SHIFT_BY_MAXIMUM = frozenset(
    {
        *(Kind.PICK, Kind.CAST, Kind.LAYOUT, Kind.EXTREMUM, Kind.ADDITIVE),
        *(Kind.CHOICE, Kind.TEST),
    }
)


def join(sketch: Sketch, index: int) -> None:
    """Claims the node that ends at an equation, if paths meet there.

    Args:
        sketch: the drafts so far, all of them before the equation.
        index: the equation.
    """
    if sketch.kind(index) not in POINTWISE:
        return
    operands = sketch.flow.active_inputs(index)
    if len(operands) < 2:
        if sketch.reads_twice(index) and sketch.is_inexact(index):
            is_sum = sketch.kind(index) is Kind.ADDITIVE
            sketch.claim(Draft(Role.SCALE if is_sum else Role.ACTIVATION, {index}))
        elif sketch.equations[index].primitive is p.log_p:
            _log_of_sum(sketch, index)
        return
    source = sketch.flow.common_source(operands)
    inside = sketch.flow.between(source, index) if source is not None else None
    if source is None or inside is None or not _may_own(sketch, inside, index):
        return
    role = _role_of_region(sketch, source, inside, index)
    if role is None:
        return
    draft = Draft(role, set(inside))
    if role in (Role.SOFTMAX, Role.LOG_SOFTMAX, Role.NORMALIZATION):
        _extend_back(sketch, draft, source)
    if role is Role.NORMALIZATION:
        _absorb_affine(sketch, draft)
    sketch.claim(draft)


def _may_own(sketch: Sketch, inside: set[int], last: int) -> bool:
    for index in inside:
        draft = sketch.owner.get(index)
        if draft is not None and (
            draft.role not in _ABSORBABLE or not draft.equations <= inside
        ):
            return False
        if sketch.kind(index) not in _LOCAL:
            return False
        if index != last and sketch.cuts.intersection(sketch.equations[index].outputs):
            return False
    return True


def _role_of_region(
    sketch: Sketch, source: Value, inside: set[int], index: int
) -> Role | None:
    kinds = {sketch.kind(i) for i in inside}
    shapes = {o.shape for i in inside for o in sketch.equations[i].outputs}
    (output,) = sketch.equations[index].outputs
    if kinds <= POINTWISE and shapes == {source.shape}:
        if not output.is_inexact:
            return Role.INDEXING
        return Role.SCALE if sketch.is_linear(inside) else Role.ACTIVATION
    if sketch.is_linear(inside):
        return Role.LINEAR
    if Kind.SUM not in kinds or not output.is_inexact:
        return None
    primitives = {sketch.equations[i].primitive for i in inside}
    if p.exp_p in primitives and p.log_p in primitives:
        return _role_with_logarithm(sketch, source, inside, index)
    if sketch.kind(index) not in (Kind.DIVISION, Kind.MULTIPLICATIVE):
        return None
    if _is_over_sum_of_exponentials(sketch, source, inside, index):
        return Role.SOFTMAX
    is_norm = output.shape == source.shape and _is_normalized(sketch, inside, index)
    return Role.NORMALIZATION if is_norm else None


def _role_with_logarithm(
    sketch: Sketch, source: Value, inside: set[int], index: int
) -> Role | None:
    equation = sketch.equations[index]
    logs = [i for i in inside if sketch.equations[i].primitive is p.log_p]
    values = [v for i in logs for v in sketch.flow.active_inputs(i)]
    if not any(_summed_exponential(sketch, value) is not None for value in values):
        return None
    is_shifted = equation.primitive is p.sub_p
    if equation.outputs[0].shape == source.shape:
        return Role.LOG_SOFTMAX if is_shifted else None
    is_sum = sketch.kind(index) is Kind.ADDITIVE and not is_shifted
    is_chosen = sketch.kind(index) is Kind.CHOICE
    return Role.LOGSUMEXP if is_sum or is_chosen else None


def _is_over_sum_of_exponentials(
    sketch: Sketch, source: Value, inside: set[int], index: int
) -> bool:
    for value, divisor in _quotients(sketch, index):
        steps = _exponential(sketch, value)
        summed = _summed_exponential(sketch, divisor)
        if steps is None or summed is None:
            continue
        if not sketch.is_equal(min(steps), summed):
            continue
        if steps <= inside:
            return True
        steps = _exponential(sketch, source)
        if steps is None or source in sketch.cuts:
            continue
        is_alone = inside.issuperset(sketch.flow.readers[source])
        is_whole = sketch.is_at_one_home(steps | inside)
        if is_alone and is_whole and all(map(sketch.is_free, steps)):
            return True
    return False


def _quotients(sketch: Sketch, index: int) -> list[tuple[Value, Value]]:
    """What may be divided by what: `a / b`, or `a * b` where `b` is a reciprocal."""
    left, right = sketch.equations[index].inputs
    if not (isinstance(left, Value) and isinstance(right, Value)):
        return []
    if sketch.kind(index) is Kind.DIVISION:
        return [(left, right)]
    pairs = [(left, right), (right, left)]
    return [(a, b) for a, b in pairs if _is_reciprocal(sketch, b)]


def _is_reciprocal(sketch: Sketch, value: Value) -> bool:
    """Whether a value is one over something, but for what it is multiplied by."""
    while (at := sketch.flow.producer.get(value)) is not None:
        equation, kind = sketch.equations[at], sketch.kind(at)
        operands = sketch.flow.active_inputs(at)
        if len(operands) != 1:
            return False
        if equation.primitive is p.rsqrt_p:
            return True
        if kind is Kind.DIVISION and equation.inputs[0] is not operands[0]:
            return True
        if equation.primitive is p.integer_pow_p:
            return equation.params["y"] < 0
        if equation.primitive is p.pow_p:
            return sketch.is_negative(equation.inputs[1])
        if kind not in (Kind.CAST, Kind.LAYOUT, Kind.MULTIPLICATIVE, Kind.CHOICE):
            return False
        (value,) = operands
    return False


def _is_normalized(sketch: Sketch, inside: set[int], index: int) -> bool:
    """Whether a linear function of the source is divided by another function of it."""
    for value, _ in _quotients(sketch, index):
        steps = _steps_to(sketch, value, inside)
        shifted = {i for i in steps if sketch.kind(i) is not Kind.PICK}  # x - min(x)
        if sketch.is_linear(shifted):
            return True
    return False


def _steps_to(sketch: Sketch, value: Value, inside: set[int]) -> set[int]:
    """The equations of a region that a value is computed by."""
    steps: set[int] = set()
    todo = [value]
    while todo:
        at = sketch.flow.producer.get(todo.pop())
        if at in inside and at not in steps:
            steps.add(at)
            todo += sketch.flow.active_inputs(at)
    return steps


def _summed_exponential(sketch: Sketch, value: Value) -> int | None:
    """The exponential whose sum a value is, but for what the sum went through."""
    has_sum = False
    while (at := sketch.flow.producer.get(value)) is not None:
        equation, kind = sketch.equations[at], sketch.kind(at)
        if equation.primitive is p.exp_p:
            return at if has_sum else None
        operands = [v for v in sketch.flow.active_inputs(at) if v.is_inexact]
        is_sum = kind is Kind.SUM
        is_step = kind in (_STEPS_AFTER_EXP if has_sum else _STEPS_AFTER_SUM)
        if equation.primitive in (p.abs_p, p.integer_pow_p):  # |s| and 1 / s
            is_step = not has_sum
        if len(operands) != 1 or not (is_sum or is_step):
            return None
        has_sum = has_sum or is_sum
        (value,) = operands
    return None


def _exponential(sketch: Sketch, value: Value) -> set[int] | None:
    """The steps from an exponential to a value, masks and casts among them."""
    steps: set[int] = set()
    while (at := sketch.flow.producer.get(value)) is not None:
        steps.add(at)
        if sketch.equations[at].primitive is p.exp_p:
            return steps
        operands = sketch.flow.active_inputs(at)
        if sketch.kind(at) not in _STEPS_AFTER_EXP or len(operands) != 1:
            return None
        (value,) = operands
        if value in sketch.cuts or sketch.flow.only_reader(value) is None:
            return None
    return None


def _log_of_sum(sketch: Sketch, index: int) -> None:
    """Claims `log(sum(exp(x)))`, a log-sum-exp that nothing was taken off of."""
    (value,) = sketch.flow.active_inputs(index)
    steps = {index}
    while value not in sketch.cuts and sketch.flow.only_reader(value) is not None:
        at = sketch.flow.producer.get(value)
        if at is None:
            return
        steps.add(at)
        if sketch.equations[at].primitive is p.exp_p:
            break
        operands = sketch.flow.active_inputs(at)
        if sketch.kind(at) not in (Kind.SUM, *_STEPS_AFTER_EXP) or len(operands) != 1:
            return
        (value,) = operands
    is_whole = sketch.produces(value, p.exp_p) and sketch.is_at_one_home(steps)
    if is_whole and any(sketch.kind(at) is Kind.SUM for at in steps):
        sketch.claim(Draft(Role.LOGSUMEXP, steps))


def _extend_back(sketch: Sketch, draft: Draft, source: Value) -> None:
    """Takes in what prepares a softmax or norm: exp, shift by the maximum, mean."""
    while source not in sketch.cuts and source in sketch.flow.producer:
        readers = sketch.flow.readers[source]
        if any(reader not in draft.equations for reader in readers):
            return
        found = _preparation(sketch, draft, source)
        if found is None or not sketch.is_at_one_home(found[0] | draft.equations):
            return
        taken, source = found
        draft.equations |= taken


def _preparation(
    sketch: Sketch, draft: Draft, value: Value
) -> tuple[set[int], Value] | None:
    """What prepares a value for a softmax or norm, and what it starts from."""
    has_exp = any(sketch.equations[i].primitive is p.exp_p for i in draft.equations)
    if draft.role is Role.SOFTMAX and not has_exp:
        steps = _exponential(sketch, value) or set()
        (first,) = sketch.flow.active_inputs(min(steps))
        return steps, first
    at = sketch.flow.producer[value]
    source = sketch.flow.common_source(sketch.flow.active_inputs(at))
    if source is None or sketch.equations[at].primitive is not p.sub_p:
        return None
    owner = sketch.owner.get(at)
    if draft.role is Role.NORMALIZATION:  # centering
        if owner is None or owner.role is not Role.LINEAR:
            return None
        return set(owner.equations), source
    inside = sketch.flow.between(source, at)
    if owner is not None or inside is None or not _may_own(sketch, inside, at):
        return None
    kinds = {sketch.kind(i) for i in inside}
    is_shift = Kind.PICK in kinds and kinds <= _SHIFT_BY_MAXIMUM
    return (inside, source) if is_shift else None


def _absorb_affine(sketch: Sketch, draft: Draft) -> None:
    at = sketch.next(draft.last)
    while at is not None and sketch.affine_step(at) in ("scale", "shift", "cast"):
        if not sketch.is_free(at):
            return
        draft.equations.add(at)
        at = sketch.next(at)
