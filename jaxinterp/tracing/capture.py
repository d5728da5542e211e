"""`capture`: a model that also returns the activations at some sites."""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.select import select
from jaxinterp.tracing.selectors import Selector, as_selector
from jaxinterp.types import ApplyFn


def capture(apply_fn: ApplyFn, sites: Selector | str) -> ApplyFn:
    """Also returns the activations at some sites.

    What the returned function does not need for the activations it is asked for, XLA
    drops: capture an early site, discard the outputs, and no later layer is computed.

    Inside a `scan` the activations of all steps are stacked on axis 0; inside a `while`
    the last step's is returned; an arm of a `cond` that is not taken gives NaN.

    Args:
        apply_fn: the model.
        sites: an address, a glob (`"*"` is every site) or a selector.

    Returns:
        A function `(variables, inputs, *args, **kwargs) -> (outputs, activations)`
        where `activations` is a dict from address to array in network order.

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
    def captured(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        chosen = select(traced.graph, sites)
        wanted = frozenset(site.value for site in chosen.values())
        outputs, values = traced.run(Changes(wanted=wanted))
        # JAX sorts the keys of a plain dict that leaves `jit`, and keeps these.
        found = ((a, values[site.value]) for a, site in chosen.items())
        return outputs, OrderedDict(found)

    return captured
