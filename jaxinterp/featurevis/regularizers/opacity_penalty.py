"""A penalty on how much of an image is opaque."""

from __future__ import annotations

from typing import Any

from jaxinterp.featurevis.regularizers.neighbors import in_full
from jaxinterp.objectives.objective import Objective, View
from jaxinterp.pytree import pytree


@pytree
class OpacityPenalty(Objective):
    """The mean opacity of an image."""

    def __call__(self, view: View) -> Any:
        """Returns the mean of the last channel of each image."""
        alpha = in_full(view)[..., -1]
        return alpha.mean(axis=tuple(range(1, alpha.ndim)))


def opacity_penalty() -> Objective:
    r"""Penalizes opacity, so that only what a unit needs is left: $\overline{\alpha}$.

    For the images of `with_alpha`: `channel("mixed4a", 3) - 5 * opacity_penalty()`.

    Returns:
        A penalty in [0, 1].

    Example:
        >>> from jaxinterp.featurevis import View
        >>> images = jnp.zeros((1, 2, 2, 4)).at[..., 0, 3].set(1.0)
        >>> opacity_penalty()(View({}, None, images, 0)).tolist()
        [0.5]

    References:
        Mordvintsev et al., 2018, "Generation of Semi-Transparent Patterns"
        [mordvintsev2018differentiable].
    """
    return OpacityPenalty()
