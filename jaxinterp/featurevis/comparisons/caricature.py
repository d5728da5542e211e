"""Caricature as an objective: more of what a layer sees in another image."""

from __future__ import annotations

from typing import Any

from jaxinterp.checks import checked_real
from jaxinterp.featurevis.comparisons.match import check_same_shape, entries
from jaxinterp.objectives.direction import as_target, dot_cosine
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


@pytree
class Caricature(Objective):
    """The agreement with an activation as a whole; fields as in `caricature`."""

    site: Sites = static()
    cosine_power: float = static()
    target: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the shapes are the same."""
        check_same_shape(self.target, shapes.activations[self.site], self.site)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each image."""
        a = entries(view.activations[self.site])
        return dot_cosine(a, self.target.reshape(-1), self.cosine_power)


def caricature(site: Sites, target: Any, *, cosine_power: float = 1.0) -> Objective:
    r"""Looks for more of what a layer sees in another image.

    $$(a \cdot t)\,\max(0.1, \cos(a, t))^p$$

    Unlike `match` it exaggerates: a longer $a$ in the same direction is better.

    Args:
        site: the layer whose activation is read.
        target: the activation $t$ there, the units first, as `capture` returns it for a
            batch: `(units, *positions, channels)`.
        cosine_power: the exponent $p$; 0 is the dot product.

    Returns:
        An objective, in the units of the activation, squared.

    Raises:
        TypeError: if the target is not of numbers.
        ValueError: if it has no axis of units, or the power is negative.

    Example:
        >>> exaggerated = caricature("Conv_0", jnp.ones((1, 8, 6, 16)))

    References:
        Olah et al., 2018, "What Does the Network See?" [olah2018building].
    """
    power = checked_real("cosine_power", cosine_power, 0, call="caricature")
    return Caricature(site, power, as_target(target, "caricature"))
