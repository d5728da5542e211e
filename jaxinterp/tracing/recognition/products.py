"""Products of several activations: one node, in whatever order they are multiplied.

A chain of products, `(a * b) * c` or a matrix product of a matrix product, is linear in
each of its factors. So is any other order of them, and the node is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jaxinterp.tracing.facts.curve import constant_number, is_gate, source_of
from jaxinterp.tracing.facts.roles import Kind, Role
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.recognition.grouping import Group, Grouping
from jaxinterp.tracing.recognition.quotients import divides, divisors

_PRODUCTS = (Kind.MULTIPLICATIVE, Kind.KERNEL)
_STEPS = (Kind.LAYOUT, Kind.CAST, Kind.NEGATION, Kind.SUM)


def product(grouping: Grouping, index: int) -> None:
    """Groups the product that ends at an equation, with those that it multiplies.

    Args:
        grouping: the groups of the equations; the new group is added.
        index: the index of the equation, no part of a later product.
    """
    if grouping.kind(index) is Kind.CHOICE and grouping.is_free(index):
        _choice(grouping, index)
    if not _is_product(grouping, index):
        return
    if divides(grouping, index):
        statistics = divisors(grouping, index)
        grouping.claim(Group(Role.QUOTIENT, {index}, statistics=statistics))
        return
    hides = _hides_activation(grouping, grouping.sources(_chain(grouping, index)))
    equations = _chain(grouping, index, has_masks=False)
    factors = grouping.sources(equations)
    is_matmul = any(grouping.kind(i) in (Kind.KERNEL, Kind.SUM) for i in equations)
    if is_matmul and any(is_gate(grouping.flow, v) for v in factors):
        equations = {index}  # in a matrix product a gate is a factor like others
        is_matmul = grouping.kind(index) is Kind.KERNEL
    role = Role.MATMUL if is_matmul else Role.PRODUCT
    grouping.claim(Group(role, equations, hides_activation=hides and not is_matmul))


def _choice(grouping: Grouping, index: int) -> None:
    """Groups a choice by the sign of an activation that one of its cases multiplies."""
    test, *cases = grouping.equations[index].inputs
    tops = [grouping.flow.producer.get(v) for v in cases if isinstance(v, Value)]
    tops = [i for i in tops if i is not None and _is_product(grouping, i)]
    if test not in grouping.flow.active or not tops:
        return
    assert isinstance(test, Value)
    factors = (test, *(v for i in tops for v in grouping.sources(_chain(grouping, i))))
    if _hides_activation(grouping, factors):
        grouping.claim(Group(Role.SELECTION, {index}, hides_activation=True))


def _hides_activation(grouping: Grouping, factors: Sequence[Value]) -> bool:
    """Whether an activation, or a mask, of one factor is another one."""
    flow = grouping.flow
    sources = [source_of(flow, v) for v in factors]
    nonlinear = [i for i, v in enumerate(factors) if _is_nonlinear(grouping, v)]
    return any(sources.count(sources[i]) > 1 for i in nonlinear)


def _is_nonlinear(grouping: Grouping, value: Value) -> bool:
    owner = grouping.owner.get(grouping.flow.producer.get(value, -1))
    is_activation = owner is not None and owner.role is Role.ACTIVATION
    return is_activation or not grouping.flow.carries(value)


def _chain(grouping: Grouping, index: int, has_masks: bool = True) -> set[int]:
    """The products that are factors of a product alone, and the steps between them.

    Args:
        grouping: the groups of the equations.
        index: the index of the last product.
        has_masks: whether a factor may be without a derivative.
    """
    equations, todo = {index}, [index]
    while todo and (has_masks or _has_derivatives(grouping, todo)):
        for value in grouping.flow.active_inputs(todo.pop()):
            steps = _steps_to_product(grouping, value)
            is_factor = steps and not _is_attention(grouping, min(steps))
            if is_factor and (has_masks or _has_derivatives(grouping, steps)):
                equations |= steps
                todo.append(min(steps))
    is_whole = grouping.is_in_one_checkpoint(equations)
    return equations if is_whole and not _is_attention(grouping, index) else {index}


def _steps_to_product(grouping: Grouping, value: Value) -> set[int]:
    """The steps from a product to a value that one equation alone reads."""
    steps = set[int]()
    for at in _before(grouping, value):
        steps.add(at)
        if _is_product(grouping, at):
            return steps if not divides(grouping, at) else set()
        if not _is_step(grouping, at):
            break
    return set()


def _before(grouping: Grouping, value: Value) -> Iterator[int]:
    """The equations before a value, last first, that nothing else reads."""
    while (at := grouping.flow.producer.get(value)) is not None:
        if grouping.next(at) is None:
            return
        yield at
        operands = grouping.flow.active_inputs(at)
        if len(operands) != 1:
            return
        (value,) = operands


def _is_product(grouping: Grouping, index: int) -> bool:
    """Whether an equation multiplies activations, and is no part of a node yet."""
    equation = grouping.equations[index]
    is_product = grouping.kind(index) in _PRODUCTS and grouping.is_free(index)
    return is_product and all(v in grouping.flow.active for v in equation.inputs)


def _has_derivatives(grouping: Grouping, indices: Iterable[int]) -> bool:
    """Whether a derivative goes through all that equations read, unlike a mask."""
    operands = (v for i in indices for v in grouping.flow.active_inputs(i))
    return all(map(grouping.flow.carries, operands))


def _is_step(grouping: Grouping, index: int) -> bool:
    """Whether an equation moves, adds up, or scales by a number, all entries."""
    owner = grouping.owner.get(index)
    is_own = owner is None or (owner.role is Role.LINEAR and len(owner.equations) == 1)
    if not is_own or not grouping.is_inexact(index):
        return False
    kind, operands = grouping.kind(index), grouping.flow.active_inputs(index)
    if kind in (Kind.MULTIPLICATIVE, Kind.DIVISION):
        if len(operands) != 1:
            return False
        (x,) = operands
        others = [v for v in grouping.equations[index].inputs if v is not x]
        is_number = all(constant_number(grouping.flow, v) is not None for v in others)
        return grouping.affine_step(index) == "scale" and is_number
    return kind in _STEPS and grouping.is_linear({index})


def _is_attention(grouping: Grouping, index: int) -> bool:
    """Whether an equation multiplies with a softmax: its result has a name."""
    flow, steps = grouping.flow, (Kind.LAYOUT, Kind.CAST, Kind.CHOICE)
    for value in flow.active_inputs(index):
        at = flow.producer.get(value)
        while at is not None and grouping.kind(at) in steps:
            operands = flow.active_inputs(at)
            at = flow.producer.get(operands[0]) if len(operands) == 1 else None
        if at in grouping.owner and grouping.owner[at].role is Role.SOFTMAX:
            return True
    return False
