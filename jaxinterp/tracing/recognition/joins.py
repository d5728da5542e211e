"""Nodes where paths from one value meet again: gelu, softmax, layer norm.

If everything that an equation reads depends on the input through one value alone, then
all that lies between the two is a function of that value. The algebra of the steps says
what kind of function it is: an exponential over its own sum is a softmax, however it is
written.
"""

from __future__ import annotations

from jax.extend.core import primitives as p

from jaxinterp.tracing.compat import existing
from jaxinterp.tracing.facts.curve import constant_number, curve
from jaxinterp.tracing.facts.moves import moves_between
from jaxinterp.tracing.facts.roles import POINTWISE, Kind, Role
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.recognition.degree import degree
from jaxinterp.tracing.recognition.grouping import Group, Grouping
from jaxinterp.tracing.recognition.quotients import (
    is_local,
    is_reciprocal,
    quotients,
    steps_before,
)

_EXPONENTIALS = (p.exp_p, p.exp2_p)
_LOGARITHMS = (p.log_p, *existing("log2_p"))

_ABSORBABLE = (Role.ACTIVATION, Role.POINTWISE, Role.SCALE, Role.LINEAR, Role.LOGSUMEXP)

_STEPS_AFTER_EXP = (Kind.CAST, Kind.LAYOUT, Kind.CHOICE, Kind.MULTIPLICATIVE)

# What picks a segment's sum for each of its entries.
_SPREADING = (Kind.LOOKUP, Kind.SCATTER)

# What a sum goes through before something is divided by it, or it becomes a logarithm.
_STEPS_AFTER_SUM = (
    *(Kind.CAST, Kind.LAYOUT, Kind.CHOICE, Kind.EXTREMUM, Kind.ADDITIVE),
    *(Kind.DIVISION, Kind.MULTIPLICATIVE, Kind.LOOKUP),
)

_SUMS = frozenset({Kind.SUM, Kind.KERNEL, Kind.SCATTER})

_SHIFT_BY_MAXIMUM = frozenset(
    {
        *(Kind.PICK, Kind.CAST, Kind.LAYOUT, Kind.EXTREMUM, Kind.ADDITIVE),
        *(Kind.CHOICE, Kind.TEST, Kind.LOOKUP),
    }
)


def join(grouping: Grouping, index: int) -> None:
    """Groups the node that ends at an equation, if paths meet there.

    Args:
        grouping: the groups of the equations before this one; the new group is added.
        index: the index of the equation.
    """
    if grouping.kind(index) not in POINTWISE:
        return
    operands = grouping.flow.active_inputs(index)
    if len(operands) < 2:
        if grouping.reads_twice(index) and grouping.is_inexact(index):
            is_sum = grouping.kind(index) is Kind.ADDITIVE
            role = Role.SCALE if is_sum else grouping.role_of_curve({index}, operands)
            grouping.claim(Group(role, {index}))
        elif grouping.equations[index].primitive in _LOGARITHMS:
            _log_of_sum(grouping, index)
        return
    source = grouping.flow.common_source(operands)
    inside = grouping.flow.between(source, index) if source is not None else None
    if source is None or inside is None or not _may_own(grouping, inside, index):
        return
    role = _role_of_region(grouping, source, inside, index)
    if role is None:
        return
    group = Group(role, set(inside))
    if role is Role.NORMALIZATION and _is_over_its_sum(grouping, source, index):
        source = _as_softmax(grouping, group, source)
    _complete(grouping, group, source)
    grouping.claim(group)


def _complete(grouping: Grouping, group: Group, source: Value) -> None:
    """Adds to a softmax or norm what comes before and after it."""
    inside = set(group.equations)
    if group.role in (Role.SOFTMAX, Role.LOG_SOFTMAX, Role.NORMALIZATION):
        _extend_back(grouping, group, source)
    if group.role is Role.SOFTMAX and any(
        _has_weights(grouping, i) for i in group.equations
    ):
        group.role = Role.UNKNOWN  # the softmax of a sum with their logarithm
    if group.role is Role.NORMALIZATION:
        pairs = [pair for at in inside for pair in quotients(grouping, at)]
        group.statistics = frozenset(divisor for _, divisor in pairs)
        _absorb_affine(grouping, group)


def _as_softmax(grouping: Grouping, group: Group, source: Value) -> Value:
    """Makes a softmax of what divides by its sum, if that is one of exponentials."""
    steps = _exponential_curve(grouping, source, group)
    if not steps:
        return source
    group.role, group.curve = Role.SOFTMAX, True
    group.equations |= steps
    (first,) = grouping.sources(steps)
    return first


