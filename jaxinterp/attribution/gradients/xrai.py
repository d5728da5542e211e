"""Attribution to regions of an image: XRAI."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.gradients.integrated_gradients import integrated_gradients
from jaxinterp.checks import checked_integer
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.positions import has_channels
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables


@method
def xrai(
    apply_fn: ApplyFn,
    *,
    segments: Any,
    baselines: Sequence[Any] = (0.0, 1.0),
    min_pixels: int = 1,
    steps: int = 50,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to regions, of which the densest is added first.

    $$r_k = \mathop{\mathrm{argmax}}_r \frac{1}{|r \setminus M_k|} \sum_{p \in r
    \setminus M_k} a_p, \quad M_{k+1} = M_k \cup r_k$$

    $a_p$ is the mean of integrated gradients over several baselines, summed over the
    channels of a pixel $p$. From no pixel on ($M_0 = \emptyset$) the region is added
    whose new pixels have the largest mean, and that mean is their value in the map; of
    a single segment map, regions have their own mean. What no region adds has its
    mean, too. So the map adds up to the score, minus its mean over baselines, as
    `steps` grows. Cost: for each baseline, `steps` backward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        segments: the regions: an integer map of the positions of an example, `(height,
            width)`, or of each example, `(batch, height, width)`, such as of
            `jaxinterp.perturbation.grid_segments` or of scikit-image's `felzenszwalb`;
            or a list of such maps, coarse and fine ones, whose regions overlap.
        baselines: the baselines, black and white by default: each a number, an array
            that broadcasts against the inputs, or a function `(inputs, key) ->
            baseline`.
        min_pixels: the smallest number of new pixels for which a region is added; 50 of
            photographs keep slivers of overlapping regions out.
        steps: the number of gradients along each path.
        batch_size: the number of points of the path computed at once; by default as
            many as make 16 MB of inputs of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function. The map has the shape of the inputs: all channels of a
        pixel are equal, and add up to it. It is in the units of `score` per pixel.

    Raises:
        ValueError: if there is no baseline or no segment map, or if `min_pixels`,
            `steps` or `batch_size` is not positive; when called, if the inputs are not
            one array `(batch, *positions, channels)`, or a map does not fit them.
        TypeError: when called, if a map is not of integers.

    References:
        Kapishnikov et al., 2019 [kapishnikov2019xrai], who take the regions from
        segmentations by color, grown by some pixels.

    Example:
        >>> attribute = xrai(
        ...     lambda w, x: (w * x).sum((1, 2))[:, None],
        ...     segments=np.array([0, 0, 1, 1]),
        ...     baselines=[0.0],
        ... )
        >>> weights = jnp.array([1.0, 3.0, 0.0, 8.0]).reshape(1, 4, 1)
        >>> attribute(weights, jnp.ones((1, 4, 1)), 0)[0, :, 0].round().tolist()
        [2.0, 2.0, 4.0, 4.0]
    """
    min_pixels = checked_integer("min_pixels", min_pixels, 1, call="xrai")
    maps = list(segments) if isinstance(segments, list | tuple) else [segments]
    for name, values in (("segments", maps), ("baselines", baselines)):
        if not len(values):
            raise ValueError(f"xrai: `{name}` is empty, and needs one entry at least.")
    options = {"steps": steps, "batch_size": batch_size, "score": score}
    paths = [integrated_gradients(apply_fn, baseline=b, **options) for b in baselines]

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        regions, is_shared = _regions(maps, inputs)
        parts = [path(variables, inputs, target, key) for path in paths]
        mean = functools.reduce(jnp.add, parts) / len(parts)
        pixels = mean.astype(jnp.promote_types(mean.dtype, jnp.float32)).sum(-1)
        rows = pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))
        greedy = functools.partial(_densest_first, min_pixels=min_pixels)
        heat = jax.vmap(greedy, in_axes=(0, None if is_shared else 0))(rows, regions)
        each = heat.reshape(*pixels.shape, 1) / mean.shape[-1]
        return jnp.broadcast_to(each, mean.shape).astype(mean.dtype)

    return attribute


def _regions(maps: list[Any], inputs: Any) -> tuple[np.ndarray, bool]:
    """Which positions are in each region, and whether examples share their regions.

    Args:
        maps: the segment maps.
        inputs: the inputs of the model.

    Returns:
        Booleans `(regions, positions)`, or if they are not shared `(batch, regions,
        positions)`.
    """
    leaves = jax.tree.leaves(inputs)
    shapes = [jnp.shape(leaf) for leaf in leaves]
    if len(shapes) != 1 or not has_channels(shapes[0]):
        raise ValueError(
            f"xrai: the inputs have the shapes {shapes}, and regions are of one array "
            "(batch, *positions, channels).\nOf others take "
            "`jaxinterp.perturbation.segment_sums` of any attribution."
        )
    one_channel = jax.ShapeDtypeStruct((*shapes[0][:-1], 1), jnp.float32)
    masks = []
    for segments in maps:
        filled = fill_segments(segments, one_channel)
        labels = filled.labels.reshape(len(filled.labels), 1, -1)
        masks.append(labels == np.arange(filled.count)[:, None])
    if all(len(mask) == 1 for mask in masks):
        return np.concatenate([mask[0] for mask in masks]), True
    masks = [np.broadcast_to(m, (shapes[0][0], *m.shape[1:])) for m in masks]
    return np.concatenate(masks, axis=1), False


def _densest_first(values: Any, regions: Any, min_pixels: int) -> Any:
    """The mean value that each position had when its region was added.

    Args:
        values: the attribution of each position of an example, `(positions,)`.
        regions: which positions are in each region, `(regions, positions)`.
        min_pixels: the smallest number of new positions of a region.
    """
    regions = jnp.asarray(regions)
    weights = regions.astype(values.dtype)

    def add(_: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        heat, is_free = state
        sizes = (regions & is_free[None]).sum(1)
        sums = jnp.matmul(weights, jnp.where(is_free, values, 0), precision="highest")
        gains = jnp.where(sizes < min_pixels, -jnp.inf, sums / jnp.maximum(sizes, 1))
        best = jnp.argmax(gains)
        is_new = regions[best] & is_free & (sizes[best] >= min_pixels)
        return jnp.where(is_new, gains[best], heat), is_free & ~is_new

    start = jnp.zeros_like(values), jnp.ones(values.shape, bool)
    heat, is_free = jax.lax.fori_loop(0, len(regions), add, start)
    rest = jnp.where(is_free, values, 0).sum() / jnp.maximum(is_free.sum(), 1)
    return jnp.where(is_free, rest, heat)
