"""Penalties of something else than the whole image: an activation, some channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxinterp.checks import check_index, checked_integers
from jaxinterp.featurevis.regularizers.neighbors import image_shape
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


@pytree
class PenaltyOn(Objective):
    """The objective that `penalty_on` makes, whose arguments are its fields."""

    penalty: Any
    site: Sites | None = static()
    channels: tuple[int, ...] | None = static()

    @property
    def sites(self) -> tuple[Sites, ...]:
        """The site, and what the penalty reads itself."""
        return tuple(dict.fromkeys((*super().sites, *self.penalty.sites)))

    @property
    def compares(self) -> bool:
        """Whether the penalty does."""
        return self.penalty.compares

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the penalty bound."""
        bound = self.penalty.bound(shapes._replace(image=self._shape(shapes)))
        return dataclasses.replace(self, penalty=bound)

    def __call__(self, view: View) -> Any:
        """Returns the penalty of what takes the place of each image."""
        return self.penalty(view._replace(images=self._images(view)))

    def _images(self, view: View) -> Any:
        images = view.images if self.site is None else view.activations[self.site]
        return images if self.channels is None else images[..., np.array(self.channels)]

    def _shape(self, shapes: Shapes) -> tuple[int, ...]:
        if self.site is not None:
            shapes = shapes._replace(image=shapes.activations[self.site])
        shape = image_shape(shapes)
        if self.channels is None:
            return shape
        *axes, n_channels = shape
        check_index(self.channels, n_channels, "channel for penalty_on()")
        if len({c % n_channels for c in self.channels}) < len(self.channels):
            raise ValueError(
                f"penalty_on: of {n_channels} channels, {list(self.channels)} names "
                "one twice."
            )
        return (*axes, len(self.channels))


def penalty_on(
    penalty: Objective,
    *,
    site: Sites | None = None,
    channels: int | Sequence[int] | jax.Array | np.ndarray | None = None,
) -> Objective:
    """Applies a penalty of images to an activation, to some channels, or to both.

    An activation takes the place of the image in the formula, with positions for
    pixels; unlike the image it is that under the transforms, and has any range.

    Args:
        penalty: `norm`, `total_variation`, `blur_penalty` or another objective of
            images, or a combination of them.
        site: the layer whose activation is penalized; by default the image itself is.
        channels: the index of one channel, such as -1, the opacity, or several in a
            list or an array; negative ones count from the end. All by default.

    Returns:
        An objective, in the units of the penalty.

    Raises:
        TypeError: if the penalty is no objective, or an index no integer.
        ValueError: if neither a site nor channels are named, or no channel, or one
            twice, or the penalty of some channels reads a layer itself; where it is
            used, if there is no such channel.

    Example:
        >>> from jaxinterp.featurevis import blur_penalty, channel, norm
        >>> sparse = channel("Conv_1", 3) - penalty_on(norm(1, 0.0), site="Conv_0")
        >>> soft = channel("Conv_1", 3) - 0.1 * penalty_on(blur_penalty(), channels=-1)

    References:
        lucid, `lucid/optvis/objectives.py`: `L1`, `L2` and `total_variation` of a
        `layer`, and `blur_alpha_each_step`.
    """
    if not isinstance(penalty, Objective):
        raise TypeError(
            "penalty_on() takes an objective of images, "
            f"`penalty_on(total_variation(), site='Conv_0')`; {penalty!r} was given."
        )
    if channels is None:
        if site is None:
            raise ValueError("penalty_on() takes a `site`, `channels`, or both.")
        return PenaltyOn(penalty, site, None)
    if penalty.sites:
        raise ValueError(
            "penalty_on(channels=...) takes a penalty of images, and this one reads "
            f"{', '.join(map(repr, penalty.sites))}.\nOf channels of an activation "
            "write `penalty_on(penalty, site=site, channels=channels)`."
        )
    example = "penalty_on(total_variation(), channels=[0, 2])"
    numbers = checked_integers("penalty_on", "channel", channels, example)
    return PenaltyOn(penalty, site, numbers)
