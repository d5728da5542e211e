"""The axis of an inner array along which channels lie.

It is the last one, unless a convolution says otherwise: models of Equinox, and those
that were ported from PyTorch, have channels first inside. A convolution names the axis,
and the steps after it move it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.batch_axis import moved_axis
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.program.program import Equation, Value

_CONTRACTIONS = (p.conv_general_dilated_p, p.dot_general_p)


class _Channels(NamedTuple):
    """What is known of the channels of a value.

    Attributes:
        axis: their axis; `None` if a reshape took it apart or merged it.
        shape: the shape of the last value whose axis was known.
        known: that axis. It is right again where a later value has that shape, as
            after a group norm, which divides the channels and puts them together.
    """

    axis: int | None
    shape: tuple[int, ...]
    known: int


def channel_axes(flow: Flow) -> dict[Value, int]:
    """Returns the axis of channels of each active value, as far as convolutions say.

    Args:
        flow: the program of the values, or the body of a loop.

    Returns:
        The axis by value, for those that a convolution reaches.
    """
    channels: dict[Value, _Channels] = {}
    for equation in flow.program.equations:
        after = _after(equation, channels)
        if after is not None:
            active = (v for v in equation.outputs if v in flow.active)
            channels.update(dict.fromkeys(active, after))
    return {v: c.axis for v, c in channels.items() if c.axis is not None}


def _after(equation: Equation, channels: Mapping[Value, _Channels]) -> _Channels | None:
    shape = equation.outputs[0].shape if equation.outputs else ()
    if equation.primitive is p.conv_general_dilated_p:
        axis = equation.params["dimension_numbers"].out_spec[1]
        return _Channels(axis, shape, axis)
    before = [
        (i, channels[v])
        for i, v in enumerate(equation.inputs)
        if isinstance(v, Value) and v in channels
    ]
    if not before or equation.primitive in _CONTRACTIONS or equation.bodies:
        return None
    axes = {
        axis
        for i, c in before
        if c.axis is not None
        and (axis := moved_axis(equation, i, c.axis, c.shape[c.axis])) is not None
    }
    if len(axes) == 1:
        (axis,) = axes
        return _Channels(axis, shape, axis)
    last = {(c.shape, c.known) for _, c in before}
    if axes or len(last) > 1:
        return None  # they disagree
    ((old, known),) = last
    return _Channels(known if shape == old else None, old, known)
