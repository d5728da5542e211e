"""Interpolation: one objective for the first image of a unit, another for the last."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree
from jaxinterp.types import Sites


@pytree
class Interpolation(Objective):
    """A mean of two objectives whose weights depend on the number of the image.

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
    r"""Looks for one unit in the first image, for another in the last, and for blends.

    $$\left(1 - \tfrac{i}{n - 1}\right) s_i + \tfrac{i}{n - 1}\, e_i$$

    is the score of image $i$, from 0, of the $n$ images that are made, `count=` of
    `maximize`. If a single one is made, only `start` counts.

    Args:
        start: the objective that the first image is made for, or its name, such as
            `"Conv_0:3"`; $s_i$ is its score of image $i$.
        end: the objective that the last image is made for, or its name; $e_i$ is its
            score of image $i$.

    Returns:
        An objective, in the units of `start` and `end`.

    Raises:
        TypeError: if an argument is neither an objective nor a string.
        ValueError: if a string is not the name of an objective.

    Example:
        >>> from jaxinterp.featurevis import alignment
        >>> blend = interpolate("Conv_0:3", "Conv_1:5") + alignment("Conv_0")
        >>> blend.sites
        ('Conv_0', 'Conv_1')

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
    """
    return Interpolation(as_objective(start), as_objective(end))
