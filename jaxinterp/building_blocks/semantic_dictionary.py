r"""`semantic_dictionary`: what a layer sees at each position, in words of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.building_blocks.layer import activation_of
from jaxinterp.checks import checked_integer
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables


class Dictionary(NamedTuple):
    """The strongest channels, or directions, at each position.

    Attributes:
        indices: their numbers, the strongest first, `(batch, *positions, k)`.
        values: their activations, in the same shape.
    """

    indices: Any
    values: Any


def semantic_dictionary(
    apply_fn: ApplyFn, *, at: Sites, k: int = 4, basis: Any = None
) -> Callable[[Variables, Inputs], Dictionary]:
    r"""Finds the channels that are most active at each position of a layer.

    $$(c_1, \dots, c_k)_p = \operatorname{top-}k_c\; a_p \cdot b_c$$

    with the activation $a_p$ at position $p$ and the basis $b$, by default the channels
    themselves. A number says little; an *icon* beside it says what the channel looks
    for: `icons[indices]`, with an image of each channel from anywhere, or made by
    `maximize(apply_fn, f"{at}:*", variables, ...)`. `plot.activation_page` shows both.
    Beside icons show real examples: a channel may look for several things.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the layer, a site whose activation is `(batch, *positions, channels)`.
        k: how many channels are named at each position.
        basis: $b$, the directions to be named instead of channels, `(directions,
            channels)`: those of neuron groups, or of a sparse dictionary.

    Returns:
        A function `(variables, inputs)` that returns a `Dictionary`. NaN counts as the
        largest number.

    Raises:
        AddressError: when called, if there is no such site.
        ValueError: if `k` is no positive integer; when called, if the site is no such
            layer, has fewer channels, or the basis does not fit.

    References:
        Olah et al., 2018, on semantic dictionaries [olah2018building].

    Example:
        >>> x = jnp.array([[[0.5, 3.0, 2.0], [4.0, 0.0, 1.0]]])
        >>> look_up = semantic_dictionary(lambda w, x: jax.nn.relu(x), at="relu", k=2)
        >>> found = look_up(None, x)
        >>> found.indices.tolist(), found.values.tolist()
        ([[[1, 2], [0, 2]]], [[[3.0, 2.0], [4.0, 1.0]]])
    """
    call = "semantic_dictionary"
    k = checked_integer("k", k, 1, call=call)

    def look_up(variables: Variables, inputs: Inputs) -> Dictionary:
        cube = activation_of(call, apply_fn, at, variables, inputs)
        if basis is not None:
            cube = _along(cube, jnp.asarray(basis), at)
        if k > cube.shape[-1]:
            raise ValueError(
                f"{call}: `k` is {k}, and there are {cube.shape[-1]} channels."
            )
        values, indices = jax.lax.top_k(cube, k)
        return Dictionary(indices, values)

    return look_up


def _along(cube: Any, basis: Any, at: Sites) -> Any:
    """The activation along each direction of a basis, `(batch, *positions, n)`."""
    if basis.ndim != 2 or basis.shape[1] != cube.shape[-1]:
        raise ValueError(
            "semantic_dictionary: `basis` is (directions, channels), and has shape "
            f"{basis.shape}; {str(at)!r} has {cube.shape[-1]} channels."
        )
    along = jnp.matmul(cube, basis.astype(cube.dtype).T, precision="highest")
    return along.astype(cube.dtype)
