"""Decides what a node is: groups equations into the affine maps, activations, ...

A node is the group of equations that a person sees as one operation. Nothing here
looks at a name. The passes run in this order, and a later one never takes equations
from an earlier one:

0. calls with a derivative of their own, in whose body it is lost (rounding, a quantized
   product, a kernel): one node, whose derivative is the user's;
1. joins: where paths from one value meet again, everything between may be one node
   (gelu, softmax, layer norm);
2. activations: functions of each entry alone, with the signs around them;
3. sums of products with weights, and fixed linear maps: means, average pooling;
4. affine regions: a kernel with everything elementwise and affine around it;
5. products of activations; elementwise affine chains; the rest, one equation each.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.axes import contracted_axes, feature_axes
from jaxinterp.tracing.facts.constants import bounded
from jaxinterp.tracing.facts.curve import constant_number, curve
from jaxinterp.tracing.facts.fixed_kernel import turns_pairs
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import POINTWISE, Kind, Role, is_opaque
from jaxinterp.tracing.program.program import Call, Value
from jaxinterp.tracing.recognition.addresses import weights_module
from jaxinterp.tracing.recognition.grouping import Group, Grouping
from jaxinterp.tracing.recognition.joins import inverts_sum_of_exponentials, join
from jaxinterp.tracing.recognition.products import product
from jaxinterp.tracing.recognition.quotients import divisors
from jaxinterp.tracing.recognition.weighted_sums import weighted_sums

_AFFINE_STEPS = ("scale", "shift", "cast")
_POINTWISE = (Role.ACTIVATION, Role.POINTWISE)

# A softmax becomes a log-softmax by a logarithm, and back by an exponential.
_ROLE_AFTER = {
    (Role.SOFTMAX, p.log_p): Role.LOG_SOFTMAX,
    (Role.LOG_SOFTMAX, p.exp_p): Role.SOFTMAX,
}


def recognize(
    flow: Flow,
    cuts: frozenset[Value] = frozenset(),
    paths: Mapping[Value, str] = types.MappingProxyType({}),
) -> list[Group]:
    """Returns the groups of equations that are the nodes of a program.

    Args:
        flow: the program and what depends on its input.
        cuts: values that must stay visible: each is an input or the result of a node,
            never a step inside one.
        paths: for each value that is a leaf of `variables`, the path of the leaf.

    Returns:
        One group for each node, in network order.
    """
    grouping = Grouping(flow, cuts)
    active = [
        index
        for index, equation in enumerate(grouping.equations)
        if equation.outputs and flow.is_active(index)  # a print has no output
    ]
    for call in flow.program.calls:  # outer before inner
        _opaque_call(grouping, call)
    for index in active:
        _join(grouping, index)
    for index in active:
        _activation(grouping, index)
    _whole_activations(grouping)
    weighted_sums(grouping, active, lambda i: weights_module(flow, i, paths))
    for single in (_maximum, _fixed_linear, _affine):
        for index in active:
            single(grouping, index)
    for index in reversed(active):
        product(grouping, index)
    for single in (_scale, _rest):
        for index in active:
            single(grouping, index)
    groups = list(dict.fromkeys(grouping.owner.values()))
    groups.sort(key=lambda group: group.last)
    _twins(grouping, groups)
    return groups


def _join(grouping: Grouping, index: int) -> None:
    if grouping.is_free(index):
        join(grouping, index)


# --- 0. Calls that are seen from outside ----------------------------------------------

_STEPWISE = (p.round_p, p.floor_p, p.ceil_p, p.sign_p)


def _opaque_call(grouping: Grouping, call: Call) -> None:
    flow, body = grouping.flow, range(call.start, call.stop)
    active = [i for i in body if flow.is_active(i)]
    inner = {o for i in body for o in grouping.equations[i].outputs}
    inner -= set(call.equation.outputs)
    if (
        not call.has_own_derivative
        or len(call.equation.outputs) != 1
        or inner & grouping.cuts
        or not any(_loses_derivative(grouping, i) for i in active)
        or not all(map(grouping.is_free, active))
        or call.equation.outputs[0] not in grouping.equations[body[-1]].outputs
    ):
        return
    (output,) = call.equation.outputs
    operands = {v for i in active for v in flow.active_inputs(i)} - inner - {output}
    shapes = {v.shape for v in (*operands, output)}
    is_pointwise = all(grouping.kind(i) in POINTWISE for i in active)
    is_pointwise = is_pointwise and len(shapes) == 1 and len(operands) == 1
    role = Role.POINTWISE if is_pointwise else Role.UNKNOWN
    grouping.claim(Group(role, set(body)))


def _loses_derivative(grouping: Grouping, index: int) -> bool:
    """Whether an equation rounds its operand, makes integers of it, or is a kernel."""
    equation = grouping.equations[index]
    if is_opaque(equation.primitive):
        return True
    (first, *_) = grouping.flow.active_inputs(index)
    if not first.is_inexact:
        return False
    readers = grouping.flow.readers.get(equation.outputs[0], ())
    is_step = grouping.kind(index) is Kind.TEST and all(
        at >= 0 and grouping.kind(at) is Kind.CAST for at in readers
    )
    is_cast = equation.primitive is p.convert_element_type_p
    to_integers = is_cast and jnp.issubdtype(equation.outputs[0].dtype, jnp.integer)
    return to_integers or equation.primitive in _STEPWISE or is_step


# --- 2. Activations -------------------------------------------------------------------


def _activation(grouping: Grouping, index: int) -> None:
    if not grouping.is_free(index) or not _is_activation(grouping, index):
        return
    steps = {index} | _exponential_before(grouping, index)
    (source,) = grouping.flow.active_inputs(min(steps))
    group = Group(grouping.role_of_curve(steps, (source,)), steps)
    if inverts_sum_of_exponentials(grouping, index):
        group.role = Role.UNKNOWN
    before = grouping.flow.producer.get(grouping.flow.active_inputs(index)[0])
    if (
        before is not None
        and grouping.next(before) == index
        and before in grouping.owner
    ):
        owner, primitive = grouping.owner[before], grouping.equations[index].primitive
        is_clip = {grouping.kind(i) for i in (before, index)} == {Kind.EXTREMUM}
        next_role = _ROLE_AFTER.get((owner.role, primitive))
        if owner.last == before and (is_clip or next_role):
            group = owner
            group.equations.add(index)
            group.role = next_role or grouping.role_of_group(group)
    grouping.claim(group)


def _is_activation(grouping: Grouping, index: int) -> bool:
    equation, kind = grouping.equations[index], grouping.kind(index)
    operands = grouping.flow.active_inputs(index)
    if len(operands) != 1 or not operands[0].is_inexact:
        return False
    (x,) = operands
    if equation.outputs[0].shape != x.shape:  # as of a scalar bound of a clip
        return False
    if kind is Kind.DIVISION:
        return equation.inputs[0] is not x
    is_mask = bounded(grouping.flow, equation) is not None
    return kind in (Kind.ELEMENTWISE, Kind.EXTREMUM) and not is_mask


def _exponential_before(grouping: Grouping, index: int) -> set[int]:
    """The steps since an exponential: `1 / (1 + exp(-x))` is one function."""
    steps: set[int] = set()
    (value,) = grouping.flow.active_inputs(index)
    while (at := grouping.flow.producer.get(value)) is not None:
        if grouping.next(at) is None:
            break
        steps.add(at)
        if grouping.equations[at].primitive is p.exp_p:
            return steps if grouping.owner[at].equations == {at} else set()
        is_step = grouping.is_free(at) and grouping.affine_step(at) in _AFFINE_STEPS
        if not is_step or not grouping.is_fixed_step(at):
            break
        (value,) = grouping.flow.active_inputs(at)
    return set()


def _whole_activations(grouping: Grouping) -> None:
    """Adds to activations what surrounds them: a call, fixed factors."""
    for call in reversed(grouping.flow.program.calls):  # inner before outer
        _activation_call(grouping, call)
    for group in dict.fromkeys(grouping.owner.values()):
        _join_with_next(grouping, group)
    for group in dict.fromkeys(grouping.owner.values()):
        _absorb_fixed_factors(grouping, group)


def _activation_call(grouping: Grouping, call: Call) -> None:
    """Groups a call that is an activation times fixed numbers, such as selu."""
    flow, body = grouping.flow, range(call.start, call.stop)
    inside = {i for i in body if flow.is_active(i)}
    owners = {grouping.owner[i] for i in inside if i in grouping.owner}
    if len(owners) != 1 or not grouping.is_in_one_checkpoint(inside):
        return
    (group,) = owners
    is_whole = group.role in _POINTWISE and group.equations < inside
    if not is_whole or len(call.equation.outputs) != 1:
        return
    results = {o for i in inside for o in grouping.equations[i].outputs}
    operands = {v for i in inside for v in flow.active_inputs(i)} - results
    inner = results - set(call.equation.outputs)
    if len(operands) != 1 or inner & grouping.cuts or results == inner:
        return
    shapes = {v.shape for v in results | operands}
    is_alone = all(r in inside for v in inner for r in flow.readers.get(v, ()))
    is_pointwise = all(grouping.kind(i) in POINTWISE for i in inside)
    is_fixed = all(map(grouping.is_fixed_step, inside - group.equations))
    if len(shapes) == 1 and is_alone and is_pointwise and is_fixed:
        group.equations |= inside
        group.role = grouping.role_of_group(group)
        grouping.claim(group)


def _join_with_next(grouping: Grouping, group: Group) -> None:
    """Adds to an activation the function after it, if both are one activation.

    So `relu(x) ** 2` is one, and so is `exp(log_sigmoid(x))`.
    """
    if group.role is not Role.ACTIVATION:
        return
    at, steps = grouping.next(group.last), set[int]()
    while at is not None and _is_fixed_factor(grouping, at, is_before=False):
        steps.add(at)
        at = grouping.next(at)
    following = grouping.owner.get(at) if at is not None else None
    if following is None or following.role is not Role.POINTWISE:
        return
    steps |= following.equations
    both = Group(Role.ACTIVATION, group.equations | steps, around=steps)
    if not grouping.is_in_one_checkpoint(both.equations):
        return
    sources = grouping.sources(both.equations)
    shape = (
        curve(grouping.flow, both.equations, *sources) if len(sources) == 1 else None
    )
    if shape is not None and shape.is_activation:
        grouping.claim(both)


def _absorb_fixed_factors(grouping: Grouping, group: Group) -> None:
    """Adds to an activation the signs around it, and a fixed shift that follows.

    So `-tanh(-x)` and `2 * sigmoid(2 * x) - 1` are each one activation, and what is
    rectified does not depend on how a nonlinearity is spelled. A positive factor is a
    site of its own.
    """
    if group.role is not Role.ACTIVATION:
        return
    for is_before in (True, False):
        steps, n_steps = list[int](), 0
        every = group.equations
        at = grouping.previous(every) if is_before else grouping.next(group.last)
        while at is not None and _is_fixed_factor(grouping, at, is_before):
            steps.append(at)
            if grouping.affine_step(at) == "shift" or _is_negative(grouping, at):
                n_steps = len(steps)
            every = every | {at}
            at = grouping.previous(every) if is_before else grouping.next(at)
        if grouping.is_in_one_checkpoint({*steps[:n_steps], group.last}):
            group.equations.update(steps[:n_steps])
            group.around.update(steps[:n_steps])
    grouping.claim(group)


def _is_fixed_factor(grouping: Grouping, index: int, is_before: bool) -> bool:
    kinds = ("scale",) if is_before else ("scale", "shift")
    is_step = grouping.affine_step(index) in kinds and grouping.is_free(index)
    return is_step and grouping.is_fixed_step(index)


def _is_negative(grouping: Grouping, index: int) -> bool:
    """Whether an equation changes the sign of its operand."""
    active = grouping.flow.active_inputs(index)
    inputs = grouping.equations[index].inputs
    others = [grouping.number(v) for v in inputs if v not in active]
    is_turned = grouping.kind(index) is Kind.NEGATION
    return is_turned or any(bool((number < 0).any()) for number in others)


def _twins(grouping: Grouping, groups: Iterable[Group]) -> None:
    """Finds the activations whose values are computed more than once."""
    firsts: dict[Any, list[Group]] = {}
    for group in groups:
        if group.role is not Role.ACTIVATION:
            continue
        key = _key_of_curve(grouping, group)
        earlier = firsts.setdefault(key, [])
        equal = (g for g in earlier if _are_equal(grouping, g, group))
        group.twin = next(equal, None)
        if group.twin is None:
            earlier.append(group)


def _key_of_curve(grouping: Grouping, group: Group) -> Any:
    """What two activations have in common if they are the same function."""
    sources = grouping.sources(group.equations)
    shape = (
        curve(grouping.flow, group.equations, *sources) if len(sources) == 1 else None
    )
    (output,) = grouping.equations[group.last].outputs
    y = None if shape is None else tuple(map("{:.4g}".format, shape.y + 0.0))
    return output.shape, output.dtype, y


def _are_equal(grouping: Grouping, one: Group, other: Group) -> bool:
    """Whether activations of one curve are equal, and one may stand for the other."""
    if not grouping.is_in_one_checkpoint({one.last, other.last}):
        return False
    pair = [grouping.equations[g.last].outputs[0] for g in (one, other)]
    equations = [grouping.equations[i] for g in (one, other) for i in g.equations]
    weights = {v for e in equations for v in e.inputs} - grouping.flow.active
    if all(constant_number(grouping.flow, v) is not None for v in weights):
        pair = [v for g in (one, other) for v in grouping.sources(g.equations)]
    return len(pair) == 2 and grouping.is_same(*pair)


# --- 3. Fixed linear maps -------------------------------------------------------------


def _fixed_linear(grouping: Grouping, index: int) -> None:
    kind = grouping.kind(index)
    if not grouping.is_free(index):
        return
    is_sum = kind is Kind.SUM or grouping.is_linear({index})
    is_sum = is_sum and kind in (Kind.SUM, Kind.TRANSFORM, Kind.KERNEL)
    if not is_sum or not grouping.is_inexact(index) or grouping.copies_entries(index):
        return
    group = Group(Role.LINEAR, {index})
    at = grouping.next(index)
    while at is not None and grouping.is_free(at) and grouping.is_fixed_step(at):
        if grouping.affine_step(at) != "scale":
            break
        group.equations.add(at)
        at = grouping.next(at)
    grouping.claim(group)


# --- 4. Affine regions ----------------------------------------------------------------


def _affine(grouping: Grouping, index: int) -> None:
    equation = grouping.equations[index]
    operands = grouping.flow.active_inputs(index)
    if grouping.kind(index) is not Kind.KERNEL or not grouping.is_free(index):
        return
    if len(operands) != 1 or grouping.reads_twice(index):
        return
    is_conv = equation.primitive is p.conv_general_dilated_p
    x = equation.inputs.index(operands[0])
    if grouping.copies_entries(index):  # patches of an image; or a permutation
        grouping.claim(Group(Role.INDEXING, {index}))
        return
    before = grouping.affine_steps_before({index}, contracted_axes(equation, x))
    after = grouping.affine_steps_after(index, feature_axes(equation, 1 - x))
    role = Role.CONVOLUTION if is_conv else Role.DENSE
    is_complex = jnp.issubdtype(equation.outputs[0].dtype, jnp.complexfloating)
    if is_complex or turns_pairs(grouping.flow, equation):  # a kernel without signs
        grouping.claim(Group(Role.LINEAR, {index}))
        return
    grouping.claim(Group(role, {index, *before, *after}, index, before, after))


# --- 5. The rest ----------------------------------------------------------------------


def _scale(grouping: Grouping, index: int) -> None:
    is_step = grouping.affine_step(index) in ("scale", "shift")
    if not is_step or not grouping.is_free(index):
        return
    if jnp.issubdtype(grouping.equations[index].outputs[0].dtype, jnp.complexfloating):
        grouping.claim(Group(Role.LINEAR, {index}))
        return
    group = Group(Role.SCALE, {index})
    at = grouping.next(index)
    while (
        at is not None
        and grouping.is_free(at)
        and grouping.affine_step(at) in _AFFINE_STEPS
    ):
        group.equations.add(at)
        at = grouping.next(at)
    grouping.claim(group)


def _maximum(grouping: Grouping, index: int) -> None:
    """Groups a minimum with the signs around it: it is a maximum."""
    if grouping.equations[index].primitive not in _MINIMA:
        return
    group = Group(_single_role(grouping, index), {index})
    steps = {grouping.previous({index}), grouping.next(index)}
    signs = {i for i in steps if i is not None and grouping.kind(i) is Kind.NEGATION}
    is_free = all(map(grouping.is_free, signs)) and grouping.is_free(index)
    if len(signs) == 2 and is_free and grouping.is_in_one_checkpoint(signs | {index}):
        group.equations |= signs
        grouping.claim(group)


def _rest(grouping: Grouping, index: int) -> None:
    if not grouping.is_free(index):
        return
    statistics = divisors(grouping, index)
    role = _single_role(grouping, index)
    grouping.claim(Group(role, {index}, statistics=statistics))


_MINIMA = (p.reduce_min_p, p.reduce_window_min_p)


def _single_role(grouping: Grouping, index: int) -> Role:
    equation, kind = grouping.equations[index], grouping.kind(index)
    active = [v in grouping.flow.active for v in equation.inputs]
    if kind is Kind.LOOP:
        return Role.LOOP
    if not any(output.is_inexact for output in equation.outputs):
        return Role.INDEXING
    if grouping.is_masking(index) and sum(active) == 1:
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
    if kind in (None, Kind.TRANSFORM):
        return Role.UNKNOWN
    if kind is Kind.DIVISION and not grouping.flow.carries(equation.inputs[1]):
        return Role.PRODUCT  # by a number of tokens, say: one factor has a derivative
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
    Kind.ELEMENTWISE: Role.UNKNOWN,  # of two activations, such as atan2(x, y)
}
