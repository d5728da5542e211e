"""Scores of a batch of which something is taken away, once for every mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.place import Place
from jaxinterp.loop.sums import evaluated
from jaxinterp.objectives.score import Score
from jaxinterp.perturbation.coalitions import MOST_FEATURES
from jaxinterp.perturbation.masks import kept_entries, masked
from jaxinterp.perturbation.segments import Segments, spread
from jaxinterp.types import ApplyFn

# A function of a layout, a mask and the explained array: what of each array is kept.
Keep = Callable[[Any, Any, Any], Any]


def _of_segments(segments: Segments, mask: Any, array: Any) -> Any:
    return kept_entries(mask, segments)


def masked_scores(
    model: ApplyFn,
    score: Score,
    *,
    name: str,
    batch_size: int | None,
    keep: Keep = _of_segments,
) -> Callable[[Place, Any, Any, Any], Any]:
    """Returns a function that scores a batch under many masks.

    Args:
        model: the model, as `explained` returns it.
        score: which number per example is explained.
        name: the name of the method, for the progress bar and errors.
        batch_size: the number of masks evaluated at once; by default as many as make 16
            MB of masked arrays of the whole batch together, at least one.
        keep: a function of a layout, a mask and the explained array, which returns what
            of each array is kept; by default the layout are segments, and a mask has an
            entry for each of them.

    Returns:
        A function `scores(place, baseline, layout, masks)`, whose value has the shape
        `(masks, batch)`.

    Raises:
        ValueError: if `batch_size` is not a positive integer.
    """

    def step(context: tuple[Place, Any, Any], mask: Any) -> Any:
        place, baseline, layout = context
        array = masked(place.array, keep(layout, mask, place.array), baseline)
        return place.scores(model, score, array)

    values_at = evaluated(step, batch_size=batch_size, name=name)

    def scores(place: Place, baseline: Any, layout: Any, masks: Any) -> Any:
        return values_at((place, baseline, layout), masks, place.array)

    return scores


def check_number(name: str, features: int, otherwise: str) -> None:
    """Raises if the coalitions of so many features are too many.

    Args:
        name: the name of the method that evaluates all of them.
        features: the number of features.
        otherwise: how to write a call that does not, for the error.

    Raises:
        ValueError: if there are more than 16 features.
    """
    if features > MOST_FEATURES:
        raise ValueError(
            f"{name}: {features} features have 2^{features} coalitions, and all are "
            f"evaluated for {MOST_FEATURES} features at most.\nWrite {otherwise}, or "
            "make the features fewer, such as by "
            "`segments=jaxinterp.perturbation.grid_segments((height, width), 8)`."
        )


def spread_over(array: Any, values: Any, segments: Segments) -> Any:
    """Returns attributions like an array, of the value of each segment.

    Args:
        array: the explained array, or pytree of arrays.
        values: the value of each segment, `(segments, batch)`.
        segments: the segments of the array.
    """
    return like(array, spread(values.T, segments))


def like(array: Any, attributions: Any) -> Any:
    """Returns attributions in the dtypes of real arrays; those of integers keep theirs.

    Args:
        array: the explained array, or pytree of arrays.
        attributions: what is attributed to it, in its structure and shapes.
    """

    def of_leaf(x: Any, a: Any) -> Any:
        return a.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else a

    return jax.tree.map(of_leaf, array, attributions)


def single_array(name: str, array: Any) -> Any:
    """Returns the one array whose positions are hidden.

    Args:
        name: the name of the method, for the error.
        array: what is explained.

    Raises:
        ValueError: if there are several arrays, or it has no positions.
    """
    leaves = jax.tree.leaves(array)
    if len(leaves) > 1 or leaves[0].ndim < 2:
        shapes = [leaf.shape for leaf in leaves]
        raise ValueError(
            f"{name} hides positions of one array, (batch, *positions, channels) or "
            f"(batch, positions), and what is explained has the shapes {shapes}.\n"
            "Bind the others to the model, or take `shapley` or `lime`, with segments."
        )
    return leaves[0]


def shared_by_channels(array: Any, values: Any) -> Any:
    """Returns a map of positions like an array, of whose channels each has a share.

    Args:
        array: the explained array, a pytree with one leaf.
        values: a number for each position, `(batch, *positions)`.
    """
    (x,) = jax.tree.leaves(array)
    if values.ndim < x.ndim:
        values = jnp.broadcast_to(values[..., None] / x.shape[-1], x.shape)
    return like(array, jax.tree.map(lambda _: values, array))