def _has_weights(grouping: Grouping, index: int) -> bool:
    """Whether an equation multiplies exponentials by weights or numbers that differ."""
    active = grouping.flow.active_inputs(index)
    inputs = grouping.equations[index].inputs
    if grouping.kind(index) is not Kind.MULTIPLICATIVE or len(active) != 1:
        return False
    others = [v for v in inputs if v not in active]
    is_number = all(constant_number(grouping.flow, v) is not None for v in others)
    owner = grouping.owner.get(grouping.flow.producer.get(active[0], -1))
    is_softmax = owner is not None and owner.role is Role.SOFTMAX
    is_exponential = is_softmax or _exponential(grouping, active[0]) is not None
    return is_exponential and not (is_number or grouping.is_masking(index))


def _may_own(grouping: Grouping, inside: set[int], last: int) -> bool:
    """Whether equations may become one node, the last of them giving its result."""
    ends_in_sum = grouping.kind(last) is Kind.ADDITIVE
    absorbable = (*_ABSORBABLE, *((Role.NORMALIZATION,) if ends_in_sum else ()))
    for index in inside:
        group = grouping.owner.get(index)
        if group is not None and (
            group.role not in absorbable or not group.equations <= inside
        ):
            return False
        if not is_local(grouping, index):
            return False
        if index != last and grouping.cuts.intersection(
            grouping.equations[index].outputs
        ):
            return False
    return True


def _role_of_region(
    grouping: Grouping, source: Value, inside: set[int], index: int
) -> Role | None:
    if len(grouping.equations[index].outputs) != 1:
        return None  # of a barrier, which joins nothing
    kinds = {grouping.kind(i) for i in inside}
    shapes = {o.shape for i in inside for o in grouping.equations[i].outputs}
    (output,) = grouping.equations[index].outputs
    if kinds <= POINTWISE and shapes == {source.shape}:
        if not output.is_inexact:
            return Role.INDEXING
        if grouping.is_linear(inside):
            return Role.SCALE
        return grouping.role_of_curve(inside, (source,))
    if grouping.is_linear(inside):
        return Role.LINEAR
    if kinds.isdisjoint(_SUMS) or not output.is_inexact:
        return None
    primitives = {grouping.equations[i].primitive for i in inside}
    if not primitives.isdisjoint(_EXPONENTIALS) and not (
        primitives.isdisjoint(_LOGARITHMS)
    ):
        return _role_with_logarithm(grouping, source, inside, index)
    keeps = output.shape == source.shape or bool(
        moves_between(grouping.flow, source, output)
    )
    is_norm = keeps and degree(grouping, source, inside) == 0
    if grouping.kind(index) is Kind.ADDITIVE:
        is_divided = any(quotients(grouping, i) for i in inside)
        return Role.NORMALIZATION if is_norm and is_divided else None
    if _is_over_sum_of_exponentials(grouping, source, inside, index):
        return Role.SOFTMAX
    is_norm = is_norm or _is_normalized(grouping, inside, index)
    is_norm = is_norm and keeps
    return Role.NORMALIZATION if is_norm and quotients(grouping, index) else None


def _role_with_logarithm(
    grouping: Grouping, source: Value, inside: set[int], index: int
) -> Role | None:
    equation = grouping.equations[index]
    logs = [i for i in inside if grouping.equations[i].primitive in _LOGARITHMS]
    values = [v for i in logs for v in grouping.flow.active_inputs(i)]
    if not any(_summed_exponential(grouping, value) is not None for value in values):
        return None
    is_shifted = equation.primitive is p.sub_p
    if equation.outputs[0].shape == source.shape:
        return Role.LOG_SOFTMAX if is_shifted else None
    is_sum = grouping.kind(index) is Kind.ADDITIVE and not is_shifted
    is_chosen = grouping.kind(index) is Kind.CHOICE
    return Role.LOGSUMEXP if is_sum or is_chosen else None


def _is_over_sum_of_exponentials(
    grouping: Grouping, source: Value, inside: set[int], index: int
) -> bool:
    for value, divisor in quotients(grouping, index):
        steps = _exponential(grouping, value)
        exponential = _summed_exponential(grouping, divisor)
        if steps is None or exponential is None:
            continue
        if not grouping.is_equal(min(steps), exponential):
            continue
        if steps <= inside:
            return True
        before = steps - inside  # from the exponential to the source
        is_alone = inside.issuperset(grouping.flow.readers[source])
        is_whole = grouping.is_in_one_checkpoint(before | inside)
        is_free = source not in grouping.cuts and all(map(grouping.is_free, before))
        if is_alone and is_whole and is_free:
            return True
    return False


