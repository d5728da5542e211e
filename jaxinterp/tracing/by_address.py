"""`ByAddress`: the arrays at some sites, in network order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax

from jaxinterp.tracing.graph import Site


@jax.tree_util.register_pytree_with_keys_class
class ByAddress(Mapping[str, Any]):
    """A mapping from address to array that keeps network order, also through `jit`.

    A site is looked up by its address or by any other name that a selector may match,
    such as the address without the name of the model. It is iterated by addresses.

    Args:
        arrays: the array at each site, by address.
        names: the other names of each site, by address.

    Example:
        >>> arrays = ByAddress({"CNN/Conv_1": jnp.ones(2)}, {"CNN/Conv_1": ("Conv_1",)})
        >>> list(arrays), arrays["Conv_1"].tolist()
        (['CNN/Conv_1'], [1.0, 1.0])
    """

    def __init__(self, arrays: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]):
        self._arrays = dict(arrays)
        self._names = tuple((address, names[address]) for address in self._arrays)
        self._address = {name: a for a, others in self._names for name in others}
        self._address |= {address: address for address in self._arrays}

    @classmethod
    def of(cls, sites: Mapping[str, Site], arrays: Mapping[str, Any]) -> ByAddress:
        """Returns the arrays at some sites, in the order of the sites.

        Args:
            sites: the sites, by address.
            arrays: the array at each of them, by address.
        """
        names = {address: site.names for address, site in sites.items()}
        return cls({address: arrays[address] for address in sites}, names)

    def __getitem__(self, name: str) -> Any:
        return self._arrays[self._address[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arrays!r})"

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """Returns the arrays with their addresses, and all names, for JAX."""
        keys = jax.tree_util.DictKey
        return [(keys(a), x) for a, x in self._arrays.items()], self._names

    @classmethod
    def tree_unflatten(cls, names: Any, arrays: Any) -> ByAddress:
        """Returns the mapping that `tree_flatten_with_keys` took apart.

        Args:
            names: the address and the other names of each site.
            arrays: what stands at each site.
        """
        addresses = (address for address, _ in names)
        return cls(dict(zip(addresses, arrays, strict=True)), dict(names))
