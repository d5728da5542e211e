"""Feature inversion as an objective: the distance to another image's activation."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.objectives import positions
from jaxinterp.objectives.direction import as_target
from jaxinterp.objectives.objective import Objective, Shapes, View, Where
from jaxinterp.pytree import pytree, static


@pytree
class Match(Objective):
    """The distance to an activation, negated; fields as in `match`."""

    site: Where = static()
    target: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the shapes are the same."""
        check_same_shape(self.target, shapes.activations[self.site], self.site)
        return self

    def __call__(self, view: View) -> Any:
        """Returns the score of each image."""
        a = entries(view.activations[self.site])
        t = self.target.astype(a.dtype).reshape(1, -1)
        size = jnp.sum(jnp.square(t))
        distance = jnp.sum(jnp.square(a - t), axis=1)
        return -distance / jnp.where(size == 0, 1, size)


def match(site: Where, target: Any) -> Objective:
    r"""Looks for an image with the activation of another: feature inversion.

    $$-\|a - t\|^2 / \|t\|^2$$

    Args:
        site: the layer whose activation is read.
        target: the activation $t$ there, the units first, as `capture` returns it for a
            batch: `(units, *positions, channels)`. One that is zero everywhere is not
            divided by.

    Returns:
        An objective, at most 0, a fraction of the target's squared length.

    Raises:
        TypeError: if the target is not of numbers.
        ValueError: if it has no axis of units.

    Example:
        >>> inverted = match("Conv_0", jnp.ones((1, 8, 6, 16)))

    References:
        Mahendran & Vedaldi, 2015, section 2 [mahendran2015understanding].
    """
    return Match(site, as_target(target, "match"))


def entries(activation: Any) -> Any:
    """Returns the activation of each image as one vector, `(images, entries)`."""
    a = positions.at_position(activation, None)
    return a.reshape(a.shape[0], -1)


def check_same_shape(target: Any, shape: tuple[int, ...], site: Where) -> None:
    """Raises unless a target has the shape of the activation it is compared with.

    Args:
        target: activations, `(units, *positions, channels)`.
        shape: the shape of the activation of one image.
        site: the layer whose activation is read, for the error.

    Raises:
        ValueError: giving both shapes.
    """
    if target.shape[1:] != tuple(shape):
        raise ValueError(
            f"The target has shape {target.shape[1:]} for each unit, and {site!r} has "
            f"shape {tuple(shape)}.\nCapture it at the same site, of an image of the "
            "same size, with the units first."
        )
