"""The parts of activations that are exchanged: whole sites, or slices along some axes.

A part is what is exchanged at once: the output of a layer, one of its heads, a position
of a head, a channel.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp

from jaxinterp.checks import is_integer, shown
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.select import select
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.tracing.split import check_can_start
from jaxinterp.types import Sites

# Sites, or for each of them the axes along which its activation is divided into parts:
# one axis, several, or `None` for none.
Places = Sites | Iterable[Sites] | Mapping[Sites, int | tuple[int, ...] | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Divided:
    """A site whose activation is divided into parts.

    Attributes:
        site: the site.
        axes: the axes along which the activation is divided, in increasing order.
    """

    site: Site
    axes: tuple[int, ...]

    @property
    def value(self) -> Value:
        """The value of the program that is the activation."""
        return self.site.value

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of parts along each axis."""
        return tuple(self.value.shape[axis] for axis in self.axes)

    @property
    def count(self) -> int:
        """The number of parts."""
        return math.prod(self.sizes)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each part: the address, and the index in brackets."""
        if not self.axes:
            return (self.site.address,)
        indices = itertools.product(*map(range, self.sizes))
        return tuple(
            f"{self.site.address}[{', '.join(map(str, index))}]" for index in indices
        )

    def mixed(self, own: Any, other: Any, mask: Any) -> Any:
        """Returns an activation some of whose parts are those of another.

        Args:
            own: the activation.
            other: an activation of the same shape.
            mask: for each example and part, `(batch, parts)`, whether it is taken from
                `other`, or how much of it is: then the activation is a weighted mean.
        """
        divided = (0, *self.axes)
        sizes = enumerate(self.value.shape)
        share = mask.reshape([size if axis in divided else 1 for axis, size in sizes])
        if share.dtype == bool:
            return jnp.where(share, other, own)
        # Slopes in the mask are sums over many entries, too coarse in half precision.
        wide = jnp.promote_types(own.dtype, share.dtype)
        own, other = own.astype(wide), other.astype(wide)
        return ((1 - share) * own + share * other).astype(self.value.dtype)

    def of_parts(self, array: Any) -> Any:
        """Returns the sum over each part, `(batch, *sizes)`.

        Args:
            array: an array in the shape of the activation.
        """
        kept = (0, *self.axes)
        wide = jnp.promote_types(array.dtype, jnp.float32)
        others = tuple(axis for axis in range(array.ndim) if axis not in kept)
        return array.astype(wide).sum(axis=others)

    def each_of_its_own(self, arrays: Any) -> Any:
        """Returns the activation whose part `i` is that of activation `i`.

        Args:
            arrays: one activation for each part, on the first axis.
        """
        axes, count = self.axes, self.count
        front = tuple(range(1, len(axes) + 1))
        arrays = jnp.moveaxis(arrays, [axis + 1 for axis in axes], front)
        rest = arrays.shape[len(axes) + 1 :]
        index = jnp.arange(count)
        own = arrays.reshape(count, count, *rest)[index, index]
        return jnp.moveaxis(own.reshape(*self.sizes, *rest), range(len(axes)), axes)


def as_pairs(name: str, places: Any) -> tuple[tuple[Sites, Any], ...]:
    """Returns pairs of a selector and the axes along which its sites are divided.

    Args:
        name: the name of the argument, for errors.
        places: a selector, several, or a mapping from selectors to axes.

    Raises:
        TypeError: if it is something else, or axes are no integers.
        ValueError: if there is no selector.
    """
    if isinstance(places, Mapping):
        pairs = tuple(places.items())
    elif isinstance(places, str) or not isinstance(places, Iterable):
        pairs = ((places, None),)
    else:
        pairs = tuple((selector, None) for selector in places)
    if not pairs:
        raise ValueError(
            f"`{name}` names no site. Write for example `{name}='blocks_*/mlp'`."
        )
    checked = []
    for selector, axes in pairs:
        as_selector(selector)
        several = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
        if not all(map(is_integer, several)):
            raise TypeError(
                f"`{name}` maps a site to an axis, a tuple of axes or None, and "
                f"{str(selector)!r} to {shown(axes)}.\n"
                f"Write for example `{name}={{'blocks_*/attention/heads': 2}}`."
            )
        checked.append((selector, tuple(map(int, several))))
    return tuple(checked)


def divided_sites(
    graph: Graph,
    pairs: Iterable[tuple[Sites, tuple[int, ...]]],
    n_examples: int,
) -> tuple[Divided, ...]:
    """Returns the sites that selectors mean, with their parts, in network order.

    A site that several selectors match has the axes of the first.

    Args:
        graph: the traced model.
        pairs: selectors, and the axes along which their sites are divided.
        n_examples: the number of examples in the batch.

    Raises:
        AddressError: if no site matches a selector.
        TypeError: if the only activation that it matches is not of real numbers.
        ValueError: if a site is in a loop, if its first axis is not that of the
            examples, or if it lacks one of the axes.
    """
    by_value: dict[Value, Divided] = {}
    for selector, axes in pairs:
        for address, site in select(graph, selector).items():
            if site.value in by_value:
                continue
            check_can_start(graph, site)
            if not site.value.is_inexact:
                raise TypeError(
                    f"The activation at {address!r} has dtype {site.value.dtype}, and "
                    "only real numbers are exchanged."
                )
            by_value[site.value] = Divided(site, _axes(site, axes, n_examples))
    order = {site.value: i for i, site in enumerate(graph.sites.values())}
    return tuple(sorted(by_value.values(), key=lambda part: order[part.value]))


def _axes(site: Site, axes: tuple[int, ...], n_examples: int) -> tuple[int, ...]:
    """The axes of a site, counted from the first one on and in order."""
    shape = site.value.shape
    if shape[:1] != (n_examples,):
        raise ValueError(
            f"The activation at {site.address!r} has the shape {shape}, whose first "
            f"axis is not that of the {n_examples} examples.\nTake a site before the "
            "examples are merged with others, or after they are apart again."
        )
    rank = len(shape)
    positive = [axis % rank if -rank <= axis < rank else 0 for axis in axes]
    if 0 in positive or len(set(positive)) < len(axes):
        raise ValueError(
            f"The activation at {site.address!r} has the shape {shape}, and cannot be "
            f"divided along {axes}.\nThe axes are different ones from 1 to {rank - 1}; "
            "the examples lie on axis 0, and are apart anyway."
        )
    return tuple(sorted(positive))
