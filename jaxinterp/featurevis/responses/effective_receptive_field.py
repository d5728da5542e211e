"""Which part of an image a unit depends on in effect, measured by its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_index
from jaxinterp.featurevis.responses.receptive_field import checked_place
from jaxinterp.loop.chunks import chunk_size, over_units
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.graph import Site
from jaxinterp.tracing.select import select_one
from jaxinterp.tracing.selectors import where
from jaxinterp.tracing.split import read_channels_last
from jaxinterp.types import ApplyFn, Sites


class EffectiveField(NamedTuple):
    """How much the pixels weigh in the activation of units.

    Attributes:
        weights: the mean magnitude of the gradient, summed over the colors,
            `(units, height, width)`; in units of the activation, for a pixel.
        start: the first row and column with a weight, `(units, 2)`.
        size: the number of rows and of columns from there to the last ones with a
            weight, `(units, 2)`; 0 for a unit without a gradient.
    """

    weights: Any
    start: np.ndarray
    size: np.ndarray


def effective_receptive_field(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Any,
    inputs: Any,
    *,
    channels: Any = None,
    position: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> EffectiveField:
    r"""Measures which pixels the units at one position of a site depend on.

    $$w_c(x) = \frac1n \sum_{i=1}^n \sum_k
    \left| \frac{\partial a_{i p c}}{\partial x_{i x k}} \right|$$

    for the activation $a$ of image $i$ at position $p$ and channel $c$. It is a small
    part of the theoretical field, strong in its middle. A position whose gradient is
    zero for all images, as behind a dead relu, is not measured: give natural images.
    Time grows with the channels, each a backward pass of all images; memory with
    `batch_size` times the images.

    Args:
        apply_fn: the model.
        site: the site whose activation is read, `(batch, *positions, channels)`.
        variables: the weights of the model.
        inputs: a batch of natural images as the model takes them, floats `(batch,
            *positions, channels)`.
        channels: the numbers of the channels; all of them by default.
        position: an integer for each axis of positions; the middle by default.
        batch_size: the largest number of channels that are computed at once; all of
            them by default.

    Returns:
        For each unit the weight of each pixel, and the box of those that have one.

    Raises:
        AddressError: if the model has no such site.
        TypeError: if the images are no floats.
        ValueError: if the site has no positions, or not this position or channel; if
            `batch_size` is not positive.

    Example:
        >>> image = jnp.arange(25.0).reshape(1, 5, 5, 1)
        >>> def model(w, x):
        ...     return jnp.sin(w * x[:, 1:, :-1] * x[:, :-1, 1:])
        >>> field = effective_receptive_field(model, "mul", 1.0, image)
        >>> field.start.tolist(), field.size.tolist(), field.weights[0, 2, 3].item()
        ([[2, 2]], [[2, 2]], 17.0)

    References:
        Luo et al., 2016, section 2 [luo2016understanding].
    """
    if not jnp.issubdtype(inputs.dtype, jnp.inexact) or inputs.ndim < 3:
        raise TypeError(
            "A receptive field is measured by gradients in images, floats (batch, "
            f"height, width, channels); {inputs.dtype}{list(inputs.shape)} was given."
        )
    graph = trace_call(apply_fn, variables, inputs).graph
    place = checked_place(select_one(graph, site))
    at, units = _units_at(place, channels, position)
    only = where(lambda other: other.address == place.address)
    encode = read_channels_last(apply_fn, only)

    @jax.jit
    def magnitudes(variables: Any, inputs: Any, units: Any) -> Any:
        activation, pull = jax.vjp(lambda x: encode(variables, x), inputs)

        def one(unit: Any) -> Any:
            index = (slice(None), *at, unit)
            (gradient,) = pull(jnp.zeros_like(activation).at[index].set(1))
            return jnp.abs(gradient).sum(axis=-1).mean(axis=0)

        return jax.vmap(one)(units)

    weights = over_units(
        lambda index: magnitudes(variables, inputs, units[index]),
        len(units),
        chunk_size(batch_size, 1, len(units)),
        is_inner=False,
    )
    return EffectiveField(weights, *_box(np.asarray(weights) > 0))


def _units_at(
    site: Site, channels: Any, position: Sequence[int] | None
) -> tuple[tuple[int, ...], np.ndarray]:
    places = list(site.shape[1:])
    count = places.pop(site.channel_axis - 1)
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


def _box(has_weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """Start and size of the box around the pixels with a weight, `(units, axes)`."""
    starts, sizes = [], []
    axes = range(1, has_weight.ndim)
    for axis in axes:
        along = has_weight.any(axis=tuple(other for other in axes if other != axis))
        first = along.argmax(axis=1)
        last = along.shape[1] - along[:, ::-1].argmax(axis=1)
        starts.append(first)
        sizes.append(np.where(along.any(axis=1), last - first, 0))
    return np.stack(starts, axis=1), np.stack(sizes, axis=1)
