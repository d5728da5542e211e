"""The derivative of max pooling: the largest entry of a window gets its cotangent.

On CPU, XLA's own derivative of max pooling (`select_and_scatter_add`) visits one window
after the other. Here each offset inside the window is one elementwise pass over all
windows, which is four to thirty times faster and gives the same numbers: if entries are
equal, the first in row-major order gets all.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives as p

from jaxinterp.tracing.program.program import Equation

# There is one pass for each entry of a window; larger windows use XLA's derivative.
_LARGEST_WINDOW = 64


def is_supported(equation: Equation) -> bool:
    """Whether `max_pool_transpose` computes the derivative of an equation.

    Args:
        equation: any equation.
    """
    if equation.primitive is not p.reduce_window_max_p:
        return False
    params = equation.params
    is_dilated = {*params["base_dilation"], *params["window_dilation"]} != {1}
    return not is_dilated and math.prod(params["window_dimensions"]) <= _LARGEST_WINDOW


def max_pool_transpose(equation: Equation, x: Any, cotangent: Any) -> Any:
    """Returns the cotangent of the input of a max pooling.

    Args:
        equation: the pooling, for which `is_supported` holds.
        x: the input of the pooling.
        cotangent: the cotangent of the output.
    """
    window = equation.params["window_dimensions"]
    strides = equation.params["window_strides"]
    padding = equation.params["padding"]
    # What is at `offset` in window `n` is pixel `offset % stride` of block
    # `n + offset // stride`; pixels that no window reaches need blocks too.
    blocks = [
        max(n + (w - 1) // s, -(-(low + size) // s))
        for n, w, s, (low, _), size in zip(
            cotangent.shape, window, strides, padding, x.shape, strict=True
        )
    ]
    edges = [
        (low, b * s - n - low, 0)
        for (low, _), b, s, n in zip(padding, blocks, strides, x.shape, strict=True)
    ]
    padded = lax.pad(x, jnp.array(-jnp.inf, x.dtype), edges)
    offsets = list(itertools.product(*map(range, window)))
    # Behind a barrier, since each use would compute it again.
    winner = _first_largest(padded, offsets, cotangent.shape, strides)
    winner = lax.optimization_barrier(winner)
    zero = jnp.zeros((), cotangent.dtype)
    sums: dict[tuple[int, ...], Any] = {}
    for number, offset in enumerate(offsets):
        shift = [
            (o // s, b - n - o // s, 0)
            for o, s, b, n in zip(offset, strides, blocks, cotangent.shape, strict=True)
        ]
        share = lax.pad(jnp.where(winner == number, cotangent, zero), zero, shift)
        phase = tuple(o % s for o, s in zip(offset, strides, strict=True))
        sums[phase] = sums[phase] + share if phase in sums else share
    nothing = jnp.zeros(blocks, cotangent.dtype)
    phases = itertools.product(*map(range, strides))
    received = _interleave([sums.get(ph, nothing) for ph in phases], strides, blocks)
    start = [low for low, _ in padding]
    return lax.slice(
        received, start, [low + n for low, n in zip(start, x.shape, strict=True)]
    )


def _first_largest(
    padded: Any,
    offsets: list[tuple[int, ...]],
    windows: tuple[int, ...],
    strides: tuple[int, ...],
) -> Any:
    """The number of the offset at which each window has its first largest entry.

    The output of the pooling is no help: where XLA computes the input a second time it
    may round otherwise, and then no entry would equal it.
    """
    winner, best = jnp.zeros(windows, jnp.int8), None
    for number, offset in enumerate(offsets):
        stop = [
            o + (n - 1) * s + 1
            for o, n, s in zip(offset, windows, strides, strict=True)
        ]
        entry = lax.slice(padded, offset, stop, strides)
        if best is None:
            best = entry
            continue
        winner = jnp.where(entry > best, jnp.int8(number), winner)
        best = jnp.maximum(best, entry)
    return winner


def _interleave(phases: list[Any], strides: tuple[int, ...], blocks: list[int]) -> Any:
    rank = len(strides)
    stacked = jnp.stack(phases).reshape(*strides, *blocks)
    axes = [axis for i in range(rank) for axis in (rank + i, i)]
    shape = [b * s for b, s in zip(blocks, strides, strict=True)]
    return jnp.transpose(stacked, axes).reshape(shape)
