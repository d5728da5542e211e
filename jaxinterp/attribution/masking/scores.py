"""Scores of a batch of which something is taken away, once for every mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.place import Place
from jaxinterp.loop.sums import evaluated
from jaxinterp.objectives.score import Score
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