def _is_over_its_sum(grouping: Grouping, source: Value, index: int) -> bool:
    """Whether a value is divided by the sum of its own entries."""
    return any(
        _leads_to(grouping, value, source) and _is_sum_of(grouping, divisor, source)
        for value, divisor in quotients(grouping, index)
    )


def _is_sum_of(grouping: Grouping, value: Value, source: Value) -> bool:
    """Whether a value is the sum of the entries of another, or of their powers."""
    has_sum, steps = False, (*_STEPS_AFTER_SUM, *_SPREADING)
    for at, operands in steps_before(grouping, value):
        is_sum = grouping.kind(at) in (Kind.SUM, Kind.SCATTER)
        is_sum = is_sum or grouping.is_average(at)
        is_power = grouping.equations[at].primitive is p.integer_pow_p
        is_step = grouping.kind(at) in steps or (is_power and not has_sum)
        if len(operands) != 1 or not (is_sum or is_step):
            return False
        has_sum = has_sum or is_sum
        if operands[0] is source:
            return has_sum
    return False


def _leads_to(grouping: Grouping, value: Value, source: Value) -> bool:
    """Whether only masks, factors and casts lie between two values."""
    if value is source:
        return True
    for at, operands in steps_before(grouping, value):
        if grouping.kind(at) not in _STEPS_AFTER_EXP or len(operands) != 1:
            return False
        if operands[0] is source:
            return True
    return False


def _exponential_curve(grouping: Grouping, source: Value, group: Group) -> set[int]:
    """The steps that make a value an exponential of another, however it is spelled."""
    steps: set[int] = set()
    longest: set[int] = set()
    inside = set(group.equations)
    value = source
    while value not in grouping.cuts:
        at = grouping.flow.producer.get(value)
        if at is None or not inside.issuperset(grouping.flow.readers[value]):
            break
        if _is_power_of_softmax(grouping, steps, at, group):
            longest = steps | grouping.owner[at].equations
            break
        own = grouping.owner[at].equations if at in grouping.owner else {at}
        operands = grouping.sources(own)
        if len(operands) != 1 or any(grouping.kind(i) not in POINTWISE for i in own):
            break
        steps, inside = steps | own, inside | own
        (value,) = operands
        found = curve(grouping.flow, steps, value)
        if found is not None and found.is_exponential:
            longest = set(steps)
    return (
        longest if grouping.is_in_one_checkpoint(longest | group.equations) else set()
    )


def _is_power_of_softmax(
    grouping: Grouping, steps: set[int], before: int, group: Group
) -> bool:
    """Whether a group divides a power of a softmax by its sum along the same axes."""
    owner = grouping.owner.get(before)
    if owner is None or owner.role is not Role.SOFTMAX or owner.last != before:
        return False
    axes = [_summed_axes(grouping, g.equations) for g in (owner, group)]
    if None in axes or axes[0] != axes[1]:
        return False
    sources = grouping.sources(steps)
    shape = curve(grouping.flow, steps, *sources) if steps else None
    return not steps or (shape is not None and shape.is_power)


def _summed_axes(grouping: Grouping, equations: set[int]) -> tuple[int, ...] | None:
    """The axes along which some equations add up, `None` if it cannot be told."""
    sums = [grouping.equations[i] for i in equations if grouping.kind(i) in _SUMS]
    axes = {tuple(e.params.get("axes", ())) for e in sums}
    return axes.pop() if len(axes) == 1 else None


def _is_normalized(grouping: Grouping, inside: set[int], index: int) -> bool:
    """Whether a linear function of the source is divided by another function of it."""
    for value, _ in quotients(grouping, index):
        steps = _steps_to(grouping, value, inside)
        # In `x - min(x)` the minimum is a shift.
        without_picks = {i for i in steps if grouping.kind(i) is not Kind.PICK}
        if grouping.is_linear(without_picks):
            return True
    return False


def _steps_to(grouping: Grouping, value: Value, inside: set[int]) -> set[int]:
    """The equations of a region that a value is computed by."""
    steps: set[int] = set()
    todo = [value]
    while todo:
        at = grouping.flow.producer.get(todo.pop())
        if at in inside and at not in steps:
            steps.add(at)
            todo += grouping.flow.active_inputs(at)
    return steps


