"""A penalty on what lies near the edges of an image."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer, checked_real
from jaxinterp.featurevis.regularizers.neighbors import (
    along,
    blurred,
    check_spatial,
    in_full,
    spatial_axes,
    total,
)
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static


@pytree
class BoundaryPenalty(Objective):
    """What happens near the border of an image.

    The other fields are the arguments of `boundary_penalty`.

    Attributes:
        weights: the weight of each place, `(1, *places, 1)`; `None` for the border.
    """

    width: int = static()
    constant: float = static()
    weights: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if something is left within the border."""
        check_spatial("boundary_penalty", shapes)
        if self.weights is not None:
            if self.weights.shape[1:-1] != shapes.image[:-1]:
                raise ValueError(
                    "boundary_penalty(where=...) has a weight for each place of a "
                    f"image, {shapes.image[:-1]}, and was given "
                    f"{self.weights.shape[1:-1]}."
                )
            return self
        if 2 * self.width >= min(shapes.image[:-1]):
            raise ValueError(
                f"boundary_penalty(width={self.width}) leaves nothing of an image "
                f"{shapes.image} within its border. Write a width below "
                f"{min(shapes.image[:-1]) / 2:g}."
            )
        return self

    def __call__(self, view: View) -> Any:
        """Returns the sum over the border."""
        images = in_full(view)
        cost = (blurred(images, 5) - images) ** 2
        cost = cost + 0.8 * (images - self.constant) ** 2
        if self.weights is not None:
            return total(cost * self.weights[None].astype(cost.dtype))
        inside: Any = 1.0
        for axis in spatial_axes(images):
            place = np.arange(images.shape[axis])
            nearest = np.minimum(place, place[::-1])
            inside = inside * along(nearest >= self.width, axis, images.ndim)
        return total(cost * jnp.asarray(1 - inside, cost.dtype))


def boundary_penalty(
    width: int = 20, constant: float = 0.5, *, where: Any = None
) -> Objective:
    r"""Penalizes edges and departures from a constant at the border $B$ of an image.

    $$\sum_{i \in B} (\mathrm{blur}(x) - x)_i^2 + 0.8\,(x_i - c)^2$$

    The blur is that of `blur_penalty` with width 5; the gradient flows through it.

    Args:
        width: the width of the border in pixels.
        constant: the brightness $c$ that costs nothing there.
        where: a weight for each place instead of the border, `(*places)`, such as 1
            outside of a disc and 0 within.

    Returns:
        A penalty in units of squared brightness.

    Raises:
        ValueError: if the constant is no finite number or the width no integer from 1;
            where the penalty is used, if the width leaves nothing of the image, `where`
            has another shape than its places, or images have no axis but the channels.

    Example:
        >>> from jaxinterp.featurevis import View
        >>> view = View({}, None, jnp.full((1, 8, 8, 3), 0.5), 0)
        >>> boundary_penalty(2)(view).tolist()
        [0.0]

    References:
        lucid, `lucid/optvis/objectives.py`, `penalize_boundary_complexity`.
    """
    width = checked_integer("width", width, 1, call="boundary_penalty")
    weights = None if where is None else jnp.asarray(where, float)[None, ..., None]
    constant = checked_real("constant", constant, call="boundary_penalty")
    return BoundaryPenalty(width, constant, weights)
