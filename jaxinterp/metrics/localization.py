r"""Whether an explanation lies where the truth is known to lie.

$A$ is an attribution with one number for each place of an example, $S$ the places of a
mask, and $A^+ = \max(A, 0)$. All functions take `(attributions, mask)` of one shape;
of images with channels say what a pixel's number is: `attributions.sum(-1)`, or the
magnitude of that. Being at the right place is not the same as being faithful: a network
may look elsewhere, and then a good explanation does too.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.checks import checked_integer
from jaxinterp.metrics.contract import as_rows
from jaxinterp.metrics.rank_correlation import ranks


class Localization(NamedTuple):
    """How well attributions find a mask, each `(batch,)`.

    Attributes:
        pointing: whether the largest attribution lies inside, see `pointing_game`.
        mass: the share of positive attribution inside, see `relevance_mass`.
        rank: the share of the highest places inside, see `relevance_rank`.
        auc: the area under the ROC curve, see `localization_auc`.
    """

    pointing: Any
    mass: Any
    rank: Any
    auc: Any


def localization(attributions: Any, mask: Any) -> Localization:
    """Returns how well attributions find a mask, by four measures.

    Chance is the share of places that the mask has for `mass`, `rank` and `pointing`,
    and 0.5 for `auc`.

    Args:
        attributions: one number for each place, `(batch, ...)`.
        mask: the places where the truth lies, booleans of the same shape.

    Returns:
        Four numbers in [0, 1] for each example, 1 the best, float32 at least.

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if it has another shape than the attributions.

    Example:
        >>> mask = jnp.array([[True, True, False, False]])
        >>> found = localization(jnp.array([[3.0, 0.0, 1.0, -1.0]]), mask)
        >>> [float(value[0]) for value in found]
        [1.0, 0.75, 0.5, 0.75]
    """
    return Localization(
        pointing_game(attributions, mask),
        relevance_mass(attributions, mask),
        relevance_rank(attributions, mask),
        localization_auc(attributions, mask),
    )


def pointing_game(attributions: Any, mask: Any, *, tolerance: int = 0) -> Any:
    """Returns whether the largest attribution lies inside of a mask.

    Args:
        attributions: one number for each place, `(batch, ...)`.
        mask: the places where the truth lies, booleans of the same shape.
        tolerance: how many pixels beside the mask still count, of images `(batch,
            height, width)`; the authors allow 15 of 224.

    Returns:
        1 or 0, `(batch,)`; of several equal maxima the share of them inside. NaN if the
        mask is empty, or the attribution constant or with a NaN.

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if it has another shape than the attributions, or a tolerance is
            asked for places that are no pixels.

    References:
        Zhang et al., 2018 [zhang2018topdown].

    Example:
        >>> mask = jnp.array([[True, False, False]])
        >>> pointing_game(jnp.array([[2.0, 2.0, 1.0]]), mask).tolist()
        [0.5]
    """
    a, inside = _rows(attributions, mask)
    tolerance = checked_integer("tolerance", tolerance, 0, call="pointing_game")
    is_hit = inside
    if tolerance:
        is_hit = as_rows(_widened(jnp.asarray(mask), tolerance)) > 0
    is_largest = a == a.max(axis=1, keepdims=True, initial=-jnp.inf)
    share = (is_largest & is_hit).sum(axis=1) / is_largest.sum(axis=1)
    return _defined(share.astype(a.dtype), a, inside.any(axis=1) & ~_is_constant(a))


def relevance_mass(attributions: Any, mask: Any) -> Any:
    r"""Returns the share of positive attribution inside of a mask.

    $$\sum_{i \in S} A_i^+ \,/\, \sum_i A_i^+$$

    Args:
        attributions: one number for each place, `(batch, ...)`.
        mask: the places where the truth lies, booleans of the same shape.

    Returns:
        A share, `(batch,)`; NaN if no attribution is positive, one is NaN, or the mask
        is empty.

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if it has another shape than the attributions.

    References:
        Arras et al., 2022, "relevance mass accuracy" [arras2022clevr].

    Example:
        >>> mask = jnp.array([[True, False, False]])
        >>> relevance_mass(jnp.array([[3.0, 1.0, -5.0]]), mask).tolist()
        [0.75]
    """
    a, inside = _rows(attributions, mask)
    positive = jnp.maximum(a, 0)
    total = positive.sum(axis=1)
    share = (positive * inside).sum(axis=1) / jnp.where(total == 0, 1, total)
    return _defined(share, a, inside.any(axis=1) & (total > 0))


def relevance_rank(attributions: Any, mask: Any) -> Any:
    r"""Returns the share of the highest places that lie inside of a mask.

    $$|\operatorname{top}_K(A) \cap S| \,/\, K, \quad K = |S|$$

    Of equal attributions the first place counts as the higher one. A mask of all places
    gives 1, whatever the attribution.

    Args:
        attributions: one number for each place, `(batch, ...)`.
        mask: the places where the truth lies, booleans of the same shape.

    Returns:
        A share, `(batch,)`; NaN if the mask is empty or an attribution is NaN.

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if it has another shape than the attributions.

    References:
        Arras et al., 2022, "relevance rank accuracy" [arras2022clevr].

    Example:
        >>> mask = jnp.array([[True, True, False]])
        >>> relevance_rank(jnp.array([[3.0, 1.0, 2.0]]), mask).tolist()
        [0.5]
    """
    a, inside = _rows(attributions, mask)
    highest_first = jnp.argsort(-a, axis=1, stable=True)
    is_inside = jnp.take_along_axis(inside, highest_first, axis=1)
    count = inside.sum(axis=1)
    is_top = jnp.arange(a.shape[1])[None] < count[:, None]
    share = (is_inside & is_top).sum(axis=1) / jnp.maximum(count, 1)
    return _defined(share.astype(a.dtype), a, count > 0)


def localization_auc(attributions: Any, mask: Any) -> Any:
    r"""Returns how often a place inside of a mask has more than one outside.

    The area under the ROC curve of the attribution as a classifier of places, $(R -
    n(n+1)/2) / (n m)$ with the sum $R$ of the ranks of the $n$ places inside, and $m$
    outside; a tie counts half.

    Args:
        attributions: one number for each place, `(batch, ...)`.
        mask: the places where the truth lies, booleans of the same shape.

    Returns:
        A share, `(batch,)`, 0.5 for chance; NaN if the mask is empty or full, or the
        attribution constant or with a NaN.

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if it has another shape than the attributions.

    References:
        Mann and Whitney, 1947 [mann1947test].

    Example:
        >>> mask = jnp.array([[True, True, False, False]])
        >>> localization_auc(jnp.array([[3.0, 1.0, 2.0, 0.0]]), mask).tolist()
        [0.75]
    """
    a, inside = _rows(attributions, mask)
    # Ranks around their mean, so that their sum keeps its digits in single precision.
    centered = ranks(a) - (a.shape[1] + 1) / 2
    n_inside = inside.sum(axis=1).astype(a.dtype)
    n_outside = a.shape[1] - n_inside
    pairs = jnp.maximum(n_inside * n_outside, 1)
    value = 0.5 + (centered * inside).sum(axis=1) / pairs
    is_both = (n_inside > 0) & (n_outside > 0)
    return _defined(value, a, is_both & ~_is_constant(a))


def _is_constant(rows: Any) -> Any:
    lowest, highest = (
        rows.min(axis=1, initial=jnp.inf),
        rows.max(axis=1, initial=-jnp.inf),
    )
    return lowest == highest


def _rows(attributions: Any, mask: Any) -> tuple[Any, Any]:
    """Attributions and mask as rows, checked."""
    attributions, mask = jnp.asarray(attributions), jnp.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(
            f"A mask is an array of booleans, and {mask.dtype}{list(mask.shape)} was "
            "given.\nWrite `mask > 0`."
        )
    if mask.shape != attributions.shape or mask.ndim < 2:
        raise ValueError(
            f"The mask has shape {mask.shape}, and the attributions "
            f"{attributions.shape}.\nGive one number and one boolean for each place of "
            "each example; of images with channels `attributions.sum(axis=-1)`, or the "
            "magnitude of that."
        )
    return as_rows(attributions), mask.reshape(len(mask), math.prod(mask.shape[1:]))


def _defined(values: Any, rows: Any, is_defined: Any) -> Any:
    """Values where they are defined, and no attribution is NaN."""
    return jnp.where(is_defined & ~jnp.isnan(rows).any(axis=1), values, jnp.nan)


def _widened(mask: Any, tolerance: int) -> Any:
    """A mask of images, and all pixels that are at most so far away from it."""
    if mask.ndim != 3:
        raise ValueError(
            "A tolerance is in pixels of images `(batch, height, width)`, and the mask "
            f"has shape {mask.shape}.\nWrite `tolerance=0`."
        )
    steps = np.arange(-tolerance, tolerance + 1)
    disk = (steps[:, None] ** 2 + steps[None] ** 2 <= tolerance**2)[..., None, None]
    return lax.conv_general_dilated(
        mask[..., None].astype(jnp.float32),
        jnp.asarray(disk, jnp.float32),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
