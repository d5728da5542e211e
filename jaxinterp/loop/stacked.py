"""How the values of a step at many points are computed, where all of them are kept.

The sibling of `sums`: some points are taken at once, the chunks one after another, in a
host loop over one compiled step or, inside of `jax.jit`, in one `scan`. Memory grows
with the size of a chunk and with what is kept. What is computed does not depend on it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import checked_integer, is_staged
from jaxinterp.loop.chunks import in_chunks, points_at_once
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.scan import scan
from jaxinterp.loop.static import StaticPart, static_and_arrays

Step = Callable[[Any, Any], Any]


def stacked(
    step: Step, *, batch_size: int | None = None, name: str = ""
) -> Callable[..., Any]:
    """Returns a function that evaluates a step at many points.

    Args:
        step: `step(context, point) -> pytree of arrays`, for one point.
        batch_size: the number of points evaluated at once; by default all of them, or
            as many as `points_at_once` says. With 1 the step is not mapped by
            `jax.vmap`.
        name: the name of the computation, for the progress bar and errors.

    Returns:
        `values_at(context, points, inputs=None)`, where the leaves of `points` have one
        more axis in front, and `inputs` are arrays as large as those that the step
        makes of one point, by default the point; it returns the values of the step, the
        points on a new first axis.

    Raises:
        ValueError: if `batch_size` is not a positive integer.

    Example:
        >>> squares = stacked(lambda scale, x: scale * x**2, batch_size=2)
        >>> squares(2.0, jnp.array([1.0, 2.0, 3.0])).tolist()
        [2.0, 8.0, 18.0]
    """
    if batch_size is not None:
        batch_size = checked_integer("batch_size", batch_size, 1, call=name)

    def part(static: StaticPart, arrays: list[Any], chunk: Any) -> Any:
        context = static.with_arrays(arrays)
        if jax.tree.leaves(chunk)[0].shape[0] > 1:
            return jax.vmap(functools.partial(step, context))(chunk)
        value = step(context, jax.tree.map(lambda leaf: leaf[0], chunk))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], value)

    jitted = jax.jit(part, static_argnums=0)

    def values_at(context: Any, points: Any, inputs: Any = None) -> Any:
        count = jax.tree.leaves(points)[0].shape[0]
        size = min(batch_size or points_at_once(points, inputs), count)
        number = -(-count // size)
        chunks = in_chunks(points, size)
        static, arrays = static_and_arrays(context)
        run = functools.partial(jitted if static.is_constant else part, static, arrays)
        if is_staged() and number > 1:
            values = scan(lambda _, chunk: ((), run(chunk)), (), chunks)[1]
        else:
            values = _in_host_loop(run, chunks, number, name)
        return jax.tree.map(
            lambda leaf: leaf.reshape(number * size, *leaf.shape[2:])[:count], values
        )

    return values_at


def _in_host_loop(
    run: Callable[[Any], Any], chunks: Any, number: int, name: str
) -> Any:
    """Evaluates one chunk after another as they are computed."""
    values = []
    with progress_bar(number, name) as bar:
        for i in range(number):
            values.append(run(jax.tree.map(lambda leaf, i=i: leaf[i], chunks)))
            bar.update()
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *values)
