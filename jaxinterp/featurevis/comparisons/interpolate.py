"""Interpolation: one objective for the first image of a unit, another for the last."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.objective import (
    Objective,
    Shapes,
    View,
)
from jaxinterp.pytree import pytree
from jaxinterp.types import Sites


@pytree
class Interpolation(Objective):
    """One objective for the first image, another for the last.

    The fields are the arguments of `interpolate`.
    """

    start: Any
    end: Any

    @property
    def sites(self) -> tuple[Sites, ...]:
        """The places that either reads."""
        return tuple(dict.fromkeys((*self.start.sites, *self.end.sites)))

    @property
    def compares(self) -> bool:
        """True: the weights of an image depend on its number."""
        return True

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with both objectives bound."""
        return Interpolation(self.start.bound(shapes), self.end.bound(shapes))

    def __call__(self, view: View) -> Any:
        """Returns the weighted mean of both for each image."""
        start, end = self.start(view), self.end(view)
        count = view.images.shape[0]
        weight = jnp.arange(count) / max(count - 1, 1)
        weight = weight.astype(jnp.result_type(start, end))
        return (1 - weight) * start + weight * end


def interpolate(start: Objective | str, end: Objective | str) -> Objective:
    r"""Looks for one thing in the first image, another in the last, and blends.

    $$\left(1 - \tfrac{i}{n - 1}\right) s_i + \tfrac{i}{n - 1}\, e_i$$

    Of a single image only `start` counts.

    Args:
        start: objective $s$ of the first image.
        end: objective $e$ of the last.

    Returns:
        An objective, in the units of the two.

    Raises:
        TypeError: if one is no objective.
        ValueError: if a string means none.

    Example:
        >>> from jaxinterp.featurevis import alignment
        >>> blend = interpolate("Conv_0:3", "Conv_1:5") + alignment("Conv_0")
        >>> blend.sites
        ('Conv_0', 'Conv_1')

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
    """
    return Interpolation(as_objective(start), as_objective(end))
