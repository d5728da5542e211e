"""What part of a picture a unit sees: in theory, and by its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.featurevis.extents import Extent, Reads, UnknownReads, both, read_by
from jaxinterp.featurevis.integers import check_index, checked_integer
from jaxinterp.featurevis.objective import Where
from jaxinterp.trace.graph import Site
from jaxinterp.trace.program import Value
from jaxinterp.trace.selectors import where
from jaxinterp.trace.transform import ApplyFn, select_one, split, trace_call

_MEASURE = (
    "Measure it: `effective_receptive_field(apply_fn, site, variables, images)` takes "
    "any model."
)


class ReceptiveField(NamedTuple):
    """The pixels that the positions of a map read; an entry for each axis of a picture.

    Attributes:
        size: pixels along the axis.
        stride: pixels from one position to the next; 0 if all positions see the same.
        start: the first pixel of position 0, negative in the padding.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]

    def window(self, position: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Returns the first pixel that a position reads, and one past the last.

        Args:
            position: such as a row and a column; both may lie outside of the picture.
        """
        first = [
            start + stride * at
            for start, stride, at in zip(self.start, self.stride, position, strict=True)
        ]
        return tuple((low, low + n) for low, n in zip(first, self.size, strict=True))


class EffectiveField(NamedTuple):
    """What pixels weigh in the activation of units.

    Attributes:
        weights: the mean magnitude of the gradient, summed over the colors,
            `(units, height, width)`; in units of the activation, for a pixel.
        start: the first row and column with a weight, `(units, 2)`.
        size: from there to the last ones; 0 for a unit without a gradient.
    """

    weights: Any
    start: np.ndarray
    size: np.ndarray


def receptive_field(
    apply_fn: ApplyFn, site: Where, variables: Any, inputs: Any
) -> ReceptiveField:
    """Returns the pixels that can matter to each position of a site, whatever weights.

    It is read off the traced graph: windows, strides, dilation and padding along all
    ways from the picture to the site. Nothing is computed; `jax.ShapeDtypeStruct`s
    serve as well as arrays.

    Args:
        apply_fn: the model.
        site: whose activation is `(batch, *positions, channels)`.
        variables: of the model.
        inputs: pictures, `(batch, *positions, channels)`.

    Returns:
        Size, stride and start for each axis of a picture. Where a position reads
        everything, the size is that of the picture and the stride 0. Near a border,
        where padding stands for a part of the window, a position sees less.

    Raises:
        AddressError: if the model has no such site.
        ValueError: if the site has no positions or lies in a loop, or its positions do
            not see windows of one size at one stride, as after upsampling.

    Example:
        >>> def model(w, x):
        ...     return jax.lax.conv(x, w, (2, 2), "VALID")
        >>> as_first = lambda w, x: model(w, x.transpose(0, 3, 1, 2)).transpose(
        ...     0, 2, 3, 1)
        >>> receptive_field(as_first, "transpose_1", jnp.ones((4, 1, 3, 3)),
        ...                 jnp.ones((1, 9, 9, 1)))
        ReceptiveField(size=(3, 3), stride=(2, 2), start=(0, 0))

    References:
        Araujo et al., 2019, "Problem Setup" [araujo2019computing].
    """
    traced = trace_call(apply_fn, variables, inputs)
    found = _place(select_one(traced.graph, site))
    if len(traced.inputs) != 1 or len(traced.inputs[0].shape) < 3:
        shapes = [list(v.shape) for v in traced.inputs]
        raise ValueError(
            "A receptive field is that in one array of pictures, (batch, height, "
            f"width, channels), and the inputs have the shapes {shapes}."
        )
    (picture,) = traced.inputs
    extent = _extent_in(found, picture)
    sizes = picture.shape[1:-1]
    fields = []
    for axis, (reads, size) in enumerate(zip(extent[1:-1], sizes, strict=True), 1):
        if reads is None:
            fields.append((size, 0, 0))
        elif reads.axis == axis:
            fields.append((reads.high - reads.low + 1, reads.stride, reads.low))
        else:
            raise ValueError(
                f"Axis {reads.axis} of {found.address!r}, whose shape is "
                f"{found.shape}, runs along axis {axis} of the pictures.\n"
                "Channels come last, in the site as in the pictures."
            )
    return ReceptiveField(*zip(*fields, strict=True))


def _place(site: Site) -> Site:
    if site.length or site.value.shape != site.shape:
        raise ValueError(
            f"{site.address!r} is inside a loop ({site.node.line}): each step of it "
            "sees something else."
        )
    if len(site.shape) < 3:
        raise ValueError(
            f"{site.address!r} has no positions: its shape is {site.shape}, and not "
            "(batch, height, width, channels).\nEach unit there has one score for the "
            "whole picture."
        )
    return site


# --- In theory ------------------------------------------------------------------------


def _extent_in(site: Site, picture: Value) -> Extent:
    flow = site.node.flow
    rank = len(site.shape)
    own = tuple(
        Reads(axis, 1, 0, 0) if 0 < axis < rank - 1 else None for axis in range(rank)
    )
    extents: dict[Value, Extent] = {site.value: own}
    for index in reversed(range(len(flow.program.equations))):
        equation = flow.program.equations[index]
        found = [extents[o] for o in equation.outputs if o in extents]
        if not found or not flow.is_active(index):
            continue
        for position, operand in enumerate(equation.inputs):
            if not isinstance(operand, Value) or operand not in flow.active:
                continue
            try:
                extent = read_by(equation, position, found[0])
                for other in found[1:]:
                    extent = both(extent, read_by(equation, position, other))
                if operand in extents:
                    extent = both(extents[operand], extent)
            except UnknownReads as unknown:
                raise ValueError(
                    f"What {site.address!r} sees cannot be told: {unknown}, at\n"
                    f"{equation.line}. {_MEASURE}"
                ) from None
            extents[operand] = extent
    if picture not in extents:
        raise ValueError(
            f"{site.address!r} does not depend on the inputs as the graph has it."
        )
    return extents[picture]


# --- By its gradients -----------------------------------------------------------------


def effective_receptive_field(
    apply_fn: ApplyFn,
    site: Where,
    variables: Any,
    inputs: Any,
    *,
    channels: Any = None,
    position: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> EffectiveField:
    r"""Measures which pixels the units at one position of a site listen to.

    $$w_c(x) = \frac1n \sum_{i=1}^n \sum_k
    \left| \frac{\partial a_{i p c}}{\partial x_{i x k}} \right|$$

    for the activation $a$ of picture $i$ at position $p$ and channel $c$. It is a small
    part of the theoretical field, strong in its middle. A position whose gradient is
    zero for all pictures, as behind a dead relu, is not seen: give natural pictures.
    Time grows with the channels, each a backward pass of all pictures; memory with
    `batch_size` times the pictures.

    Args:
        apply_fn: the model.
        site: whose activation is `(batch, *positions, channels)`.
        variables: of the model.
        inputs: pictures, `(batch, *positions, channels)`, floats.
        channels: the units, integers; all of them by default.
        position: an integer for each axis of positions; the middle by default.
        batch_size: how many channels to take at once; all of them by default.

    Returns:
        For each unit the weight of each pixel, and the box of those that have one.

    Raises:
        AddressError: if the model has no such site.
        TypeError: if the pictures are no floats.
        ValueError: if the site has no positions, or not this position or channel; if
            `batch_size` is not positive.

    Example:
        >>> picture = jnp.arange(25.0).reshape(1, 5, 5, 1)
        >>> def model(w, x):
        ...     return jnp.sin(w * x[:, 1:, :-1] * x[:, :-1, 1:])
        >>> found = effective_receptive_field(model, "mul", 1.0, picture)
        >>> found.start.tolist(), found.size.tolist(), found.weights[0, 2, 3].item()
        ([[2, 2]], [[2, 2]], 17.0)

    References:
        Luo et al., 2016, section 2 [luo2016understanding].
    """
    if batch_size is not None:
        checked_integer("batch_size", batch_size, 1, call="effective_receptive_field")
    if not jnp.issubdtype(inputs.dtype, jnp.inexact) or inputs.ndim < 3:
        raise TypeError(
            "A receptive field is measured by gradients in pictures, floats (batch, "
            f"height, width, channels); {inputs.dtype}{list(inputs.shape)} was given."
        )
    found = _place(select_one(trace_call(apply_fn, variables, inputs).graph, site))
    at, units = _chosen_units(found, channels, position)
    encode, _ = split(apply_fn, where(lambda place: place.address == found.address))

    @jax.jit
    def measured(variables: Any, inputs: Any, units: Any) -> Any:
        activation, pull = jax.vjp(lambda x: encode(variables, x), inputs)

        def one(unit: Any) -> Any:
            index = (slice(None), *at, unit)
            (gradient,) = pull(jnp.zeros_like(activation).at[index].set(1))
            return jnp.abs(gradient).sum(axis=-1).mean(axis=0)

        return jax.vmap(one)(units)

    size = min(batch_size or len(units), len(units))
    parts = []
    for start in range(0, len(units), size):
        part = units[start : start + size]
        full = np.pad(part, (0, size - len(part)), mode="edge")  # one compilation
        parts.append(measured(variables, inputs, full)[: len(part)])
    weights = jnp.concatenate(parts)
    return EffectiveField(weights, *_box(np.asarray(weights) > 0))


def _chosen_units(
    site: Site, channels: Any, position: Sequence[int] | None
) -> tuple[tuple[int, ...], np.ndarray]:
    *places, count = site.shape[1:]
    at = tuple(n // 2 for n in places) if position is None else tuple(position)
    if len(at) != len(places):
        raise ValueError(
            f"`position` has {len(at)} entries, and {site.address!r} has {len(places)} "
            f"axes of positions: its shape is {site.shape}."
        )
    for axis, (index, size) in enumerate(zip(at, places, strict=True), 1):
        check_index(index, size, f"position on axis {axis} of {site.address!r}")
    units = np.arange(count) if channels is None else np.atleast_1d(channels)
    check_index(units, count, f"channel of {site.address!r}")
    return at, units


def _box(is_seen: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns start and size of the box around what is seen, `(units, axes)`."""
    starts, sizes = [], []
    axes = range(1, is_seen.ndim)
    for axis in axes:
        along = is_seen.any(axis=tuple(other for other in axes if other != axis))
        first = along.argmax(axis=1)
        last = along.shape[1] - along[:, ::-1].argmax(axis=1)
        starts.append(first)
        sizes.append(np.where(along.any(axis=1), last - first, 0))
    return np.stack(starts, axis=1), np.stack(sizes, axis=1)
