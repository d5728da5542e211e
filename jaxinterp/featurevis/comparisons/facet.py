"""One facet of what a unit responds to, chosen by a linear probe.

Notation: $a$ is the activation of a site for the image that is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.objectives import positions
from jaxinterp.objectives.direction import as_floats
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


@pytree
class Facet(Objective):
    """What a probe says of what an activation contributes to a score.

    The fields are the arguments of `facet`.
    """

    site: Sites = static()
    tail: Callable[[Any], Any] = static()
    probe: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the probe has a weight for each channel or entry."""
        shape, probe_shape = tuple(shapes.activations[self.site]), self.probe.shape[1:]
        if probe_shape not in (shape, shape[-1:]):
            raise ValueError(
                f"The probe has shape {probe_shape} for each unit, and {self.site!r} "
                f"has shape {shape}.\nGive one weight for each channel, {shape[-1:]}, "
                "or one for each entry."
            )
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each image."""
        a = view.activations[self.site]
        score, pull = jax.vjp(self.tail, a)
        if score.shape != a.shape[:1]:
            raise ValueError(
                "The tail of a facet gives one number for each image, "
                f"{a.shape[:1]}, and gave {score.shape}.\n"
                "Write for example `lambda a: decode(variables, a, inputs)[:, 7]`."
            )
        (slope,) = pull(jnp.ones_like(score))
        slope = positions.at_position(jax.lax.stop_gradient(slope), None)
        contribution = positions.at_position(a, None) * slope
        weights = self.probe.astype(contribution.dtype)
        weights = jnp.broadcast_to(weights, contribution.shape)
        axes = tuple(range(1, a.ndim))
        facet = jnp.sum(weights * contribution, axis=axes)
        return score.astype(facet.dtype) + facet


def facet(site: Sites, tail: Callable[[Any], Any], probe: Any) -> Objective:
    r"""Looks for one facet of what a unit responds to, which a linear probe tells.

    $$f(a) + w \cdot (a \odot \nabla f(a))$$

    Of faces, text and drawings, to all of which a unit responds, it finds the one that
    the probe $w$ was trained for, on activations of an earlier layer: what these
    contribute to the unit is weighed by $w$. The derivative is held constant, so that
    nothing is gained by changing how the later layers go on.

    Args:
        site: the earlier layer, whose activation $a$ is read.
        tail: the model from there on, $f$: from the activations of some images,
            `(images, ...)`, to a score of each, `(images,)`. `jaxinterp.split`
            gives it. It runs once more, forward and backward.
        probe: weights $w$, `(channels,)`, or `(units, channels)`, or one for each
            entry, `(units, *positions, channels)`.

    Returns:
        An objective, in the units of `tail`.

    Raises:
        TypeError: if `tail` is no function, or the probe not of numbers.

    Example:
        >>> weights = jnp.array([[1.0, -1.0], [2.0, 0.5]])
        >>> head = lambda a: (a.mean((1, 2)) @ weights)[:, 0]
        >>> objective = facet("Conv_0", head, jnp.array([0.0, 1.0]))

    References:
        Goh et al., 2021, "Faceted Feature Visualization" [goh2021multimodal].
    """
    if not callable(tail):
        raise TypeError(
            "`tail` is the model from the site on, a function from activations to a "
            f"score of each image, and is {tail!r}.\n"
            "Write `encode, decode = jaxinterp.split(apply_fn, site)` and\n"
            "`facet(site, lambda a: decode(variables, a, inputs)[:, 7], probe)`."
        )
    return Facet(site, tail, jnp.atleast_2d(as_floats(probe, "probe")))
