"""A penalty that draws an image to its own blur."""

from __future__ import annotations

from typing import Any

from jax import lax

from jaxinterp.checks import is_integer, shown
from jaxinterp.featurevis.regularizers.neighbors import (
    blurred,
    check_spatial,
    in_full,
    total,
)
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static


@pytree
class BlurPenalty(Objective):
    """The distance to a blurred image, which draws the image there.

    The fields are the arguments of `blur_penalty`.
    """

    width: int = static()

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it, if images have neighbors."""
        check_spatial("blur_penalty", shapes)
        return self

    def __call__(self, view: View) -> Any:
        """Returns half the squared distance."""
        images = in_full(view)
        smooth = lax.stop_gradient(blurred(images, self.width))
        return total((images - smooth) ** 2) / 2


def blur_penalty(width: int = 3) -> Objective:
    r"""Draws an image to its own blur: $\frac12 \sum (x - \mathrm{blur}(x))^2$.

    No gradient flows through the blur, so that a step of size 1 replaces the image by
    it. The kernel is 1, on its rim one half, over the sum of those of its weights that
    lie on the image; lucid takes zeros beyond the border, which darkens it.

    Args:
        width: the width of the kernel in pixels, odd.

    Returns:
        A penalty in units of squared brightness.

    Raises:
        ValueError: if the width is no odd number from 3; where it is used, if images
            have no axis but the channels.

    Example:
        >>> from jaxinterp.featurevis import View
        >>> blur_penalty()(View({}, None, jnp.ones((1, 4, 4, 3)), 0)).tolist()
        [0.0]

    References:
        Olah et al., 2017, section on regularization [olah2017feature].
    """
    if not is_integer(width) or int(width) < 3 or int(width) % 2 == 0:
        raise ValueError(
            f"blur_penalty() takes an odd width from 3, not {shown(width)}."
        )
    return BlurPenalty(int(width))
