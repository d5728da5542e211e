"""Objectives of single units: a neuron, a channel, a layer.

Notation: $a_{xc}$ is the activation of a site at position $x$ and channel $c$. What a
position is stands in `positions.py`. Scores are in the units of the activation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxinterp.checks import checked_integer
from jaxinterp.objectives import positions
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


@pytree
class Channel(Objective):
    """The mean of a channel over a position.

    Attributes:
        site: the layer whose activation is read.
        is_at_center: whether no position means the center, rather than the mean.
        index: the channel of each unit, `(units,)`; `None` for every channel.
        position: for each axis in front of the channels the place of each unit,
            `(units,)`, or `None` for the mean over the axis; `None` if no position was
            named.
    """

    site: Sites = static()
    is_at_center: bool = static()
    index: Any
    position: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with all channels, or the center, filled in."""
        shape, name = shapes.activations[self.site], repr(self.site)
        index = positions.bound_index(self.index, shape, name)
        position = self.position
        if position is None and self.is_at_center:
            position = positions.center_of(shape)
        position = positions.bound_position(position, shape, name)
        return dataclasses.replace(self, index=index, position=position)

    def __call__(self, view: View) -> Any:
        """Returns the activation of the unit in each image."""
        a = positions.at_position(view.activations[self.site], self.position)
        # The mean first: its derivative is a broadcast, that of a choice a scatter.
        return positions.pick(positions.mean_of_places(a, n_last=1), self.index, axis=1)


@pytree
class LayerPower(Objective):
    """The mean power of a whole layer.

    Attributes:
        site: the layer whose activation is read.
        power: the exponent $p$.
        position: for each axis in front of the channels the place of each unit,
            `(units,)`, or `None` for the mean over the axis; `None` for all places.
    """

    site: Sites = static()
    power: int = static()
    position: Any

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the position counted from the start."""
        shape, name = shapes.activations[self.site], repr(self.site)
        if self.position is None:
            return self
        positions.check_channels(shape, name)
        position = positions.bound_position(self.position, shape, name)
        return dataclasses.replace(self, position=position)

    def __call__(self, view: View) -> Any:
        """Returns the mean power of each image."""
        a = positions.at_position(view.activations[self.site], self.position)
        return positions.mean_of_places(a**self.power, n_last=0)


def channel(
    site: Sites, index: Any = None, *, position: Sequence[Any] | None = None
) -> Objective:
    r"""Looks for what excites a channel, at any place: $\frac{1}{|X|}\sum_x a_{xc}$.

    Args:
        site: the layer whose activation is read.
        index: the number of the channel $c$; several numbers are several units, and
            `None` is every channel.
        position: the places that the mean is taken over, by default all: an entry for
            each axis in front of the channels, an integer for one place or `None` for
            the whole axis. Of attention heads `(tokens, heads, channels)`, `(None, 3)`
            is head 3. An entry may be an array with an integer for each unit.

    Returns:
        An objective, in the units of the activation.

    Raises:
        TypeError: if the index or the position is not of integers.

    Example:
        >>> objective = channel("Conv_0", jnp.arange(16))
        >>> objective.sites
        ('Conv_0',)

    References:
        Olah et al., 2017, "Optimization Objectives" [olah2017feature].
    """
    call = "channel('Conv_0', 3), channel('Conv_0', jnp.arange(8), position=(None, 5))"
    return Channel(
        site,
        is_at_center=False,
        index=positions.as_index(index, call),
        position=positions.as_position(position, call),
    )


def neuron(
    site: Sites, index: Any = None, *, position: Sequence[Any] | None = None
) -> Objective:
    """Looks for what excites a channel at one place, $a_{xc}$.

    Args:
        site: the layer whose activation is read.
        index: the number of the channel $c$; several numbers are several units, and
            `None` is every channel.
        position: the place $x$, an integer for each axis in front of the channels, such
            as `(row, column)`; by default the center, which along an even number of
            places is the later of the two in the middle. An entry may be an array with
            an integer for each unit, or `None` for the mean over that axis.

    Returns:
        An objective, in the units of the activation.

    Raises:
        TypeError: if the index or the position is not of integers.

    Example:
        >>> third_channel_in_a_corner = neuron("Conv_0", 3, position=(0, 0))

    References:
        Erhan et al., 2009, section 2.3 [erhan2009visualizing].
    """
    call = "neuron('Conv_0', 3), neuron('Conv_0', 3, position=(row, column))"
    return Channel(
        site,
        is_at_center=True,
        index=positions.as_index(index, call),
        position=positions.as_position(position, call),
    )


def layer(
    site: Sites, *, power: int = 2, position: Sequence[Any] | None = None
) -> Objective:
    r"""Looks for what excites a layer as a whole: the mean of $a_{xc}^p$.

    Started at a photograph it is DeepDream, which amplifies what the layer sees there.

    Args:
        site: the layer whose activation is read.
        power: the exponent $p$, an integer from 1. At 2, the default, large activations
            count more, whatever their sign; at 1 all count the same.
        position: the places that the mean is taken over, as in `channel`; by default
            all.

    Returns:
        An objective of one unit, in the units of the activation, to the power $p$.

    Raises:
        TypeError: if the position is not of integers.
        ValueError: if the power is no integer from 1.

    Example:
        >>> dream = layer("Conv_0")

    References:
        Mordvintsev et al., 2015 [mordvintsev2015inceptionism].
    """
    return LayerPower(
        site,
        checked_integer("power", power, 1, call="layer"),
        positions.as_position(position, "layer('Conv_0', position=(0, 0))"),
    )
