"""`split`: a model in two parts, up to a site and from that site on."""

from __future__ import annotations

import functools
from typing import Any

from jaxinterp.tracing.call import Traced, trace_call
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.intervene import checked_edit
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.select import select_one
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables


def split(apply_fn: ApplyFn, site: Sites) -> tuple[ApplyFn, ApplyFn]:
    """Splits a model in two at a site.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        site: where to split, an address or a selector of one site.

    Returns:
        `encode(variables, inputs) -> activation`, the model up to the site, and
        `decode(variables, activation, inputs) -> outputs`, the model from the site on.
        `decode` takes the inputs too, since paths around the site may exist; so
        `decode(variables, encode(variables, inputs), inputs)` is the model.

    Raises:
        AddressError: when called, if the site does not exist.
        AmbiguousAddressError: when called, if there are several such sites.
        ValueError: when `decode` is called, if the site is in a loop.

    Example:
        >>> encode, decode = split(lambda w, x: 3 * jnp.tanh(w * x), "tanh")
        >>> x = jnp.zeros((1, 1))
        >>> decode(1.0, encode(1.0, x) + 1, x).tolist()
        [[3.0]]
    """
    as_selector(site)

    @functools.wraps(apply_fn)
    def encode(variables: Variables, inputs: Inputs, *args: Any, **kwargs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        return _read(traced, select_one(traced.graph, site))

    @functools.wraps(apply_fn)
    def decode(
        variables: Variables,
        activation: Any,
        inputs: Inputs,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        place = select_one(traced.graph, site)
        check_can_start(traced.graph, place)
        edit = checked_edit(lambda _: activation, place.address)
        outputs, _ = traced.run(Changes(edits={place.value: edit}))
        return outputs

    return encode, decode


def read_channels_last(apply_fn: ApplyFn, site: Sites) -> ApplyFn:
    """Returns a model up to a site, with the channels of the activation last.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        site: where the activation is read, an address or a selector of one site.

    Raises:
        AddressError: when called, if the site does not exist.
        AmbiguousAddressError: when called, if there are several such sites.
    """

    @functools.wraps(apply_fn)
    def read(variables: Variables, inputs: Inputs) -> Any:
        traced = trace_call(apply_fn, variables, inputs)
        place = select_one(traced.graph, site)
        return place.channels_last(_read(traced, place))

    return read


def _read(traced: Traced, place: Site) -> Any:
    _, values = traced.run(Changes(captures=frozenset({place.value})))
    return values[place.value]


def check_can_start(graph: Graph, site: Site) -> None:
    """Raises if a model cannot start from the activation at a site.

    Args:
        graph: the traced model.
        site: one of its sites.

    Raises:
        ValueError: if the site is in a loop or branch, where it has several values.
    """
    if site.node.flow.program is not graph.program:
        raise ValueError(
            f"{site.address!r} ({site.node.line})\nis inside a loop or branch "
            "and has no single value that the model could start from.\n"
            "Take a site outside of it; or use `intervene`, whose edit is applied "
            "at every step, or\n`gradient` or `lrp` with `at`, which give one "
            "attribution for each step."
        )
