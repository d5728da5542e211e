"""How a computation at many points runs, such as a sum: the one place that decides.

Some points are taken at once, a chunk of them, and the chunks one after another: called
eagerly in a host loop over one compiled step, inside of `jax.jit` in one `scan`. So
memory grows with the size of a chunk and not with their number, and the program with
neither: chunks written out into one program would take longer to compile, and XLA
would keep all of them alive. A derivative computes each chunk anew instead of keeping
what it needs of all of them. What is computed does not depend on the choice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinterp.checks import checked_integer, is_staged, is_traced
from jaxinterp.loop.chunks import even_size, in_chunks, within_budget
from jaxinterp.loop.fast_scan import in_order
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.static import StaticPart, static_and_arrays

Step = Callable[[Any, Any], Any]


def summed(
    step: Step, *, batch_size: int | None = None, name: str = ""
) -> Callable[..., Any]:
    """Returns a function that sums a step over many points.

    Args:
        step: `step(context, point) -> pytree of arrays`, for one point.
        batch_size: the number of points evaluated at once; by default all of them, or
            as many as `within_budget` allows. Memory grows with it and not with the
            number of points.
        name: the name of the sum, for the progress bar and errors.

    Returns:
        `sum_over(context, points, inputs=None)`, where the leaves of `points` have one
        more axis in front, and `inputs` are arrays as large as those that the step
        makes of one point, by default the point; it returns the sum of the steps.

    Raises:
        ValueError: if `batch_size` is not a positive integer.

    Example:
        >>> squares = summed(lambda scale, x: scale * x**2, batch_size=2)
        >>> float(squares(2.0, jnp.array([1.0, 2.0, 3.0])))
        28.0
    """
    divided = _divided(step, _added, batch_size, name)

    def sum_over(context: Any, points: Any, inputs: Any = None) -> Any:
        of_chunk, chunks, valid = divided(context, points, inputs)
        if is_staged() and len(valid) > 1:
            return _narrow(_scanned_sum(of_chunk, chunks, valid))
        values = _in_host_loop(of_chunk, chunks, valid, name)
        add = functools.partial(jax.tree.map, jnp.add)
        return _narrow(functools.reduce(add, values))

    return sum_over


def evaluated(
    step: Step, *, batch_size: int | None = None, name: str = ""
) -> Callable[..., Any]:
    """Returns a function that evaluates a step at many points, and keeps every value.

    Args:
        step: `step(context, point) -> pytree of arrays`, for one point.
        batch_size: the number of points evaluated at once; by default all of them, or
            as many as `within_budget` allows. Memory grows with it, and with the values
            of all points. A single point is not mapped by `jax.vmap`.
        name: the name of the evaluation, for the progress bar and errors.

    Returns:
        `values_at(context, points, inputs=None)`, with the arguments of what `summed`
        returns; its values have the points on a new first axis.

    Raises:
        ValueError: if `batch_size` is not a positive integer.

    Example:
        >>> squares = evaluated(lambda scale, x: scale * x**2, batch_size=2)
        >>> squares(2.0, jnp.array([1.0, 2.0, 3.0])).tolist()
        [2.0, 8.0, 18.0]
    """
    divided = _divided(step, lambda values, valid: values, batch_size, name)

    def values_at(context: Any, points: Any, inputs: Any = None) -> Any:
        of_chunk, chunks, valid = divided(context, points, inputs)
        count = jax.tree.leaves(points)[0].shape[0]
        if is_staged() and len(valid) > 1:
            values = lax.scan(lambda _, c: ((), of_chunk(*c)), (), (chunks, valid))[1]
            rows = jax.tree.map(
                lambda v: v.reshape(v.shape[0] * v.shape[1], *v.shape[2:]), values
            )
        else:
            values = _in_host_loop(of_chunk, chunks, valid, name)
            rows = jax.tree.map(lambda *parts: jnp.concatenate(parts), *values)
        return jax.tree.map(lambda row: row[:count], rows)

    return values_at


def _divided(
    step: Step, combine: Step, batch_size: int | None, name: str
) -> Callable[..., tuple[Step, Any, Any]]:
    """Returns a function that divides points into chunks.

    Args:
        step: what is computed at one point.
        combine: what is made of the values of a chunk, and of which of them count.
        batch_size: the number of points of a chunk; `None` for as many as fit.
        name: the name of the computation, for errors.

    Returns:
        A function from the context, the points and the inputs to the function of one
        chunk, the chunks, and which points of each chunk count.
    """
    if batch_size is not None:
        batch_size = checked_integer("batch_size", batch_size, 1, call=name)

    def part(static: StaticPart, arrays: list[Any], chunk: Any, valid: Any) -> Any:
        context = static.with_arrays(arrays)
        return combine(_at_each(functools.partial(step, context), chunk), valid)

    def part_anew(static: StaticPart, *arrays: Any) -> Any:
        once = in_order(functools.partial(part, static))
        return jax.checkpoint(once, prevent_cse=False)(*arrays)

    jitted = jax.jit(part, static_argnums=0)
    jitted_anew = jax.jit(part_anew, static_argnums=0)

    def divided(context: Any, points: Any, inputs: Any) -> tuple[Step, Any, Any]:
        count = jax.tree.leaves(points)[0].shape[0]
        size = min(batch_size or _default_size(points, inputs), count)
        chunks = in_chunks(points, size)
        valid = jnp.arange(-(-count // size) * size).reshape(-1, size) < count
        static, arrays = static_and_arrays(context)
        if len(valid) == 1 or not (is_staged() or is_traced(context, points)):
            run = jitted if static.is_constant else part
        else:
            run = jitted_anew if static.is_constant else part_anew
        return functools.partial(run, static, arrays), chunks, valid

    return divided


def _at_each(function: Callable[[Any], Any], chunk: Any) -> Any:
    """Evaluates a function at each point of a chunk.

    Of a single point it is not mapped: weights that depend on the point would get an
    axis more, and a convolution with mapped kernels is slow.
    """
    if jax.tree.leaves(chunk)[0].shape[0] > 1:
        return jax.vmap(function)(chunk)
    value = function(jax.tree.map(lambda leaf: leaf[0], chunk))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], value)


def _default_size(points: Any, inputs: Any) -> int:
    """The number of points taken at once, if nobody says how many."""
    count = jax.tree.leaves(points)[0].shape[0]
    leaves = jax.tree.leaves(points if inputs is None else inputs)
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if inputs is None:
        each //= count
    return even_size(count, within_budget(each))


class _Sum(NamedTuple):
    """A sum in single precision at least, lest it depend on how it was divided.

    Attributes:
        total: the sum so far.
        like: an empty array of the dtype of the summands; `None` if they are no floats.
    """

    total: Any
    like: Any


def _added(values: Any, valid: Any) -> Any:
    """Adds up along the first axis what is valid."""

    def of_leaf(leaf: Any) -> _Sum:
        real = jnp.where(valid.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)
        if not jnp.issubdtype(real.dtype, jnp.inexact):
            return _Sum(real.sum(axis=0), None)
        wide = jnp.promote_types(real.dtype, jnp.float32)
        return _Sum(real.astype(wide).sum(axis=0), jnp.zeros(0, real.dtype))

    return jax.tree.map(of_leaf, values)


def _narrow(sums: Any) -> Any:
    """Returns sums in the dtype of what was added up."""
    return jax.tree.map(
        lambda s: s.total if s.like is None else s.total.astype(s.like.dtype),
        sums,
        is_leaf=lambda node: isinstance(node, _Sum),
    )


def _scanned_sum(of_chunk: Step, chunks: Any, valid: Any) -> Any:
    """Adds up all chunks in one loop of a program."""
    chunk = jax.tree.map(lambda leaf: leaf[0], (chunks, valid))
    first = jax.eval_shape(of_chunk, *chunk)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), first)

    def body(total: Any, chunk: Any) -> Any:
        return jax.tree.map(jnp.add, total, of_chunk(*chunk)), None

    return lax.scan(body, zeros, (chunks, valid))[0]


def _in_host_loop(of_chunk: Step, chunks: Any, valid: Any, name: str) -> Iterator[Any]:
    """Computes one chunk after another."""
    with progress_bar(len(valid), name) as bar:
        for i in range(len(valid)):
            chunk = jax.tree.map(lambda leaf, i=i: leaf[i], chunks)
            yield of_chunk(chunk, valid[i])
            bar.update()
