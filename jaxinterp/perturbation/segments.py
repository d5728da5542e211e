"""Segments: which entries of an input are taken away together, and count as one.

A segment map holds an integer for every entry: entries with the same number belong to
the same segment, be they the pixels of a superpixel, the channels of a pixel or the
columns of a table. What belongs to no segment has a negative number. Values of segments
are spread over their entries in equal shares, so that they add up.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer, is_traced, shown
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Inputs


@pytree
class Segments:
    """Segment maps in the structure of some inputs.

    Attributes:
        labels: for each array of the inputs the number of every entry's segment,
            `(1 or batch, *shape of an example)`; negative where there is none.
        sizes: how many entries each segment has, `(1 or batch, count)`; 0 where an
            example lacks a segment that another one has.
        count: the number of segments.
    """

    labels: Any
    sizes: Any
    count: int = static()


def grid_segments(shape: Sequence[int], size: int) -> np.ndarray:
    """Returns square patches as segments, with all channels of a pixel in one segment.

    Args:
        shape: the numbers of positions of an image along each axis, `(height, width)`,
            or of a sequence, `(length,)`.
        size: the length of a patch along each axis; with 1 each position is a segment.
            The last patches are smaller where it does not divide the shape.

    Returns:
        A segment map of the positions, with patches numbered row by row.

    Raises:
        ValueError: if a length or the size is no positive integer.

    Example:
        >>> grid_segments((2, 4), 2).tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    call = "grid_segments"
    size = checked_integer("size", size, 1, call=call)
    lengths = [checked_integer("shape", n, 1, call=call) for n in shape]
    labels = np.zeros(lengths, np.int32)
    for axis, length in enumerate(lengths):
        patches = np.arange(length) // size
        labels = labels * -(-length // size) + patches.reshape(
            -1, *[1] * (len(lengths) - axis - 1)
        )
    return labels


def fill_segments(segments: Any, inputs: Inputs) -> Segments:
    """Returns segment maps in the structure and shapes of the inputs.

    Args:
        segments: a map of the positions of an example, `(height, width)`, or of those
            of each example, `(batch, height, width)`; or a map that broadcasts against
            the inputs, such as `(height, width, 1)`; or a pytree of maps in the
            structure of the inputs. Numbers start at 0, and each one up to the largest
            is used; negative ones mean no segment. With `None` each entry of an example
            is a segment.
        inputs: a batch, an array or a pytree of arrays.

    Raises:
        TypeError: if a map is not of integers, or is traced by `jax.jit`.
        ValueError: if a map does not fit the inputs, if its numbers have gaps, or if it
            has no segment; without a map, if an example has no entry.

    Example:
        >>> filled = fill_segments(np.array([0, 0, 1]), jnp.ones((2, 3)))
        >>> filled.labels.tolist(), filled.sizes.tolist(), filled.count
        ([[0, 0, 1]], [[2, 1]], 2)
    """
    paths = jax.tree.leaves_with_path(inputs)
    structure = jax.tree.structure(inputs)
    if segments is None:
        shapes = [x.shape for _, x in paths]
        if not any(np.prod(shape[1:]) for shape in shapes):
            raise ValueError(
                f"The inputs have shape {', '.join(map(str, shapes))}: an example has "
                "no entry.\n"
                "Give a batch whose examples have at least one feature."
            )
        labels = _each_entry([shape[1:] for shape in shapes])
    else:
        maps = _maps(segments, structure)
        labels = [
            _fill(m, x, f"inputs{jax.tree_util.keystr(path)}")
            for m, (path, x) in zip(maps, paths, strict=True)
        ]
    count = max(int(a.max(initial=-1)) for a in labels) + 1
    sizes = sum(_sizes(a, count) for a in labels)
    _check_numbers(count, sizes)
    return Segments(structure.unflatten(labels), np.asarray(sizes), count)


def segment_sums(values: Inputs, segments: Any) -> jax.Array:
    """Returns the sum of an array over each segment, such as of an attribution.

    Args:
        values: an array or a pytree of arrays, with the examples on the first axis.
        segments: which entries are one segment: an integer map of the positions of an
            example, `(height, width)`, or one that broadcasts against the values, as
            methods take it.

    Returns:
        An array `(batch, segments)`.

    Raises:
        TypeError: if the segment map is not of integers.
        ValueError: if it does not fit the values.

    Example:
        >>> segment_sums(jnp.array([[1.0, 2.0, 4.0]]), np.array([0, 1, 0])).tolist()
        [[5.0, 2.0]]
    """
    if not isinstance(segments, Segments):
        segments = fill_segments(segments, values)

    def of_example(value: Any, label: Any) -> Any:
        label = jnp.where(label < 0, segments.count, label)
        zeros = jnp.zeros(segments.count, value.dtype)
        return zeros.at[label].add(value, mode="drop")

    def of_leaf(value: Any, labels: Any) -> Any:
        value = jnp.asarray(value)
        rows = value.reshape(value.shape[0], math.prod(value.shape[1:]))
        labels = jnp.broadcast_to(labels.reshape(len(labels), -1), rows.shape)
        return jax.vmap(of_example)(rows, labels)

    pairs = zip(jax.tree.leaves(values), jax.tree.leaves(segments.labels), strict=True)
    return functools.reduce(jnp.add, (of_leaf(*pair) for pair in pairs))


