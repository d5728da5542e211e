r"""Which entries of the input a part of an output is computed from.

Position $q$ along an axis of a site reads the entries $s q + l, \dots, s q + h$ along
an axis of a value. Through a window of $k$ entries, $d$ apart, with stride $t$ and $m$
entries of padding in front, these become

$$s t q + (t l - m), \; \dots, \; s t q + (t h - m + (k - 1) d)$$

of the operand. If a value is reached on two paths, what both read is read. A
contraction or a mean reads all entries along the axes that it sums over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import primitives as p

from jaxinterp.tracing import compat
from jaxinterp.tracing.facts.axes import reshape_groups
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE
from jaxinterp.tracing.program.program import Equation


class Reads(NamedTuple):
    """What is read along one axis: position `q` of the site reads entries of a value.

    They are the entries `stride q + low` to `stride q + high`.

    Attributes:
        axis: the axis of the site along which `q` counts.
        stride: how many entries lie between what a position and the next one read.
        low: the first entry that position 0 reads.
        high: the last entry that position 0 reads.
    """

    axis: int
    stride: int
    low: int
    high: int


# For each axis of a value, what a position of the site reads; `None` for all entries.
Extent = tuple[Reads | None, ...]


class UnknownReads(Exception):
    """It cannot be told which entries an equation reads."""


def both(one: Extent, other: Extent) -> Extent:
    """Returns what is read of a value on two paths together.

    Args:
        one: what is read of the value on one path.
        other: what is read of the same value on another path.

    Raises:
        UnknownReads: if the strides of the paths differ.
    """
    return tuple(_union(a, b) for a, b in zip(one, other, strict=True))


def _union(one: Reads | None, other: Reads | None) -> Reads | None:
    if one is None or other is None:
        return None
    if (one.axis, one.stride) != (other.axis, other.stride):
        raise UnknownReads("paths of different strides meet")
    low, high = min(one.low, other.low), max(one.high, other.high)
    return Reads(one.axis, one.stride, low, high)


def read_by(equation: Equation, position: int, extent: Extent) -> Extent:
    """Returns what is read of an operand of an equation.

    Args:
        equation: any equation.
        position: the number of the operand.
        extent: what is read of the equation's result.

    Raises:
        UnknownReads: if the equation does not read windows of one size.
    """
    shape = equation.inputs[position].shape
    if not any(extent):
        return (None,) * len(shape)
    primitive = equation.primitive
    if KINDS.get(primitive) in POINTWISE:
        return extent if shape else ()
    if primitive in _WINDOWED:
        params = equation.params
        sizes, strides = params["window_dimensions"], params["window_strides"]
        dilations = (params["base_dilation"], params["window_dilation"])
        return _through_windows(extent, sizes, strides, params["padding"], *dilations)
    rule = _RULES.get(primitive)
    if rule is None:
        raise UnknownReads(f"`{primitive}` may take its entries from anywhere")
    return rule(equation, position, extent)


def _through_windows(
    extent: Extent,
    sizes: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    base: Sequence[int],
    dilations: Sequence[int],
) -> Extent:
    axes = zip(extent, sizes, strides, padding, base, dilations, strict=True)
    result = []
    for reads, size, stride, (before, _), spread, dilation in axes:
        if reads is not None and spread != 1:
            raise UnknownReads(
                "it spreads its input out, so positions see unlike windows"
            )
        result.append(
            reads
            and Reads(
                reads.axis,
                stride * reads.stride,
                stride * reads.low - before,
                stride * reads.high - before + (size - 1) * dilation,
            )
        )
    return tuple(result)


def _convolution(equation: Equation, position: int, extent: Extent) -> Extent:
    if position != 0:
        raise UnknownReads("the kernel of a convolution depends on the input")
    params, kernel = equation.params, equation.inputs[1].shape
    numbers = params["dimension_numbers"]
    spatial = _through_windows(
        tuple(extent[axis] for axis in numbers.out_spec[2:]),
        [kernel[axis] for axis in numbers.rhs_spec[2:]],
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
    )
    batch, features, *axes = numbers.lhs_spec
    by_axis = {batch: extent[numbers.out_spec[0]], features: None}
    by_axis.update(zip(axes, spatial, strict=True))
    return tuple(by_axis[axis] for axis in range(len(by_axis)))


def _contraction(equation: Equation, position: int, extent: Extent) -> Extent:
    contracting, batch = equation.params["dimension_numbers"]
    free = [
        [i for i in range(len(v.shape)) if i not in (*contracting[side], *batch[side])]
        for side, v in enumerate(equation.inputs)
    ]
    before = len(batch[0]) + (len(free[0]) if position == 1 else 0)
    result: list[Reads | None] = [None] * len(equation.inputs[position].shape)
    for at, axis in enumerate(batch[position]):
        result[axis] = extent[at]
    for at, axis in enumerate(free[position], before):
        result[axis] = extent[at]
    return tuple(result)


def _reduction(equation: Equation, position: int, extent: Extent) -> Extent:
    rest = iter(extent)
    axes = equation.params["axes"]
    shape = equation.inputs[position].shape
    return tuple(None if axis in axes else next(rest) for axis in range(len(shape)))


def _transposition(equation: Equation, position: int, extent: Extent) -> Extent:
    order = equation.params["permutation"]
    return tuple(extent[order.index(axis)] for axis in range(len(order)))


def _broadcast(equation: Equation, position: int, extent: Extent) -> Extent:
    shape, new = equation.inputs[position].shape, equation.outputs[0].shape
    axes = equation.params["broadcast_dimensions"]
    return tuple(
        extent[to] if size == new[to] else None
        for size, to in zip(shape, axes, strict=True)
    )


def _reshape(equation: Equation, position: int, extent: Extent) -> Extent:
    old, new = equation.inputs[0].shape, equation.outputs[0].shape
    result: list[Reads | None] = [None] * len(old)
    for olds, news in reshape_groups(old, new):
        olds = [axis for axis in olds if old[axis] != 1]
        news = [axis for axis in news if new[axis] != 1]
        parts = [extent[axis] for axis in news]
        if not any(parts):
            continue
        outer, *inner = parts
        if len(olds) != 1 or outer is None or any(inner):
            raise UnknownReads("a reshape joins positions with something else")
        size = math.prod(new[axis] for axis in news[1:])
        result[olds[0]] = Reads(
            outer.axis,
            outer.stride * size,
            outer.low * size,
            (outer.high + 1) * size - 1,
        )
    return tuple(result)


def _slice(equation: Equation, position: int, extent: Extent) -> Extent:
    starts = equation.params["start_indices"]
    strides = equation.params["strides"] or (1,) * len(starts)
    once, none = (1,) * len(starts), [(-start, 0) for start in starts]
    return _through_windows(extent, once, strides, none, once, once)


def _padding(equation: Equation, position: int, extent: Extent) -> Extent:
    if position != 0:
        return ()
    config = equation.params["padding_config"]
    once = (1,) * len(config)
    edges = [(int(low), int(high)) for low, high, _ in config]
    spread = [int(inside) + 1 for _, _, inside in config]
    return _through_windows(extent, once, once, edges, spread, once)


def _joining(equation: Equation, position: int, extent: Extent) -> Extent:
    key = "dimension" if "dimension" in equation.params else "axis"
    if extent[equation.params[key]] is not None:
        raise UnknownReads("positions are taken apart or joined")
    return extent


_WINDOWED = (p.reduce_window_max_p, p.reduce_window_min_p, p.reduce_window_sum_p)

_VECTOR = jax.ShapeDtypeStruct((2,), "float32")

_RULES: dict[Any, Callable[[Equation, int, Extent], Extent]] = {
    # First, as it may be a slice, which has its own line below.
    compat.primitive_of(lambda x: jax.lax.split(x, (1, 1)), _VECTOR): _joining,
    p.conv_general_dilated_p: _convolution,
    p.dot_general_p: _contraction,
    p.reduce_sum_p: _reduction,
    p.reduce_max_p: _reduction,
    p.reduce_min_p: _reduction,
    p.argmax_p: _reduction,
    p.argmin_p: _reduction,
    p.transpose_p: _transposition,
    p.broadcast_in_dim_p: _broadcast,
    p.reshape_p: _reshape,
    p.squeeze_p: _reshape,
    p.slice_p: _slice,
    p.pad_p: _padding,
    p.concatenate_p: _joining,
}
