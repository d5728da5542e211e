"""`capture`: a model that also returns the activations at some sites."""

from __future__ import annotations

import functools
from typing import Any

from jaxinterp.tracing.by_address import ByAddress
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.select import select
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables


def capture(apply_fn: ApplyFn, sites: Sites) -> ApplyFn:
    """Makes a model also return the activations at some sites.

    Under `jit`, XLA drops what the returned values do not need: capture an early site,
    discard the outputs, and no later layer is computed.

    Inside a `scan` the activations of all steps are stacked on axis 0; inside a `while`
    the activation of the last step is returned; a branch of a `cond` that is not
    taken gives NaN.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        sites: an address, a glob (`"*"` is every site), a selector, or a list of these.

    Returns:
        A function `(variables, inputs, *args, **kwargs) -> (outputs, activations)`
        where `activations` is a mapping from address to array in network order. It may
        be asked for a site by the address without the name of the model, too.

    Raises:
        AddressError: when called, if no site matches.

    Example:
        >>> model = capture(lambda w, x: jnp.tanh(w * x).sum(-1), "tanh")
        >>> outputs, activations = model(0.0, jnp.ones((1, 2)))
        >>> activations["tanh"].tolist()
        [[0.0, 0.0]]
    """
    as_selector(sites)

    @functools.wraps(apply_fn)
    def captured(
        variables: Variables, inputs: Inputs, *args: Any, **kwargs: Any
    ) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        by_address = select(traced.graph, sites)
        captures = frozenset(site.value for site in by_address.values())
        outputs, arrays = traced.run(Changes(captures=captures))
        activations = {a: arrays[site.value] for a, site in by_address.items()}
        return outputs, ByAddress.of(by_address, activations)

    return captured
