"""Style: the Gram matrix of another image's activations.

Notation: $a$ is the activation of a site for the image that is made and $t$ that for
the image it is compared with, which `capture` returns.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import checked_integer
from jaxinterp.objectives import positions
from jaxinterp.objectives.direction import as_target
from jaxinterp.objectives.objective import Objective, Shapes, View, Where


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Style(Objective):
    """The distance to a Gram matrix, negated.

    Attributes:
        site: whose activation is read.
        power: the exponent of the absolute differences.
        target: Gram matrices, `(units, channels, channels)`.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    power: int = dataclasses.field(metadata={"static": True})
    target: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

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
        """Returns the score of each picture."""
        g = gram(view.activations[self.site])
        difference = g - self.target.astype(g.dtype)[None]
        return -jnp.mean(jnp.abs(difference) ** self.power, axis=(1, 2))


def style(site: Where, target: Any, *, power: int = 2) -> Objective:
    r"""Looks for the texture of another picture, wherever its parts are.

    $$-\frac{1}{C^2} \sum_{cd} |G_{cd}(a) - G_{cd}(t)|^p, \qquad
      G(a) = \tfrac{1}{|X|} \sum_x a_x a_x^\top$$

    At $p = 2$ it is $-4$ times the term of Gatys et al. for one layer; add up several.
    Because $G$ is a mean over positions the two pictures may differ in size. Where
    transforms show a part of the picture at each step, such as one side of an object
    (`texture_views`), a part need not have the style of the whole; with
    `maximize(..., samples=8)` the score is the mean of those of eight parts.

    Args:
        site: whose activation is read.
        target: the activation $t$ there, the units first, as `capture` returns it for a
            batch: `(units, *positions, channels)`. Only its Gram matrix is kept.
        power: $p$, an integer from 1. With absolute differences, 1, as lucid has them,
            a few channels with large activations have less of a say.

    Returns:
        An objective, at most 0, in the units of the activation, to the power $2p$.

    Raises:
        TypeError: if the target is not of numbers.
        ValueError: if it has no axis of units, or the power is no integer from 1.

    Example:
        >>> apply_fn = lambda variables, x: jnp.tanh(x)
        >>> painting = jnp.ones((1, 8, 6, 3))
        >>> _, found = ji.capture(apply_fn, "tanh")(None, painting)
        >>> objective = style("tanh", found["tanh"])

    References:
        Gatys et al., 2016, eqs. 3 and 4 [gatys2016image].
    """
    power = checked_integer("power", power, 1, call="style")
    return Style(site, power, gram(as_target(target, "style")))


def gram(activation: Any) -> Any:
    r"""Returns $\frac{1}{|X|} \sum_x a_x a_x^\top$ of each picture.

    Args:
        activation: `(pictures, *positions, channels)`.

    Returns:
        Matrices `(pictures, channels, channels)`, in float32 at least.
    """
    a = positions.at_position(activation, None)
    a = a.reshape(a.shape[0], -1, a.shape[-1])
    return jnp.einsum("ixc,ixd->icd", a, a) / a.shape[1]
