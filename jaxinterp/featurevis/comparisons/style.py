"""Style: the Gram matrix of another image's activations."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.checks import checked_integer
from jaxinterp.objectives import positions
from jaxinterp.objectives.direction import as_target
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


@pytree
class Style(Objective):
    """The distance to a Gram matrix, negated.

    The other fields are the arguments of `style`.

    Attributes:
        target: Gram matrices, `(units, channels, channels)`.
    """

    site: Sites = static()
    power: int = static()
    target: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the site has as many channels."""
        shape, channels = shapes.activations[self.site], self.target.shape[-1]
        if positions.check_channels(shape, repr(self.site)) != channels:
            raise ValueError(
                f"The target of style() has {channels} channels, and {self.site!r} "
                f"has {shape[-1]}: its shape is {shape}.\nCapture it at the same site."
            )
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each image."""
        g = gram(view.activations[self.site])
        difference = g - self.target.astype(g.dtype)[None]
        return -jnp.mean(jnp.abs(difference) ** self.power, axis=(1, 2))


def style(site: Sites, target: Any, *, power: int = 2) -> Objective:
    r"""Looks for the texture of another image, wherever its parts are.

    $$-\frac{1}{C^2} \sum_{cd} |G_{cd}(a) - G_{cd}(t)|^p, \qquad
      G(a) = \tfrac{1}{|X|} \sum_x a_x a_x^\top$$

    At $p = 2$ it is $-4$ times the term of Gatys et al. for one layer; add up several.
    Because $G$ is a mean over positions the two images may differ in size. Where
    transforms show a part of the image at each step, such as one side of an object
    (`texture_views`), a part need not have the style of the whole; with
    `maximize(..., samples=8)` the score is the mean of those of eight parts.

    Args:
        site: the layer whose activation is read.
        target: the activation $t$ there, the units first, as `capture` returns it for a
            batch: `(units, *positions, channels)`. Only its Gram matrix is kept.
        power: $p$, an integer from 1. With absolute differences, 1, as lucid has them,
            a few channels with large activations weigh less.

    Returns:
        An objective, at most 0, in the units of the activation, to the power $2p$.

    Raises:
        TypeError: if the target is not of numbers.
        ValueError: if it has no axis of units, or the power is no integer from 1.

    Example:
        >>> apply_fn = lambda variables, x: jnp.tanh(x)
        >>> painting = jnp.ones((1, 8, 6, 3))
        >>> _, activations = ji.capture(apply_fn, "tanh")(None, painting)
        >>> objective = style("tanh", activations["tanh"])

    References:
        Gatys et al., 2016, eqs. 3 and 4 [gatys2016image].
    """
    power = checked_integer("power", power, 1, call="style")
    return Style(site, power, gram(as_target(target, "style")))


def gram(activation: Any) -> Any:
    r"""Returns $\frac{1}{|X|} \sum_x a_x a_x^\top$ of each image.

    Args:
        activation: the activation of some images, `(images, *positions, channels)`.

    Returns:
        Matrices `(images, channels, channels)`, in float32 at least.
    """
    a = positions.at_position(activation, None)
    a = a.reshape(a.shape[0], -1, a.shape[-1])
    return jnp.einsum("ixc,ixd->icd", a, a) / a.shape[1]
