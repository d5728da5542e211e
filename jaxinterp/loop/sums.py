"""How a long loop over model gradients runs: the one place that decides.

On CPU, XLA runs the gradient of a convolution inside `scan` several times slower than
outside (jax-ml/jax#12868). So a loop of few iterations is unrolled; a long one is a
host loop over one jitted step when called eagerly on CPU, and `lax.scan` on
accelerators and under an outer `jit`. What is computed does not depend on the choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinterp.checks import checked_integer, is_traced
from jaxinterp.loop.chunks import in_chunks
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.static import StaticPart, static_and_arrays

# Up to so many iterations are written out; the program grows with them.
UNROLL_LIMIT = 8

Step = Callable[[Any, Any], Any]


def summed(
    step: Step, *, batch_size: int | None = None, name: str = ""
) -> Callable[[Any, Any], Any]:
    """Returns a function that sums a step over many points.

    Args:
        step: `step(context, point) -> pytree of arrays`, for one point.
        batch_size: the number of points evaluated at once; all of them by default.
            Memory grows with it and not with the number of points.
        name: the name of the sum, for the progress bar and errors.

    Returns:
        `sum_over(context, points)`, where the leaves of `points` have one more axis in
        front; it returns the sum of the steps.

    Raises:
        ValueError: if `batch_size` is not a positive integer.

    Example:
        >>> squares = summed(lambda scale, x: scale * x**2, batch_size=2)
        >>> float(squares(2.0, jnp.array([1.0, 2.0, 3.0])))
        28.0
    """
    if batch_size is not None:
        batch_size = checked_integer("batch_size", batch_size, 1, call=name)

    def part(static: StaticPart, arrays: list[Any], chunk: Any, valid: Any) -> Any:
        context = static.with_arrays(arrays)
        values = jax.vmap(lambda point: step(context, point))(chunk)

        return jax.tree.map(lambda leaf: _added(leaf, valid), values)

    jitted_part = jax.jit(part, static_argnums=0)

    def scan_sum(static: StaticPart, arrays: list[Any], chunks: Any, valid: Any) -> Any:
        def one(chunk: Any, valid: Any) -> Any:
            return part(static, arrays, chunk, valid)

        first = jax.eval_shape(
            one, *jax.tree.map(lambda leaf: leaf[0], (chunks, valid))
        )
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), first)

        def body(total: Any, chunk: Any) -> Any:
            return jax.tree.map(jnp.add, total, one(*chunk)), None

        return lax.scan(body, zeros, (chunks, valid))[0]

    jitted_scan = jax.jit(scan_sum, static_argnums=0)

    def sum_over(context: Any, points: Any) -> Any:
        count = jax.tree.leaves(points)[0].shape[0]
        size = min(batch_size or count, count)
        chunks = in_chunks(points, size)
        valid = jnp.arange(-(-count // size) * size).reshape(-1, size) < count
        number, is_inner = valid.shape[0], is_traced(context, points)
        static, arrays = static_and_arrays(context)
        is_jitted = static.is_constant and not is_inner
        run = jitted_part if is_jitted else part
        if number <= UNROLL_LIMIT:
            return _narrow(_host_loop(run, static, arrays, chunks, valid, ""))
        if is_inner or jax.default_backend() != "cpu":
            run = jitted_scan if is_jitted else scan_sum
            return _narrow(run(static, arrays, chunks, valid))
        return _narrow(_host_loop(run, static, arrays, chunks, valid, name))

    return sum_over


class _Sum(NamedTuple):
    """A sum in single precision at least, lest it depend on how it was divided.

    Attributes:
        total: the sum so far.
        like: an empty array of the dtype of the summands; `None` if they are no floats.
    """

    total: Any
    like: Any


def _added(leaf: Any, valid: Any) -> _Sum:
    """Adds up along the first axis what is valid."""
    real = jnp.where(valid.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)
    if not jnp.issubdtype(real.dtype, jnp.inexact):
        return _Sum(real.sum(axis=0), None)
    wide = jnp.promote_types(real.dtype, jnp.float32)
    return _Sum(real.astype(wide).sum(axis=0), jnp.zeros(0, real.dtype))


def _narrow(sums: Any) -> Any:
    """Returns sums in the dtype of what was added up."""
    return jax.tree.map(
        lambda s: s.total if s.like is None else s.total.astype(s.like.dtype),
        sums,
        is_leaf=lambda node: isinstance(node, _Sum),
    )


def _host_loop(
    run: Any, static: StaticPart, arrays: list[Any], chunks: Any, valid: Any, name: str
) -> Any:
    total = None
    number = valid.shape[0]
    with progress_bar(number, name) as bar:
        for i in range(number):
            chunk = jax.tree.map(lambda leaf, i=i: leaf[i], chunks)
            value = run(static, arrays, chunk, valid[i])
            total = value if total is None else jax.tree.map(jnp.add, total, value)
            bar.update()
    return total
