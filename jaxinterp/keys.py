"""One random key: what counts as one, and the keys that are derived from it.

No result may depend on how the work was divided. So the random numbers of a sample come
from a key into which the integers that identify this sample were folded, and never from
a key that goes from one sample to the next.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def check_key(call: str, key: Any) -> None:
    """Raises unless an argument is one random key, as `jax.random.key` makes it.

    Arrays of keys and the older keys of `jax.random.PRNGKey`, which are arrays of
    integers, are none.

    Args:
        call: the name of the function that was called.
        key: the argument that is checked.

    Raises:
        TypeError: if the argument is no such key.

    Example:
        >>> check_key("noise", jax.random.key(0))
    """
    is_array = isinstance(key, jax.Array)
    if not is_array or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim:
        value = f"{key.dtype}{list(key.shape)}" if is_array else repr(key)
        raise TypeError(
            f"{call}() is random and needs one key. Write `key=jax.random.key(0)`; "
            f"{value} was given."
        )


def steady(key: Any) -> Any:
    """Returns a key whose random numbers depend on nothing but the key.

    The numbers of `rbg` keys depend on how many are drawn at once, so that an image
    would depend on its neighbors.

    Args:
        key: a key of any implementation; one of threefry is returned as it is.
    """
    if str(jax.random.key_impl(key)) in ("threefry2x32", "fry"):
        return key
    return jax.random.key(jax.random.bits(key, (), jnp.uint32), impl="threefry2x32")


def folded(key: Any, *integers: Any) -> Any:
    """Returns the key of the sample that some integers identify.

    Args:
        key: the key of all samples.
        *integers: the numbers that identify the sample, such as the number of the
            example and that of the step; their order matters.

    Example:
        >>> key = jax.random.key(0)
        >>> twice = jax.random.fold_in(jax.random.fold_in(key, 3), 5)
        >>> bool(folded(key, 3, 5) == twice)
        True
    """
    for integer in integers:
        key = jax.random.fold_in(key, integer)
    return key


def each_folded(key: Any, integers: Any) -> Any:
    """Returns the key of each of several samples, `(samples,)`.

    Args:
        key: the key of all samples.
        integers: the integer that identifies each sample, `(samples,)`.

    Example:
        >>> keys = each_folded(jax.random.key(0), jnp.arange(3))
        >>> bool(keys[2] == folded(jax.random.key(0), 2))
        True
    """
    return jax.vmap(lambda integer: jax.random.fold_in(key, integer))(integers)
