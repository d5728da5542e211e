"""One random key: what counts as one, and which of its numbers depend on it alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def check_key(call: str, key: Any) -> None:
    """Raises unless this is one random key.

    Args:
        call: the function that it was given to.
        key: what was given.

    Raises:
        TypeError: if it is not.
    """
    is_array = isinstance(key, jax.Array)
    if not is_array or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim:
        raise TypeError(
            f"{call}() is random and needs one key. Write `key=jax.random.key(0)`; "
            f"{key!r} was given."
        )


def steady(key: Any) -> Any:
    """Returns a key of which each number depends on nothing but the key.

    The numbers of `rbg` keys depend on how many are drawn at once, so that pictures
    would depend on their neighbors.

    Args:
        key: of any implementation; one of threefry is returned as it is.
    """
    if str(jax.random.key_impl(key)) in ("threefry2x32", "fry"):
        return key
    return jax.random.key(jax.random.bits(key, (), jnp.uint32), impl="threefry2x32")
