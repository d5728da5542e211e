"""Which sites of a traced model a selector means."""

from __future__ import annotations

from jaxinterp.tracing.errors import AddressError, AmbiguousAddressError
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import Sites


def select(graph: Graph, selector: Sites) -> dict[str, Site]:
    """Returns the sites that a selector means, in network order.

    A glob means activations, and integers or truth values only if it matches nothing
    else. Of a list every entry has to match.

    Args:
        graph: a traced model.
        selector: an address, a glob, a selector or a list of these.

    Returns:
        The sites, by address.

    Raises:
        AddressError: if no site matches; the message lists the nearest addresses.

    Example:
        >>> graph = ji.trace(lambda w, x: jnp.tanh(x), None, jnp.ones((1, 3)))
        >>> list(select(graph, "t*"))
        ['tanh']
    """
    is_meant = as_selector(selector)
    sites = graph.sites
    if isinstance(selector, list | tuple):
        meant = {address for part in selector for address in select(graph, part)}
        return {address: site for address, site in sites.items() if address in meant}
    if isinstance(selector, str):
        for address, site in sites.items():
            if selector in site.names:
                return {address: site}
    matches = {address: site for address, site in sites.items() if is_meant(site)}
    if isinstance(selector, str):  # a glob does not mean the arithmetic of indices
        real = {a: s for a, s in matches.items() if s.value.is_inexact}
        matches = real or matches
    if not matches:
        raise AddressError(is_meant, sites)
    return matches


def select_one(graph: Graph, selector: Sites) -> Site:
    """Returns the one site that a selector means.

    Args:
        graph: a traced model.
        selector: an address, or anything that matches a single site.

    Raises:
        AddressError: if nothing matches.
        AmbiguousAddressError: if several sites match.
    """
    matches = select(graph, selector)
    if len(matches) > 1:
        raise AmbiguousAddressError(selector, matches)
    return next(iter(matches.values()))
