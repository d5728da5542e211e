"""What part of an image a unit sees: in theory, and by its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.facts.extents import Extent, Reads, UnknownReads, both, read_by
from jaxinterp.tracing.graph import Site
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.select import select_one
from jaxinterp.types import ApplyFn, Sites

MEASURE = (
    "Measure it: `effective_receptive_field(apply_fn, site, variables, images)` takes "
    "any model."
)


class ReceptiveField(NamedTuple):
    """The pixels that the positions of a map read; an entry for each axis of an image.

    Attributes:
        size: the number of pixels along the axis.
        stride: the number of pixels from one position to the next; 0 if all positions
            read the same.
        start: the number of the first pixel of position 0, negative in the padding.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]

    def window(self, position: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Returns the first pixel that a position reads, and one past the last.

        Args:
            position: the numbers of the position, such as a row and a column. The
                pixels may lie outside of the image.
        """
        first = [
            start + stride * at
            for start, stride, at in zip(self.start, self.stride, position, strict=True)
        ]
        return tuple((low, low + n) for low, n in zip(first, self.size, strict=True))


def receptive_field(
    apply_fn: ApplyFn, site: Sites, variables: Any, inputs: Any
) -> ReceptiveField:
    """Returns the pixels that can matter to each position of a site, whatever weights.

    It is read off the traced graph: windows, strides, dilation and padding along all
    ways from the image to the site. Nothing is computed; `jax.ShapeDtypeStruct`s
    serve as well as arrays.

    Args:
        apply_fn: the model.
        site: the site, whose activation is `(batch, *positions, channels)`.
        variables: the weights of the model.
        inputs: a batch of images as the model takes them, `(batch, *positions,
            channels)`.

    Returns:
        Size, stride and start for each axis of an image. Where a position reads
        everything, the size is that of the image and the stride 0. Near a border,
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
    place = checked_place(select_one(traced.graph, site))
    if len(traced.inputs) != 1 or len(traced.inputs[0].shape) < 3:
        shapes = [list(v.shape) for v in traced.inputs]
        raise ValueError(
            "A receptive field is that in one array of images, (batch, height, "
            f"width, channels), and the inputs have the shapes {shapes}."
        )
    (image,) = traced.inputs
    extent = _extent_in(place, image)
    sizes = image.shape[1:-1]
    fields = []
    for axis, (reads, size) in enumerate(zip(extent[1:-1], sizes, strict=True), 1):
        if reads is None:
            fields.append((size, 0, 0))
        elif reads.axis == axis:
            fields.append((reads.high - reads.low + 1, reads.stride, reads.low))
        else:
            raise ValueError(
                f"Axis {reads.axis} of {place.address!r}, whose shape is "
                f"{place.shape}, runs along axis {axis} of the images.\n"
                "Channels come last, in the site as in the images."
            )
    return ReceptiveField(*zip(*fields, strict=True))


def checked_place(site: Site) -> Site:
    """Returns a site, if its units have positions.

    Args:
        site: a site of a traced model.

    Raises:
        ValueError: if it is inside a loop, or has no axes of positions.
    """
    if site.length or site.value.shape != site.shape:
        raise ValueError(
            f"{site.address!r} is inside a loop ({site.node.line}): each step of it "
            "sees something else."
        )
    if len(site.shape) < 3 or not site.channel_axis:
        raise ValueError(
            f"{site.address!r} has no positions: its shape is {site.shape}, and not "
            "(batch, height, width, channels).\nEach unit there has one score for the "
            "whole image."
        )
    return site


# --- In theory ------------------------------------------------------------------------


def _extent_in(site: Site, image: Value) -> Extent:
    flow = site.node.flow
    own: list[Reads | None] = [None] * len(site.shape)
    positions = set(range(1, len(site.shape))) - {site.channel_axis}
    for number, axis in enumerate(sorted(positions), 1):
        own[axis] = Reads(number, 1, 0, 0)
    extents: dict[Value, Extent] = {site.value: tuple(own)}
    for index in reversed(range(len(flow.program.equations))):
        equation = flow.program.equations[index]
        output_extents = [extents[o] for o in equation.outputs if o in extents]
        if not output_extents or not flow.is_active(index):
            continue
        for position, operand in enumerate(equation.inputs):
            if not isinstance(operand, Value) or operand not in flow.active:
                continue
            try:
                extent = read_by(equation, position, output_extents[0])
                for other in output_extents[1:]:
                    extent = both(extent, read_by(equation, position, other))
                if operand in extents:
                    extent = both(extents[operand], extent)
            except UnknownReads as unknown:
                raise ValueError(
                    f"What {site.address!r} sees cannot be told: {unknown}, at\n"
                    f"{equation.line}. {MEASURE}"
                ) from None
            extents[operand] = extent
    if image not in extents:
        raise ValueError(
            f"{site.address!r} does not depend on the inputs as the graph has it."
        )
    return extents[image]
