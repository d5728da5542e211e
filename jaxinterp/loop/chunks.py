"""Many things, a few at a time: how many at once, and in what chunks.

All chunks have one size, so that one compiled program serves them all: the last one is
filled up with copies of its last member, which do not count.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.loop.fast_scan import scan

# So many bytes of activations are computed at once on CPU.
CACHE_BYTES = 16_000_000

# So many bytes of inputs are computed at once, if nobody says how many inputs.
BUDGET = 16_000_000


def within_budget(bytes_each: int) -> int:
    """Returns how many points are computed at once, if nobody says how many.

    The inputs of the model that they make are 16 MB at most, or those of one point:
    26 color images of 224 x 224. The activations of a network are some 100 times as
    large as its inputs.

    Args:
        bytes_each: the size of the inputs that one point makes, for the whole batch.

    Example:
        >>> within_budget(6_000_000)
        2
    """
    return max(BUDGET // max(bytes_each, 1), 1)


def at_once(bytes_each: int) -> int | None:
    """Returns how many examples to compute at once, if nobody says how many.

    On CPU few are faster than many as long as their activations stay in its caches;
    of examples that do not even fit alone, a few share the reading of the weights.

    Args:
        bytes_each: the size of the activations of one example.

    Returns:
        A number; `None` for all, on accelerators.

    Example:
        >>> at_once(6_000_000) if jax.default_backend() == "cpu" else 3
        3
    """
    if jax.default_backend() != "cpu":
        return None
    if bytes_each > CACHE_BYTES:
        return 4
    return max(2, -(-CACHE_BYTES // max(bytes_each, 1)))


def chunk_size(batch_size: int | None, each: int, count: int) -> int:
    """Returns how many units are taken at once.

    Args:
        batch_size: the largest number of images taken at once; `None` for all of them.
        each: the number of images of each unit.
        count: the number of units.

    Raises:
        ValueError: if one unit has more images than that.

    Example:
        >>> chunk_size(10, each=4, count=9)
        2
    """
    if batch_size is None:
        return count
    batch_size = checked_integer("batch_size", batch_size, 1)
    if batch_size < each:
        raise ValueError(
            f"`batch_size` is {batch_size}, and the {each} images of one unit are "
            f"not divided. Write `batch_size={each}` or more."
        )
    return min(batch_size // each, count)


def even_size(count: int, most: int) -> int:
    """Returns how many things are taken at once, so that chunks are as equal as can be.

    Args:
        count: the number of things.
        most: the largest number of things in a chunk.

    Example:
        >>> even_size(10, 8)
        5
    """
    return -(-count // -(-count // min(count, most)))


def chunk_indices(count: int, size: int) -> np.ndarray:
    """Returns which things each chunk holds, `(chunks, size)`.

    Args:
        count: the number of things.
        size: the number of things in a chunk; the last chunk is filled up with the last
            thing.

    Example:
        >>> chunk_indices(5, 2).tolist()
        [[0, 1], [2, 3], [4, 4]]
    """
    number = -(-count // size)
    return np.minimum(np.arange(number * size), count - 1).reshape(number, size)


def in_chunks(things: Any, size: int) -> Any:
    """Returns things in chunks, `(chunks, size, ...)`.

    Args:
        things: a pytree of arrays with the things on their first axis.
        size: the number of things in a chunk; the last chunk is filled up with the last
            thing.

    Example:
        >>> in_chunks(jnp.arange(3), 2).tolist()
        [[0, 1], [2, 2]]
    """
    count = jax.tree.leaves(things)[0].shape[0]
    indices = chunk_indices(count, size)
    if indices.size != count:
        things = jax.tree.map(lambda leaf: leaf[indices.ravel()], things)
    return jax.tree.map(
        lambda leaf: leaf.reshape(*indices.shape, *leaf.shape[1:]), things
    )


def each_chunk(
    function: Callable[[Any], Any], points: np.ndarray, *, is_inner: bool
) -> Any:
    """Returns what a function gives for each of several points, stacked.

    Args:
        function: a function whose costly part is jitted: it is called in a host loop.
        points: the arguments of the calls, on the first axis.
        is_inner: whether this is called inside of a transformation such as `jax.jit`,
            so that the calls become one `scan`.

    Returns:
        The values of the function, with the points on a new first axis.
    """
    if is_inner:
        return scan(lambda _, point: ((), function(point)), (), jnp.asarray(points))[1]
    values = [function(point) for point in points]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *values)


def over_units(
    function: Callable[[Any], Any], count: int, size: int, *, is_inner: bool
) -> Any:
    """Returns what a function gives for all units, a few of them at a time.

    Args:
        function: a function from the numbers of some units, `(size,)`, to arrays with
            these units on their first axis.
        count: the number of units.
        size: the number of units taken at once.
        is_inner: whether this is called inside of a transformation such as `jax.jit`.

    Returns:
        The values of the function, with all units on the first axis.

    Example:
        >>> over_units(lambda units: 10 * units, 3, 2, is_inner=False).tolist()
        [0, 10, 20]
    """
    indices = chunk_indices(count, size)
    if not is_inner:
        return _in_one_row([function(index) for index in indices], count)
    values = each_chunk(function, indices, is_inner=True)
    return jax.tree.map(lambda a: a.reshape(indices.size, *a.shape[2:])[:count], values)


@functools.partial(jax.jit, static_argnums=1)
def _in_one_row(chunks: list[Any], count: int) -> Any:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *chunks)
