"""What measures of pictures share: pictures by unit, taken a few units at a time.

Pictures come in the order of their units, as `maximize` returns them: with `count` for
each unit, the first `count` are the first unit's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.featurevis.integers import checked_integer
from jaxinterp.featurevis.model import Preprocess, Reader, hashable
from jaxinterp.trace.selectors import Selector
from jaxinterp.trace.transform import ApplyFn, select, select_one, trace


def by_unit(images: Any, count: int, many: int | None = None) -> Any:
    """Returns pictures `(units * count, ...)` as `(units, count, ...)`.

    Args:
        images: in the order of the units.
        count: how many there are for each.
        many: how many units there are; any number by default.

    Raises:
        TypeError: if they are not floats.
        ValueError: if their number does not fit.
    """
    count = checked_integer("count", count, 1)
    check_pictures(images, "`images`")
    found = images.shape[0]
    wanted = None if many is None else many * count
    if not found or found % count or wanted not in (None, found):
        units = "some units" if many is None else f"{many} units"
        raise ValueError(
            f"There are {found} pictures, and count={count} for each of {units} was "
            "asked for.\nGive the pictures of all units in their order, and the "
            "`count` that `maximize` had."
        )
    return jnp.asarray(images).reshape(found // count, count, *images.shape[1:])


def check_pictures(images: Any, name: str) -> None:
    """Raises unless these are arrays of floats.

    Args:
        images: one or more pictures.
        name: what they are called.

    Raises:
        TypeError: if they are not.
    """
    is_array = isinstance(images, jax.Array | np.ndarray)
    if (
        not is_array
        or not images.ndim
        or not jnp.issubdtype(images.dtype, jnp.floating)
    ):
        kind = f"{images.dtype}{list(images.shape)}" if is_array else repr(type(images))
        raise TypeError(
            f"{name} are an array of floats in [0, 1], with the pictures first, and "
            f"are {kind}.\nWrite `result.images`, or `jnp.asarray(images) / 255`."
        )


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


def each(function: Callable[[Any], Any], points: np.ndarray, *, is_inner: bool) -> Any:
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
    found = each(function, chosen, is_inner=is_inner)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:many], found)


def site_reader(
    apply_fn: ApplyFn,
    variables: Any,
    images: Any,
    preprocess: Preprocess | None,
    sites: Selector | str,
    *,
    one: bool = False,
) -> Reader:
    """Returns what reads the activations at some sites.

    Args:
        apply_fn: the model.
        variables: of the model.
        images: pictures, whose first axis does not matter.
        preprocess: from pictures to inputs of the model.
        sites: an address, a glob or a selector.
        one: whether it is to be a single site.

    Raises:
        AddressError: if no site matches.
        AmbiguousAddressError: if several match where there is to be one.
    """
    inputs = jax.ShapeDtypeStruct((2, *images.shape[1:]), images.dtype)
    if preprocess is not None:
        inputs = jax.eval_shape(preprocess, inputs)
    graph = trace(apply_fn, variables, inputs)
    found = [select_one(graph, sites)] if one else select(graph, sites).values()
    places = tuple((site.address, site.address, len(site.length)) for site in found)
    return Reader(hashable(apply_fn), preprocess, places)


def cell(value: Any, digits: int = 2) -> str:
    """Returns a number as a cell of a table.

    Args:
        value: a number; NaN if it does not exist, `None` if it was not asked for.
        digits: after the point.
    """
    if value is None or np.isnan(value):
        return "" if value is None else "none"
    return f"{float(value):.{digits}f}"
