"""Penalties of something else than the whole picture: an activation, some channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxinterp.checks import check_index, checked_integers
from jaxinterp.objectives.objective import Objective, Shapes, View, Where


class _Instead(Objective):
    """An objective of pictures that is shown something in their place.

    Attributes:
        penalty: the objective.
    """

    penalty: Any

    def pictures(self, view: View) -> Any:
        """Returns what the objective is shown.

        Args:
            view: what this one sees.
        """
        raise NotImplementedError

    def shape(self, shapes: Shapes) -> tuple[int, ...]:
        """Returns the shape of one of them.

        Args:
            shapes: of what this one sees.

        Raises:
            ValueError: if there is no such thing.
        """
        raise NotImplementedError

    @property
    def sites(self) -> tuple[Where, ...]:
        """What the objective reads."""
        return self.penalty.sites

    @property
    def compares(self) -> bool:
        """Whether the objective does."""
        return self.penalty.compares

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the objective bound."""
        bound = self.penalty.bound(shapes._replace(image=self.shape(shapes)))
        return dataclasses.replace(self, penalty=bound)  # pyright: ignore[reportArgumentType]  all below are dataclasses

    def __call__(self, view: View) -> Any:
        """Returns the objective of what it is shown."""
        return self.penalty(view._replace(images=self.pictures(view)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class PenaltyAt(_Instead):
    """An objective of pictures, of an activation instead.

    Attributes:
        site: whose activation takes the place of the pictures.
        penalty: the objective.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    penalty: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The site, and what the objective reads itself."""
        return tuple(dict.fromkeys((self.site, *self.penalty.sites)))

    def pictures(self, view: View) -> Any:
        """Returns the activation."""
        return view.activations[self.site]

    def shape(self, shapes: Shapes) -> tuple[int, ...]:
        """Returns the shape of one of them."""
        return tuple(shapes.activations[self.site])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class ForChannels(_Instead):
    """An objective of pictures, of some of their channels.

    Attributes:
        penalty: the objective.
        channels: their indices.
    """

    penalty: Any
    channels: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def pictures(self, view: View) -> Any:
        """Returns the channels."""
        return view.images[..., np.array(self.channels)]

    def shape(self, shapes: Shapes) -> tuple[int, ...]:
        """Returns the shape of one of them."""
        *axes, many = shapes.image
        check_index(self.channels, many, "channel for for_channels()")
        if len({channel % many for channel in self.channels}) < len(self.channels):
            raise ValueError(
                f"for_channels: of {many} channels, {list(self.channels)} names one "
                "twice."
            )
        return (*axes, len(self.channels))


def penalty_at(site: Where, penalty: Objective) -> Objective:
    """Applies a penalty of pictures to what a layer makes of them.

    The activation takes the place of the picture in its formula, with positions for
    pixels; unlike the picture it is that under the transforms, and has any range.

    Args:
        site: whose activation is read.
        penalty: `l1`, `l2`, `linf`, `total_variation` or another objective of
            pictures, or a combination of them.

    Returns:
        An objective, in the units of the penalty.

    Raises:
        TypeError: if the penalty is no objective.

    Example:
        >>> from jaxinterp.featurevis import channel, l1, total_variation
        >>> sparse = channel("Conv_1", 3) - 0.1 * penalty_at("Conv_0", l1(0.0))
        >>> smooth = channel("Conv_1", 3) - penalty_at("Conv_0", total_variation())

    References:
        lucid, `lucid/optvis/objectives.py`: `L1`, `L2` and `total_variation` of a
        `layer`.
    """
    if not isinstance(penalty, Objective):
        raise TypeError(
            "penalty_at() takes a site and an objective of pictures, "
            f"`penalty_at('Conv_0', total_variation())`; {penalty!r} was given."
        )
    return PenaltyAt(site, penalty)


def for_channels(
    penalty: Objective, channels: int | Sequence[int] | jax.Array | np.ndarray
) -> Objective:
    """Applies a penalty of pictures to some of their channels, such as the opacity.

    Args:
        penalty: `blur_penalty`, `total_variation`, `l1` or another objective of
            pictures, or a combination of them. Of channels of an activation write
            `penalty_at("Conv_0", for_channels(total_variation(), 3))`.
        channels: the index of one, or several in a list or an array; negative ones
            count from the end.

    Returns:
        An objective, in the units of the penalty.

    Raises:
        TypeError: if the penalty is no objective, or an index no integer.
        ValueError: if no channel is named, or one twice, or the penalty reads a layer;
            where it is used, if there is no such channel.

    Example:
        >>> from jaxinterp.featurevis import blur_penalty, channel
        >>> soft = channel("Conv_1", 3) - 0.1 * for_channels(blur_penalty(), -1)

    References:
        lucid, `lucid/optvis/objectives.py`: `blur_alpha_each_step` is the example.
    """
    if not isinstance(penalty, Objective):
        raise TypeError(
            "for_channels() takes an objective of pictures and channels, "
            f"`for_channels(blur_penalty(), -1)`; {penalty!r} was given."
        )
    if penalty.sites:
        raise ValueError(
            "for_channels() takes a penalty of pictures, and this one reads "
            f"{', '.join(map(repr, penalty.sites))}.\nOf channels of an activation "
            "write `penalty_at(site, for_channels(penalty, channels))`."
        )
    example = "for_channels(total_variation(), [0, 2])"
    numbers = checked_integers("for_channels", "channel", channels, example)
    return ForChannels(penalty, numbers)
