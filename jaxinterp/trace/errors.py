"""The errors of tracing: what was asked, what was found, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AddressError(ValueError):
    """An address or selector matches no site."""

    def __init__(self, selector: object, addresses: Iterable[str]):
        addresses = list(addresses)
        asked = getattr(selector, "pattern", str(selector))
        near = difflib.get_close_matches(asked, addresses, n=5, cutoff=0.3)
        tail = asked.rsplit("/", 1)[-1].strip("*")
        near += [a for a in addresses if tail and tail in a and a not in near][:3]
        shown = "\n".join(f"    {a}" for a in (near or addresses[:8]))
        super().__init__(
            f"No site matches {asked!r}. The nearest of {len(addresses)} addresses:\n"
            f"{shown}\n"
            "`print(jaxinterp.trace(apply_fn, variables, inputs))` lists them all."
        )


class AmbiguousAddressError(ValueError):
    """An address that must be one site matches several."""

    def __init__(self, selector: object, matches: Iterable[str]):
        matches = list(matches)
        shown = "\n".join(f"    {a}" for a in matches[:8])
        super().__init__(
            f"One site is needed here, and {selector} matches {len(matches)}:\n"
            f"{shown}\n"
            f"Write one of them, such as {matches[0]!r}."
        )


class EditError(ValueError):
    """An edit of `intervene` returns what cannot take the activation's place."""

    def __init__(self, address: str, expected: str, found: str):
        super().__init__(
            f"The edit at {address!r} must return an array like the activation it is\n"
            f"given, {expected}, and returned {found}.\n"
            "Write for example `lambda activation: jnp.zeros_like(activation)`."
        )
