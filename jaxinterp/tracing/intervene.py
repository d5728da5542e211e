"""`intervene`: a model with some activations replaced while it runs."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.errors import EditError
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.select import select
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables


def intervene(
    apply_fn: ApplyFn, edits: Mapping[Sites, Callable[[Any], Any] | Any]
) -> ApplyFn:
    """Replaces activations while the model runs.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        edits: for each site (an address, a glob or a selector) a function from its
            activation to the activation that replaces it, or that activation itself: a
            number or an array that broadcasts to it and is cast to its dtype. It may
            be traced. In a loop it is applied at every step.

    Returns:
        A function like `apply_fn`. Later sites see the edited activation.

    Raises:
        AddressError: when called, if a site does not exist.
        EditError: when called, if an edit changes the shape or dtype, or a value does
            not broadcast or is of another kind, such as floats for integers.
        TypeError: if `edits` is no mapping from sites to functions, arrays or numbers.

    Example:
        >>> ablated = intervene(lambda w, x: jnp.tanh(w * x), {"tanh": 0.0})
        >>> ablated(1.0, jnp.ones((1, 2))).tolist()
        [[0.0, 0.0]]
        >>> ablated = intervene(lambda w, x: jnp.tanh(w * x), {"tanh": jnp.zeros_like})
        >>> ablated(1.0, jnp.ones((1, 2))).tolist()
        [[0.0, 0.0]]
    """
    if not isinstance(edits, Mapping):
        raise TypeError(
            "`edits` maps sites to functions or values, and "
            f"{reprlib.repr(edits)} is no mapping.\n"
            "Write for example `intervene(apply_fn, {'Block_0/add': jnp.zeros_like})`."
        )
    for selector, edit in edits.items():
        as_selector(selector)
        if not (callable(edit) or _is_value(edit)):
            raise TypeError(
                f"The edit at {str(selector)!r} must be a function of the activation, "
                f"an array or a number, and is {edit!r}.\n"
                f"Write for example `{{{str(selector)!r}: jnp.zeros_like}}`."
            )

    @functools.wraps(apply_fn)
    def intervened(
        variables: Variables, inputs: Inputs, *args: Any, **kwargs: Any
    ) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        by_value: dict[Value, Callable[[Any], Any]] = {}
        for selector, edit in edits.items():
            for address, site in select(traced.graph, selector).items():
                checked = checked_edit(edit, address)
                before = by_value.get(site.value)
                by_value[site.value] = _then(before, checked) if before else checked
        outputs, _ = traced.run(Changes(edits=by_value))
        return outputs

    return intervened


def _is_value(edit: Any) -> bool:
    return isinstance(edit, jax.Array | np.ndarray | np.generic | int | float | complex)


def _then(first: Callable, second: Callable) -> Callable:
    return lambda activation: second(first(activation))


def checked_edit(edit: Any, address: str) -> Callable[[Any], Any]:
    """Returns an edit that raises if it changes the shape or dtype.

    Args:
        edit: a function from an activation to the activation that replaces it, or a
            value that is broadcast to it.
        address: the address of the site, for the error message.

    Raises:
        EditError: when called, if the shape or dtype changes.
    """

    def checked(activation: Any) -> Any:
        edited = _like(edit, activation) if _is_value(edit) else edit(activation)
        shape, dtype = np.shape(edited), getattr(edited, "dtype", None)
        if shape != activation.shape or dtype != activation.dtype:
            raise EditError(
                address,
                f"{activation.dtype}{list(activation.shape)}",
                f"{dtype or type(edited).__name__}{list(shape)}",
            )
        return edited

    return checked


def _like(value: Any, activation: Any) -> Any:
    """The value with the shape and dtype of an activation, as far as it has them."""
    value = value if hasattr(value, "dtype") else np.asarray(value)
    if np.can_cast(value.dtype, activation.dtype, "same_kind"):
        value = jnp.asarray(value, activation.dtype)
    rank = max(activation.ndim - value.ndim, 0)
    padded = (1,) * rank + value.shape
    pairs = zip(padded, activation.shape, strict=False)
    if len(padded) == activation.ndim and all(n in (1, size) for n, size in pairs):
        return jnp.broadcast_to(value, activation.shape)
    return value
