"""Alignment: neighboring images of one unit that resemble one another."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.checks import checked_integer, checked_real, shown
from jaxinterp.featurevis.comparisons.diversity import check_several
from jaxinterp.objectives import positions
from jaxinterp.objectives.objective import Objective, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


@pytree
class Alignment(Objective):
    """How alike neighboring images are, place by place; fields as in `alignment`."""

    site: Sites = static()
    decay: float = static()
    reach: int = static()

    @property
    def compares(self) -> bool:
        """Neighboring images."""
        return True

    def __call__(self, view: View) -> Any:
        """Returns the distance of each image to its neighbors, negated."""
        check_several("alignment", view)
        a = positions.at_position(view.activations[self.site], None)
        count = a.shape[0]
        scores = jnp.zeros(count, a.dtype)
        for step in range(1, min(self.reach, count - 1) + 1):
            distance = positions.mean_of_places(
                jnp.square(a[step:] - a[:-step]), n_last=0
            )
            share = distance / (2 * self.decay**step)  # half for each of the two
            scores = scores.at[step:].add(-share).at[:-step].add(-share)
        return scores


def alignment(site: Sites, *, decay: float = 2.0, reach: int = 4) -> Objective:
    r"""Looks for images that change little from one to the next.

    $$-\frac{1}{2} \sum_{d=1}^{\mathrm{reach}} \frac{\overline{(a_i - a_{i-d})^2} +
      \overline{(a_i - a_{i+d})^2}}{\mathrm{decay}^d}$$

    where a neighbor that does not exist counts for nothing, and a bar is the mean over
    entries. It keeps things in place along a row of images made by `interpolate`.

    Args:
        site: the layer whose activation is read.
        decay: the factor by which a neighbor one step further away counts less.
        reach: the largest number of steps from an image to a neighbor.

    Returns:
        An objective, at most 0, in the units of the activation, squared. For `count=1`
        image it is an error.

    Raises:
        ValueError: if `decay` is not positive, or `reach` no positive integer.

    Example:
        >>> objective = alignment("Conv_0", reach=2)

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
    """
    reach = checked_integer("reach", reach, 1, call="alignment")
    decay = checked_real("decay", decay, call="alignment")
    if decay <= 0:
        raise ValueError(f"alignment: `decay` must be positive, and is {shown(decay)}.")
    return Alignment(site, decay=decay, reach=reach)
