"""Dense layers and convolutions that are written as products and their sum.

They are bilinear in one activation and in weights: entries of the activation are
copied, multiplied by weights (one by one, or in matrix products and convolutions), and
added up. Such a sum is one layer if every result reads each entry of the activation and
each weight at most once, and all weights are of one module. In windows or all of them
is read from a few rows of the map.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.curve import constant_number
from jaxinterp.tracing.facts.roles import Kind, Role
from jaxinterp.tracing.facts.weighted_sum import WeightedSum
from jaxinterp.tracing.program.program import Atom, Value
from jaxinterp.tracing.recognition.grouping import Group, Grouping

# Copies before the products; sums of them afterwards.
_BEFORE = (Kind.LAYOUT, Kind.MOVE, Kind.CAST, Kind.LOOKUP)
_AFTER = (Kind.LAYOUT, Kind.MOVE, Kind.CAST, Kind.ADDITIVE, Kind.SUM)
_SCALES = (Kind.MULTIPLICATIVE, Kind.DIVISION)
_RUNNING = ("cumsum", "reduce_window_sum")


@dataclasses.dataclass
class _Region:
    """What lies between an activation and a sum of its products with weights."""

    after: set[int] = dataclasses.field(default_factory=set)
    products: set[int] = dataclasses.field(default_factory=set)
    before: set[int] = dataclasses.field(default_factory=set)

    @property
    def equations(self) -> set[int]:
        return self.after | self.products | self.before

    def kernels(self, grouping: Grouping) -> set[int]:
        """The products that are contractions."""
        return {i for i in self.products if grouping.kind(i) is Kind.KERNEL}


def weighted_sums(
    grouping: Grouping, indices: Iterable[int], module_of: Callable[[int], Any]
) -> None:
    """Groups the affine maps that end at a sum of products with weights.

    Args:
        grouping: the groups of the equations so far; the new ones are added.
        indices: the indices of the active equations, in order.
        module_of: the module whose weights an equation reads.
    """
    others: set[int] = set()  # parts of sums that are no layer
    for index in reversed(list(indices)):
        is_possible = index not in others and _may_be_last(grouping, index)
        region = _region(grouping, index) if is_possible else None
        if region is None:
            continue
        modules = {module_of(i) for i in region.products}
        if region.kernels(grouping) and len(modules) > 1:
            continue
        layer = _Layer(grouping, region)
        if layer.role not in (None, Role.UNKNOWN):
            grouping.claim(layer.group)
        elif _adds_up_entries_of_terms(grouping, region, index):
            others.add(index)  # the sum of the terms, which comes later, is asked alone
        elif layer.role is None:
            others |= region.equations
        else:
            grouping.claim(layer.group)


def _may_be_last(grouping: Grouping, index: int) -> bool:
    """Whether an equation adds products up, or contracts copies with weights."""
    owner, kind = grouping.owner.get(index), grouping.kind(index)
    if owner is not None and (owner.role is not Role.LINEAR or owner.last != index):
        return False
    is_sum = kind is Kind.ADDITIVE and len(grouping.flow.active_inputs(index)) > 1
    return kind is Kind.SUM or is_sum or _contracts_copies(grouping, index)


def _adds_up_entries_of_terms(grouping: Grouping, region: _Region, index: int) -> bool:
    """Whether an equation adds up, or scales, the entries of a sum of terms."""
    n_terms = [len(grouping.flow.active_inputs(i)) for i in region.after]
    return len(grouping.flow.active_inputs(index)) == 1 and max(n_terms, default=0) > 1


def _contracts_copies(grouping: Grouping, index: int) -> bool:
    if grouping.equations[index].primitive is not p.dot_general_p:
        return False
    (operand, *_) = grouping.flow.active_inputs(index)
    before = grouping.flow.producer.get(operand)
    is_copy = before is not None and _copies(grouping, before)
    return is_copy and _is_product(grouping, index)


# --- The equations --------------------------------------------------------------------


def _region(grouping: Grouping, index: int) -> _Region | None:
    """Walks back from a sum, through its products, to the activation that they read."""
    region, todo = _Region(), [-index]
    while todo:  # later equations first: the readers of each are known before it is
        at = -heapq.heappop(todo)
        if at in region.equations:
            continue
        part = _part(grouping, region, at, is_last=at == index)
        if part is None and _is_read_by(grouping, at, region.after):
            return None  # a term without weights
        if part is None:
            continue
        part.add(at)
        for value in grouping.flow.active_inputs(at):
            before = grouping.flow.producer.get(value)
            if before is not None:
                heapq.heappush(todo, -before)
            elif part is region.after:
                return None
    _trim(grouping, region)
    return region if _is_whole(grouping, region, index) else None


def _part(
    grouping: Grouping, region: _Region, index: int, is_last: bool
) -> set[int] | None:
    """The part of a region that an equation belongs to, `None` if to none."""
    owner = grouping.owner.get(index)
    outputs = grouping.equations[index].outputs
    if owner is not None and owner.role is not Role.LINEAR:
        return None
    if not is_last and not all(
        o.is_inexact and o not in grouping.cuts for o in outputs
    ):
        return None
    readers = _readers(grouping, index)
    if is_last or readers <= region.after:
        if _is_product(grouping, index):
            return region.products
        return region.after if _adds(grouping, index) else None
    is_inside = readers <= region.products | region.before
    return region.before if is_inside and _copies(grouping, index) else None


def _readers(grouping: Grouping, index: int) -> set[int]:
    readers = grouping.flow.readers
    outputs = grouping.equations[index].outputs
    return {r for o in outputs for r in readers.get(o, ())} - grouping.flow.dead


def _is_read_by(grouping: Grouping, index: int, equations: set[int]) -> bool:
    return not equations.isdisjoint(_readers(grouping, index))


def _is_product(grouping: Grouping, index: int) -> bool:
    """Whether an equation multiplies an activation by weights that differ."""
    active, inputs = (
        grouping.flow.active_inputs(index),
        grouping.equations[index].inputs,
    )
    others = [v for v in inputs if v not in active]
    if len(active) != 1 or len(others) != 1 or not active[0].is_inexact:
        return False
    if grouping.kind(index) is Kind.KERNEL:
        is_copy = grouping.copies_entries(index, has_signs=True)
        return not (is_copy or grouping.is_average(index))
    is_divisor = inputs[0] in others and grouping.kind(index) is Kind.DIVISION
    is_scale = grouping.kind(index) in _SCALES and not is_divisor
    is_number = is_scale and constant_number(grouping.flow, others[0]) is not None
    return is_scale and not is_number and not grouping.is_masking(index)


def _is_number(grouping: Grouping, index: int) -> bool:
    """Whether an equation multiplies by one fixed number, or by minus one."""
    step = grouping.affine_step(index)
    return step == "scale" and not _is_product(grouping, index)


def _adds(grouping: Grouping, index: int) -> bool:
    """Whether an equation adds up, or moves or scales all entries of, products."""
    kind = grouping.kind(index)
    is_running = grouping.equations[index].primitive.name in _RUNNING
    repeats = kind is Kind.LAYOUT and _grows(grouping, index)
    is_sum = kind in _AFTER and not is_running and not repeats
    return is_sum or _is_number(grouping, index) or grouping.is_known_mask(index)


def _copies(grouping: Grouping, index: int) -> bool:
    """Whether an equation copies entries of an activation to known places."""
    kind, inputs = grouping.kind(index), grouping.equations[index].inputs
    active = grouping.flow.active_inputs(index)
    if kind is Kind.KERNEL:
        return grouping.copies_entries(index, has_signs=True)
    if kind is Kind.LOOKUP and active != (inputs[0],):
        return False
    is_copy = kind in _BEFORE and _is_known_move(grouping, index)
    return is_copy or _is_number(grouping, index) or grouping.is_known_mask(index)


def _is_known_move(grouping: Grouping, index: int) -> bool:
    """Whether the indices that an equation reads, if any, are known."""
    inactive = set(grouping.equations[index].values) - grouping.flow.active
    return all(v.is_inexact or grouping.is_fixed(v) for v in inactive)


def _grows(grouping: Grouping, index: int) -> bool:
    (output,) = grouping.equations[index].outputs
    active = grouping.flow.active_inputs(index)
    return math.prod(output.shape) > sum(math.prod(v.shape) for v in active)


def _trim(grouping: Grouping, region: _Region) -> None:
    """Leaves out what only moves the activation before it is copied."""
    while len(sources := grouping.sources(region.equations)) == 1:
        first = set(grouping.flow.readers[sources[0]]) & region.before
        if len(first) != 1 or _is_read_by_products(grouping, sources[0], region):
            return
        (at,) = first
        is_move = grouping.kind(at) in (Kind.LAYOUT, Kind.MOVE, Kind.CAST)
        if not is_move or len(grouping.equations[at].outputs) != 1:
            return
        region.before.remove(at)


def _is_read_by_products(grouping: Grouping, value: Value, region: _Region) -> bool:
    return not region.products.isdisjoint(grouping.flow.readers[value])


def _is_whole(grouping: Grouping, region: _Region, last: int) -> bool:
    """Whether a region is a linear map of one activation, and more than one product."""
    equations, sources = region.equations, grouping.sources(region.equations)
    if not region.products or len(sources) != 1:
        return False
    if not region.after:  # one contraction: of copies, if it reads an entry twice
        operands = grouping.flow.active_inputs(last)
        sizes = [math.prod(v.shape) for v in (*operands, *sources)]
        if not region.before or sizes[0] <= sizes[1]:
            return False
    owners = [grouping.owner[i].equations for i in equations if i in grouping.owner]
    values = {o for i in equations for o in grouping.equations[i].outputs}
    is_real = not any(jnp.issubdtype(v.dtype, jnp.complexfloating) for v in values)
    is_whole = all(owner <= equations for owner in owners)
    return is_real and is_whole and grouping.is_in_one_checkpoint(equations)


# --- The role -------------------------------------------------------------------------


class _Layer:
    """What a region is, by a few rows of its map.

    Attributes:
        entries: how often the first, the middle and the last result read each entry of
            the activation.
        weights: how often the middle result reads the weights of each product.
        shared: how often one weight meets each entry of the activation.
    """

    def __init__(self, grouping: Grouping, region: _Region):
        self.grouping, self.region = grouping, region
        (source,) = grouping.sources(region.equations)
        products, equations = sorted(region.products), sorted(region.equations)
        self.linear = WeightedSum(
            grouping.flow,
            tuple(equations),
            tuple(products),
            source,
            self._numbers(),
            jnp.float32,
        )
        self.shape = grouping.equations[equations[-1]].outputs[0].shape
        is_empty = 0 in (*self.shape, *source.shape)
        with jax.ensure_compile_time_eval():
            self.role = None if is_empty else self._role()

    def _numbers(self) -> dict[Value, Any]:
        """The fixed arrays and the indices that the equations read."""
        equations = [self.grouping.equations[i] for i in self.region.equations]
        values = {v for e in equations for v in e.values if self.grouping.is_fixed(v)}
        copies = (
            i
            for i in self.region.before | self.region.after
            if self.grouping.kind(i) is Kind.KERNEL or self.grouping.is_known_mask(i)
        )
        values |= {v for i in copies for v in self.grouping.equations[i].values}
        values -= self.grouping.flow.active
        return {value: self.grouping.number(value) for value in values}

    def _role(self) -> Role | None:
        """Dense, a convolution, or a rotation of pairs; `None` if it is no layer."""
        kernels = self.region.kernels(self.grouping)
        if not kernels and self._is_mix():
            return None
        self._read()
        is_twice = any((row > 1).any() for row in self.entries)
        if is_twice or self._reads_a_weight_twice():
            is_owned = any(i in self.grouping.owner for i in self.region.equations)
            return Role.UNKNOWN if is_twice and is_owned and not kernels else None
        n_entries = max(int(np.count_nonzero(row)) for row in self.entries)
        axis = _window_axis(self.entries)
        is_shared = axis is not None and _n_places(self.shared, axis) > 1
        primitives = {self.grouping.equations[i].primitive for i in kernels}
        if is_shared or p.conv_general_dilated_p in primitives:
            return Role.CONVOLUTION
        if n_entries < 2 or not self.region.after:
            return None
        is_dense = kernels or _is_full(self.entries) or n_entries > 2
        return Role.DENSE if is_dense else Role.LINEAR

    def _is_mix(self) -> bool:
        """Whether the weights of a result add up to one, whatever they are.

        So do those of `(1 - t) * a + t * b`, which is `a + t * (b - a)`, and no layer.
        """
        flow, linear = self.grouping.flow, self.linear
        atoms = [linear.weight_of(self.grouping.equations[i]) for i in linear.products]
        x = np.ones(linear.source.shape, np.float32)
        for weight in (0.25, 0.6):
            every = [constant_number(flow, atom, weight) for atom in atoms]
            numbers = [float(n) for n in every if n is not None]
            if len(numbers) < len(atoms) or len(set(numbers)) == 1:
                return False
            pairs = zip(linear.shapes, numbers, strict=True)
            kernel = [np.full(shape, n, np.float32) for shape, n in pairs]
            sums = linear.apply(x, kernel, is_plain=False)
            if abs(float(sums[_middle(self.shape)]) - 1) > 1e-5:
                return False
        return True

    def _read(self) -> None:
        linear, shape = self.linear, self.shape
        ones = np.ones(linear.source.shape, np.float32)
        weights = [np.ones(s, np.float32) for s in linear.shapes]
        one_weight = [np.zeros(s, np.float32) for s in linear.shapes]
        self.one_weight = one_weight
        size = max(w.size for w in one_weight)
        largest = [w for w in one_weight if w.size == size]
        middle = largest[len(largest) // 2]
        middle[_middle(middle.shape)] = 1

        # One program for all rows: else each product would be an array of its own.
        @jax.jit
        def to_entries(weights: Any, cotangent: Any) -> Any:
            run = functools.partial(linear.apply, weights=weights)
            return jax.linear_transpose(run, ones)(cotangent)[0]

        @jax.jit
        def to_weights(x: Any, cotangent: Any) -> Any:
            run = functools.partial(linear.apply, x)
            return jax.linear_transpose(run, weights)(cotangent)[0]

        places = {(0,) * len(shape), _middle(shape), tuple(n - 1 for n in shape)}
        units = {place: np.zeros(shape, np.float32) for place in sorted(places)}
        for place, unit in units.items():
            unit[place] = 1
        middle = units[_middle(shape)]
        rows = (to_entries(weights, unit) for unit in units.values())
        self.entries = [np.asarray(row) for row in rows]
        self.weights = [np.asarray(uses) for uses in to_weights(ones, middle)]
        self.shared = np.asarray(to_entries(one_weight, np.ones(shape, np.float32)))

    def _reads_a_weight_twice(self) -> bool:
        """Whether a result reads a weight twice, as the sum of a dense layer does."""
        totals: list[tuple[Atom, np.ndarray]] = []
        for index, own in zip(self.linear.products, self.weights, strict=True):
            atom = self.linear.weight_of(self.grouping.equations[index])
            same = next((u for a, u in totals if self.grouping.is_same(a, atom)), None)
            if same is None:
                totals.append((atom, own.copy()))
            else:
                same += own
        return any((total > 1).any() for _, total in totals)

    @property
    def group(self) -> Group:
        """The region, with the affine steps around it if it has a kernel."""
        grouping, equations = self.grouping, self.region.equations
        assert self.role is not None, "the region is a layer"
        if self.role not in (Role.CONVOLUTION, Role.DENSE):
            return Group(self.role, equations)
        before = grouping.affine_steps_before(equations, _single_axes(self.shared))
        after = grouping.affine_steps_after(max(equations), frozenset())
        following = grouping.next(max(equations | set(after)))
        if following is not None and grouping.affine_step(following) is not None:
            axes = self._feature_axes()
            after = grouping.affine_steps_after(max(equations), axes)
        products = self.linear.products
        every = equations | {*before, *after}
        return Group(self.role, every, products[0], before, after, products)

    def _feature_axes(self) -> frozenset[int]:
        """The axes of the result along which a weight meets one place alone."""
        with jax.ensure_compile_time_eval():
            ones = np.ones(self.linear.source.shape, np.float32)
            run = jax.jit(self.linear.apply)
            return _single_axes(np.asarray(run(ones, self.one_weight)))


def _middle(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n // 2 for n in shape)


def _places(array: np.ndarray, axis: int) -> np.ndarray:
    """The places along an axis at which an array has entries that are not zero."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    return np.flatnonzero(array.any(axis=others))


def _n_places(array: np.ndarray, axis: int) -> int:
    return len(_places(array, axis))


def _single_axes(array: np.ndarray) -> frozenset[int]:
    """The axes along which all entries that are not zero are at one place."""
    return frozenset(i for i in range(array.ndim) if _n_places(array, i) == 1)


def _window_axis(rows: list[np.ndarray]) -> int | None:
    """An axis of which results read a part, each another one, without gaps."""
    for axis in range(rows[0].ndim):
        places = [_places(row, axis) for row in rows]
        is_even = all(len(np.unique(np.diff(p))) <= 1 for p in places)
        is_part = any(1 < len(p) < rows[0].shape[axis] for p in places)
        moves = len({tuple(p) for p in places}) > 1
        if is_even and is_part and moves:
            return axis
    return None


def _is_full(rows: list[np.ndarray]) -> bool:
    """Whether results read all of each axis of which they read more than one entry."""
    return not any(
        1 < _n_places(row, axis) < size
        for row in rows
        for axis, size in enumerate(row.shape)
    )
