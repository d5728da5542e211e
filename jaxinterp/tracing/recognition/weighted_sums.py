"""Dense layers and convolutions that are written without a contraction.

They are linear functions of one activation: its entries are copied, multiplied by
weights, and added up. Whether each entry of the input meets an entry of the output at
most once, and in windows or all of them, is read from a few rows of the map.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.tracing.facts.curve import constant_number
from jaxinterp.tracing.facts.roles import Kind, Role
from jaxinterp.tracing.facts.weighted_sum import WeightedSum
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.recognition.grouping import Group, Grouping

# Copies before the products; sums of them afterwards.
_BEFORE = (Kind.LAYOUT, Kind.MOVE, Kind.CAST, Kind.LOOKUP)
_AFTER = (*(Kind.LAYOUT, Kind.CAST, Kind.ADDITIVE, Kind.NEGATION, Kind.SUM, Kind.MOVE),)
_SCALES = (Kind.MULTIPLICATIVE, Kind.DIVISION)


def weighted_sum(grouping: Grouping, index: int) -> None:
    """Groups the affine map that ends at a sum of products with weights, if one does.

    Args:
        grouping: the groups of the equations so far; a new one is added.
        index: the index of a sum.
    """
    owner = grouping.owner.get(index)
    if owner is not None and (owner.role is not Role.LINEAR or owner.last != index):
        return
    if grouping.kind(index) not in (Kind.SUM, Kind.ADDITIVE):
        return
    if owner is None and grouping.kind(index) is Kind.ADDITIVE:
        return
    region = set(owner.equations) if owner is not None else {index}
    region |= _products_before(grouping, region)
    products = [i for i in sorted(region) if _is_product(grouping, i)]
    sources = grouping.sources(region)
    if not products or len(sources) != 1 or not _is_whole(grouping, region):
        return
    first = _first_products(grouping, products)
    if not _is_in_order(grouping, region, first):
        return
    role = _role(grouping, region, first, sources[0])
    if role in (Role.CONVOLUTION, Role.DENSE):
        after = grouping.affine_steps_after(
            index, lambda at, step: step != "scale" or grouping.is_fixed_step(at)
        )
        group = Group(role, region | set(after), first[0], after=after, products=first)
    else:
        group = Group(role, region)
    grouping.claim(group)


def _products_before(grouping: Grouping, region: set[int]) -> set[int]:
    """The products, and the copies of entries, that only a sum reads."""
    steps: set[int] = set()
    todo = [v for i in region for v in grouping.flow.active_inputs(i)]
    while todo:
        value = todo.pop()
        at = grouping.flow.producer.get(value)
        if at is None or at in region | steps or value in grouping.cuts:
            continue
        readers = grouping.flow.readers[value]
        is_step = grouping.kind(at) in (*_BEFORE, *_SCALES, Kind.NEGATION)
        is_step = is_step and _is_known_move(grouping, at)
        is_alone = (region | steps).issuperset(readers)
        if is_step and is_alone and grouping.is_free(at):
            steps.add(at)
            todo += grouping.flow.active_inputs(at)
    has_product = any(_is_product(grouping, i) for i in steps | region)
    return steps if has_product else set()


def _is_known_move(grouping: Grouping, index: int) -> bool:
    """Whether the indices that an equation reads, if any, are known."""
    constants = grouping.flow.program.constants
    return all(
        value.is_inexact
        or value in grouping.flow.active
        or grouping.is_fixed(value)
        or (value in constants and not is_traced(constants[value]))
        for value in grouping.equations[index].values
    )


def _is_product(grouping: Grouping, index: int) -> bool:
    """Whether an equation multiplies an activation by weights that differ."""
    if grouping.kind(index) not in _SCALES:
        return False
    active = grouping.flow.active_inputs(index)
    others = [v for v in grouping.equations[index].inputs if v not in active]
    is_real = len(active) == 1 and active[0].is_inexact and len(others) == 1
    return is_real and constant_number(grouping.flow, others[0]) is None


def _is_whole(grouping: Grouping, region: set[int]) -> bool:
    """Whether nothing else reads what lies inside, and all of it is linear."""
    inner = {o for i in region - {max(region)} for o in grouping.equations[i].outputs}
    is_alone = all(region.issuperset(grouping.flow.readers.get(v, ())) for v in inner)
    if any(len(grouping.equations[i].outputs) != 1 for i in region):
        return False
    is_linear = grouping.is_linear(region - {i for i in region if _copies(grouping, i)})
    return (
        is_alone
        and is_linear
        and not inner & grouping.cuts
        and grouping.is_in_one_checkpoint(region)
    )


def _copies(grouping: Grouping, index: int) -> bool:
    operands = grouping.flow.active_inputs(index)
    is_lookup = grouping.kind(index) is Kind.LOOKUP
    return is_lookup and operands == (grouping.equations[index].inputs[0],)


def _first_products(grouping: Grouping, products: list[int]) -> tuple[int, ...]:
    """The last product on the way of each entry: earlier ones are factors of copies."""
    later: set[int] = set()
    for index in reversed(products):
        todo = list(grouping.equations[index].outputs)
        while todo:
            for reader in grouping.flow.readers.get(todo.pop(), ()):
                if reader in products:
                    later.add(index)
                elif reader >= 0 and reader <= max(products):
                    todo += grouping.equations[reader].outputs
    return tuple(i for i in products if i not in later)


def _is_in_order(
    grouping: Grouping, region: set[int], products: tuple[int, ...]
) -> bool:
    """Whether entries are copied before the products, and added up after them."""
    after = set(products)
    for index in sorted(region):
        equation, kind = grouping.equations[index], grouping.kind(index)
        inputs = {grouping.flow.producer.get(v) for v in equation.values}
        if index not in after and inputs & after:
            after.add(index)
            scales = kind in _SCALES
            repeats = kind is Kind.LAYOUT and _grows(grouping, index)
            is_slice = kind is not Kind.MOVE or not _grows(grouping, index)
            if repeats or not is_slice or not (scales or kind in _AFTER):
                return False
            if equation.primitive.name in ("cumsum", "reduce_window_sum"):
                return False
        elif index not in after and kind not in (*_BEFORE, *_SCALES, Kind.NEGATION):
            return False
    return all(
        len(grouping.flow.active_inputs(i)) <= 1 or grouping.kind(i) is Kind.MOVE
        for i in region - after
    )


def _grows(grouping: Grouping, index: int) -> bool:
    (output,) = grouping.equations[index].outputs
    active = grouping.flow.active_inputs(index)
    return math.prod(output.shape) > sum(math.prod(v.shape) for v in active)


def _role(
    grouping: Grouping, region: set[int], products: tuple[int, ...], source: Value
) -> Role:
    """Dense, a convolution, or a rotation of pairs; unknown if it cannot be told."""
    env = {}
    for index in region:
        for value in grouping.equations[index].values:
            if value in grouping.flow.active:
                continue
            if value.is_inexact:
                env[value] = np.zeros(value.shape, value.dtype)
            elif grouping.is_fixed(value):
                env[value] = grouping.number(value)
            elif value in grouping.flow.program.constants:
                env[value] = grouping.flow.program.constants[value]
            else:
                return Role.UNKNOWN
    linear = WeightedSum(
        grouping.flow, tuple(sorted(region)), products, source, env, jnp.float32
    )
    with jax.ensure_compile_time_eval():
        rows = _rows(linear, grouping.equations[max(region)].outputs[0].shape)
    if any((row > 1).any() for row in rows):
        return Role.UNKNOWN
    axis = _window_axis(rows)
    if axis is not None and not _varies(grouping, products, source, axis):
        return Role.CONVOLUTION
    n_entries = max([int(np.count_nonzero(row)) for row in rows], default=0)
    is_full = _is_full(rows)
    return Role.DENSE if is_full or n_entries > 2 else Role.LINEAR


def _rows(linear: WeightedSum, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Which entries of the input the first, the middle and the last result read."""
    size = int(np.prod(shape))
    rows = []
    # One program for all rows: step by step, each product would be an array of its own.
    transpose = jax.jit(lambda c: linear.transpose_each([linear.ones()], c)[0])
    for number in sorted({0, size // 2, size - 1} if size else ()):
        unit = np.zeros(size, np.float32)
        unit[number] = 1
        rows.append(np.asarray(transpose(jnp.asarray(unit.reshape(shape)))))
    return rows


def _window_axis(rows: list[np.ndarray]) -> int | None:
    """An axis of which results read a part, each another one, without gaps."""
    for axis in range(rows[0].ndim if rows else 0):
        places = [np.unique(np.nonzero(row)[axis]) for row in rows]
        is_even = all(len(np.unique(np.diff(p))) <= 1 for p in places)
        is_part = any(1 < len(p) < rows[0].shape[axis] for p in places)
        moves = len({tuple(p) for p in places}) > 1
        if is_even and is_part and moves:
            return axis
    return None


def _varies(
    grouping: Grouping, products: tuple[int, ...], source: Value, axis: int
) -> bool:
    """Whether weights differ along an axis of windows, as those of no convolution."""
    for index in products:
        (weight,) = (
            v for v in grouping.equations[index].inputs if v not in grouping.flow.active
        )
        axes = grouping.flow.varying_axes(weight)
        is_aligned = len(weight.shape) == len(source.shape)
        sizes = [weight.shape[i] for i in axes]
        if (axis in axes) if is_aligned else source.shape[axis] in sizes:
            return True
    return False


def _is_full(rows: list[np.ndarray]) -> bool:
    """Whether results read all of each axis of which they read more than one entry."""
    for row in rows:
        for axis, size in enumerate(row.shape):
            n_places = len(np.unique(np.nonzero(row)[axis]))
            if 1 < n_places < size:
                return False
    return True
