"""Many things, a few at a time: how many at once, and in what chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.checks import checked_integer

# So many bytes of activations are computed at once on CPU.
CACHED = 16_000_000


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
    if bytes_each > CACHED:
        return 4
    return max(2, -(-CACHED // max(bytes_each, 1)))


def chunk_size(batch_size: int | None, each: int, many: int) -> int:
    """Returns how many units are taken at once.

    Args:
        batch_size: how many pictures may be; `None` for all.
        each: how many a unit has.
        many: how many units there are.

    Raises:
        ValueError: if the pictures of one unit are too many.
    """
    if batch_size is None:
        return many
    batch_size = checked_integer("batch_size", batch_size, 1)
    if batch_size < each:
        raise ValueError(
            f"`batch_size` is {batch_size}, and the {each} pictures of one unit are "
            f"not divided. Write `batch_size={each}` or more."
        )
    return min(batch_size // each, many)


def each_chunk(
    function: Callable[[Any], Any], points: np.ndarray, *, is_inner: bool
) -> Any:
    """Returns what a function gives for each point, stacked.

    Args:
        function: whose costly part is jitted: it is called in a host loop, as XLA runs
            convolutions inside of loops slowly on CPU.
        points: its arguments, on the first axis.
        is_inner: whether there is a transformation around, so that this is one `map`.
    """
    if is_inner:
        return lax.map(function, jnp.asarray(points))
    found = [function(point) for point in points]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


def over_units(
    function: Callable[[Any], Any], many: int, size: int, *, is_inner: bool
) -> Any:
    """Returns what a function gives for all units, the units in front.

    Args:
        function: from the numbers of some units to arrays with these units in front.
        many: how many units there are.
        size: how many are taken at once; the last chunk is filled up with its last
            unit, so that one program serves all.
        is_inner: whether there is a transformation around.
    """
    number = -(-many // size)
    chosen = np.minimum(np.arange(number * size), many - 1).reshape(number, size)
    found = each_chunk(function, chosen, is_inner=is_inner)
    return jax.tree.map(lambda a: a.reshape(number * size, *a.shape[2:])[:many], found)
