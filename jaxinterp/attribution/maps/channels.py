"""Maps of a layer: its channels added up, and brought to the size of the inputs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.types import Inputs


def check_positions(activation: Any, name: str, at: object) -> None:
    """Raises if an activation has no positions between examples and channels.

    Args:
        activation: the activation at a site.
        name: the name of the method, for the error.
        at: the site, for the error.

    Raises:
        ValueError: if it has fewer than three axes.
    """
    if activation.ndim < 3:
        raise ValueError(
            f"{name}: the activation at {str(at)!r} has the shape "
            f"{activation.shape}, and no positions between examples and channels.\n"
            "Name a convolution or the activation after it; "
            "`print(jaxinterp.trace(apply_fn, variables, inputs))` lists them."
        )


def positions_of(activation: Any) -> tuple[int, ...]:
    """Returns the axes of positions: all but the first, of examples, and the last.

    Args:
        activation: an array `(batch, *positions, channels)`.
    """
    return tuple(range(1, activation.ndim - 1))


def resized(values: Any, inputs: Inputs, name: str, at: object) -> Any:
    """Returns a map at the positions of the inputs, shared by the channels of a pixel.

    Args:
        values: the map, `(batch, *positions)`.
        inputs: the inputs of the model.
        name: the name of the method, for the error.
        at: the site of the map, for the error.

    Raises:
        ValueError: if there is more than one input, or it has another number of axes
            of positions.
    """
    leaves = jax.tree.leaves(inputs)
    if len(leaves) > 1 or leaves[0].ndim != values.ndim + 1:
        shapes = [leaf.shape for leaf in leaves]
        raise ValueError(
            f"{name}: the map at {str(at)!r} has the shape {values.shape}, and the "
            f"inputs {shapes}; it is resized to one array (batch, *positions, "
            "channels) with as many axes of positions.\nWrite `resize=False` for the "
            "map itself."
        )
    (x,) = leaves
    full = jax.image.resize(values, x.shape[:-1], "linear")
    shared = jnp.broadcast_to(full[..., None] / x.shape[-1], x.shape)
    if jnp.issubdtype(x.dtype, jnp.inexact):  # of integers it keeps its own dtype
        shared = shared.astype(jnp.result_type(x))
    return jax.tree.map(lambda _: shared, inputs)
