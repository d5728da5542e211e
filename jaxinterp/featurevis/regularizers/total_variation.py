"""A penalty on differences between neighboring pixels."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.featurevis.regularizers.neighbors import (
    check_spatial,
    in_full,
    spatial_axes,
    total,
)
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree


@pytree
class TotalVariation(Objective):
    """Differences between neighbors."""

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if images have neighbors."""
        check_spatial("total_variation", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the sum of absolute differences."""
        images = in_full(view)
        return sum(
            total(jnp.abs(jnp.diff(images, axis=a))) for a in spatial_axes(images)
        )


def total_variation() -> Objective:
    r"""Penalizes differences between neighbors: $\sum_d \sum_i |x_{i + e_d} - x_i|$.

    The directions $d$ are all axes of an image but the last, the channels.

    Returns:
        A penalty in units of brightness times pixels; the article's weight is 0.25.

    Raises:
        ValueError: where it is used, if images have no axis but the channels.

    Example:
        >>> from jaxinterp.featurevis import View
        >>> view = View({}, None, jnp.array([[[0.0], [1.0], [1.0]]]), 0)
        >>> total_variation()(view).tolist()
        [1.0]

    References:
        Mahendran and Vedaldi, 2015, section 2, which squares the differences
        [mahendran2015understanding]; absolute, as here, in lucid.
    """
    return TotalVariation()
