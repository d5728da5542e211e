"""Diversity: images of one unit that differ from one another.

Notation: $a_i$ is the activation of image $i$ of the $n$ images that are made for one
unit. An image's score depends on the others, but only on those of its own unit.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.featurevis.comparisons.style import gram
from jaxinterp.objectives import positions
from jaxinterp.objectives.objective import Objective, Shapes, View, Where
from jaxinterp.pytree import pytree, static

_TINY = 1e-10  # below it a squared norm counts as zero


@pytree
class Diversity(Objective):
    """How little the textures of the images have in common.

    The fields are the arguments of `diversity`.
    """

    site: Where = static()

    @property
    def compares(self) -> bool:
        """Textures of several images."""
        return True

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the site has channels."""
        positions.check_channels(shapes.activations[self.site], repr(self.site))
        return self

    def __call__(self, view: View) -> Any:
        """Returns what each image has in common with the others, negated."""
        check_several("diversity", view)
        g = gram(view.activations[self.site])
        squares = jnp.sum(jnp.square(g), axis=(1, 2), keepdims=True)
        g = g * jax.lax.rsqrt(jnp.maximum(squares, _TINY))
        others = jnp.sum(g, axis=0, keepdims=True) - g  # so that no pair is visited
        return -jnp.sum(g * others, axis=(1, 2))


def diversity(site: Where) -> Objective:
    r"""Looks for images of one unit that differ from one another in texture.

    $$-\sum_{j \ne i} \langle \hat G_i, \hat G_j \rangle, \qquad
      \hat G_i = G_i / \|G_i\|, \quad G_i = \tfrac{1}{|X|} \sum_x a_{ix} a_{ix}^\top$$

    Add it to another objective, `channel("mixed4a", 97) + 100 * diversity("mixed4a")`.
    The sum over $j$ is taken inside: time and memory grow with $n$, not with $n^2$. The
    mean of the scores over images is the negated term of Olah et al., so that their
    weights serve.

    Args:
        site: the layer whose activation is read, often that of the unit.

    Returns:
        An objective, without unit, between $-(n - 1)$, all alike, and 0 where
        activations are not negative. For `count=1` image it is an error.

    Example:
        >>> from jaxinterp.featurevis import channel
        >>> varied = channel("Conv_0", 3) + 100 * diversity("Conv_0")

    References:
        Olah et al., 2017, "Diversity" [olah2017feature].
    """
    return Diversity(site)


def check_several(name: str, view: View) -> None:
    """Raises if a unit has one image, so that there is nothing to compare it with.

    Args:
        name: the objective that compares.
        view: the images of one unit.

    Raises:
        ValueError: saying how to ask for several.
    """
    if view.images.shape[0] == 1:
        raise ValueError(
            f"{name}() compares the images of one unit, and there is one.\nWrite "
            "`maximize(..., count=4)`, or leave that part of the objective out."
        )