def spread(values: Any, segments: Segments) -> Any:
    """Returns arrays in which each entry has an equal share of its segment's value.

    So the sum over the entries of a segment is the value, and what belongs to no
    segment gets 0.

    Args:
        values: the value of each segment, `(batch, segments)`.
        segments: the segments, as `fill_segments` returns them.

    Returns:
        A pytree in the structure of the labels, in the dtype of the values.

    Example:
        >>> segments = fill_segments(np.array([0, -1, 0]), jnp.ones((1, 3)))
        >>> spread(jnp.array([[4.0]]), segments).tolist()
        [[2.0, 0.0, 2.0]]
    """
    shares = values / jnp.maximum(jnp.asarray(segments.sizes, values.dtype), 1)

    def of_leaf(labels: Any) -> Any:
        rows = jnp.broadcast_to(
            labels.reshape(len(labels), -1), (len(values), labels[0].size)
        )
        each = jnp.take_along_axis(shares, jnp.maximum(rows, 0), axis=1)
        each = jnp.where(rows < 0, 0, each)
        return each.reshape(len(values), *labels.shape[1:])

    return jax.tree.map(of_leaf, segments.labels)


def _each_entry(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Labels that number all entries of an example."""
    ends = itertools.accumulate(map(math.prod, shapes), initial=0)
    return [
        np.arange(start, start + math.prod(shape), dtype=np.int32).reshape(1, *shape)
        for start, shape in zip(ends, shapes, strict=False)
    ]


def _maps(segments: Any, structure: Any) -> list[Any]:
    """One map for each array of the inputs."""
    if is_traced(segments):
        raise TypeError(
            "A segment map has to be known when a function is compiled, and "
            "`jax.jit` is tracing it.\nGive the method the map itself, "
            "`segments=map`, and jit the function that it returns."
        )
    if jax.tree.structure(segments) == jax.tree.structure(0):
        return [segments] * structure.num_leaves
    if jax.tree.structure(segments) != structure:
        raise ValueError(
            f"A segment map has the structure {jax.tree.structure(segments)}, and the "
            f"inputs {structure}.\nGive an array of integers, or a pytree with the "
            "structure of the inputs."
        )
    return jax.tree.leaves(segments)


def _fill(segments: Any, x: Any, name: str) -> np.ndarray:
    """Labels of one array of the inputs."""
    labels = np.asarray(segments)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(
            f"A segment map is an array of integers, and for `{name}` {shown(labels)} "
            f"of {labels.dtype} was given.\nWrite `segments=map.astype(int)`."
        )
    is_of_positions = x.ndim > 2 and labels.shape in (x.shape[1:-1], x.shape[:-1])
    if is_of_positions:
        labels = labels[..., None]
    if labels.ndim < x.ndim:
        labels = labels.reshape((1,) * (x.ndim - labels.ndim) + labels.shape)
    try:
        full = np.broadcast_to(labels, (*labels.shape[:1], *x.shape[1:]))
    except ValueError:
        full = None
    if full is None or len(full) not in (1, len(x)):
        raise ValueError(
            f"A segment map of shape {np.shape(segments)} does not fit `{name}` of "
            f"shape {x.shape}.\nGive one integer for each position, shape "
            f"{x.shape[1:-1] or x.shape[1:]}, or for each entry, shape {x.shape[1:]}."
        )
    return full.astype(np.int32)


def _sizes(labels: np.ndarray, count: int) -> np.ndarray:
    """How many entries each segment has in each example, `(1 or batch, count)`."""
    rows = labels.reshape(len(labels), -1)
    return np.stack([np.bincount(row[row >= 0], minlength=count) for row in rows])


def _check_numbers(count: int, sizes: Any) -> None:
    """Raises if there is no segment, or a number that no entry has."""
    if count == 0:
        raise ValueError(
            "`segments` has no segment: all its numbers are negative. Number segments "
            "from 0."
        )
    gaps = np.flatnonzero(~np.asarray(sizes).any(axis=0))
    if gaps.size:
        raise ValueError(
            f"`segments` has numbers up to {count - 1}, and none is {gaps[0]}.\nNumber "
            "segments from 0 without gaps: `np.unique(segments, "
            "return_inverse=True)[1].reshape(segments.shape)`."
        )
