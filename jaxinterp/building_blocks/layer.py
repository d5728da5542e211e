"""The activation of one layer, as a cube of positions and channels."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.attribution.contract import examples_in
from jaxinterp.tracing.call import check_arrays
from jaxinterp.tracing.split import read_channels_last
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables


def activation_of(
    call: str, apply_fn: ApplyFn, at: Sites, variables: Variables, inputs: Inputs
) -> Any:
    """Returns the activation at one site, `(batch, *positions, channels)`.

    Args:
        call: the name of the public function, for errors.
        apply_fn: the model.
        at: the site.
        variables: the weights of the model.
        inputs: a batch of the model's inputs.

    Raises:
        AddressError: if there is no such site.
        AmbiguousAddressError: if there are several.
        ValueError: if the activation is no such cube.
    """
    check_arrays(inputs)
    activation = read_channels_last(apply_fn, at)(variables, inputs)
    check_cube(call, at, activation, examples_in(inputs))
    return activation


def check_cube(call: str, at: Sites, activation: Any, n_examples: int) -> None:
    """Raises unless an activation has examples first, channels last, and is real.

    Args:
        call: the name of the public function, for the error.
        at: the site, for the error.
        activation: the activation at the site.
        n_examples: the number of examples in the batch.

    Raises:
        ValueError: if it has not.
    """
    shape = activation.shape
    is_real = jnp.issubdtype(activation.dtype, jnp.floating)
    if len(shape) < 2 or shape[0] != n_examples or not is_real:
        raise ValueError(
            f"{call} takes a site whose activation is real, with shape (batch, "
            f"*positions, channels), and {str(at)!r} has {activation.dtype}"
            f"{list(shape)} for {n_examples} examples.\nGive the site of a layer, "
            "outside of loops: `list(jaxinterp.trace(apply_fn, variables, inputs)"
            ".sites)`."
        )