def _summed_exponential(grouping: Grouping, value: Value) -> int | None:
    """The exponential whose sum a value is; casts and the like may follow the sum."""
    has_sum = False
    for at, _ in steps_before(grouping, value):
        equation, kind = grouping.equations[at], grouping.kind(at)
        if equation.primitive in _EXPONENTIALS:
            return at if has_sum else None
        is_sum = kind in (Kind.SUM, Kind.SCATTER) or grouping.is_average(at)
        is_step = kind in (_STEPS_AFTER_EXP if has_sum else _STEPS_AFTER_SUM)
        if equation.primitive in (p.abs_p, p.integer_pow_p):  # |s| and 1 / s
            is_step = not has_sum
        if not (is_sum or is_step):
            return None
        has_sum = has_sum or is_sum
    return None


def inverts_sum_of_exponentials(grouping: Grouping, index: int) -> bool:
    """Whether an equation is a reciprocal of a sum of exponentials.

    It is a softmax if the exponentials are of differences, and what else is not told.

    Args:
        grouping: the groups of the equations.
        index: the index of the equation.
    """
    (output,) = grouping.equations[index].outputs
    (value,) = grouping.flow.active_inputs(index)
    return is_reciprocal(grouping, output) and (
        _summed_exponential(grouping, value) is not None
    )


def _exponential(
    grouping: Grouping, value: Value, through: tuple[Kind, ...] = ()
) -> set[int] | None:
    """The steps from an exponential to a value, masks and casts among them."""
    steps: set[int] = set()
    for at, operands in steps_before(grouping, value):
        steps.add(at)
        if grouping.equations[at].primitive in _EXPONENTIALS:
            return steps
        is_step = grouping.kind(at) in (*_STEPS_AFTER_EXP, *through)
        is_step = is_step or (bool(through) and grouping.is_average(at))
        if not is_step or len(operands) != 1 or operands[0] in grouping.cuts:
            return None
        if grouping.flow.only_reader(operands[0]) is None:
            return None
    return None


def _log_of_sum(grouping: Grouping, index: int) -> None:
    """Groups `log(sum(exp(x)))`, a log-sum-exp without a shift by the maximum."""
    (value,) = grouping.flow.active_inputs(index)
    if value in grouping.cuts or grouping.flow.only_reader(value) is None:
        return
    before = _exponential(grouping, value, through=(Kind.SUM,))
    steps = {index} | (before or set())
    is_whole = before is not None and grouping.is_in_one_checkpoint(steps)
    if is_whole and any(grouping.kind(at) in _SUMS for at in steps):
        grouping.claim(Group(Role.LOGSUMEXP, steps))


def _extend_back(grouping: Grouping, group: Group, source: Value) -> None:
    """Adds to a softmax or norm what prepares it: exp, shift by the maximum, mean."""
    while source not in grouping.cuts and source in grouping.flow.producer:
        readers = grouping.flow.readers[source]
        if any(reader not in group.equations for reader in readers):
            return
        preparation = _preparation(grouping, group, source)
        if preparation is None:
            return
        steps, source = preparation
        if not grouping.is_in_one_checkpoint(steps | group.equations):
            return
        group.equations |= steps


def _preparation(
    grouping: Grouping, group: Group, value: Value
) -> tuple[set[int], Value] | None:
    """The equations that prepare a softmax or norm, and the value that they read."""
    primitives = {grouping.equations[i].primitive for i in group.equations}
    has_exp = not primitives.isdisjoint(_EXPONENTIALS) or group.curve
    if group.role is Role.SOFTMAX and not has_exp:
        steps = _exponential(grouping, value) or set()
        (first,) = grouping.flow.active_inputs(min(steps))
        return steps, first
    at = grouping.flow.producer[value]
    source = grouping.flow.common_source(grouping.flow.active_inputs(at))
    if source is None or grouping.equations[at].primitive is not p.sub_p:
        return None
    owner = grouping.owner.get(at)
    if group.role is Role.NORMALIZATION:  # centering
        if owner is None or owner.role is not Role.LINEAR:
            return None
        return set(owner.equations), source
    inside = grouping.flow.between(source, at)
    if owner is not None or inside is None or not _may_own(grouping, inside, at):
        return None
    kinds = {grouping.kind(i) for i in inside}
    is_shift = Kind.PICK in kinds and kinds <= _SHIFT_BY_MAXIMUM
    return (inside, source) if is_shift else None


def _absorb_affine(grouping: Grouping, group: Group) -> None:
    """Adds to a normalization the scale and shift that follow it, also reshaped."""
    at, steps = grouping.next(group.last), set[int]()
    while at is not None and grouping.is_free(at):
        step = grouping.affine_step(at)
        if step is None:
            return
        steps.add(at)
        if step != "layout":
            group.equations |= steps
            group.after = tuple(sorted(steps))
        at = grouping.next(at)
