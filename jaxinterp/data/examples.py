"""How every task draws its examples: the i-th depends on `fold_in(key, i)` alone.

So the same key gives the same data, and a smaller set is the beginning of a larger one,
bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import check_integer
from jaxinterp.types import Key

# Examples are drawn in chunks by one compiled program, whatever the size of the set:
# compiling takes seconds, and the last bit of a sine depends on the program around it.
CHUNK = 64


def draw(one: Callable[..., Any], key: Key, count: int, *arrays: Any) -> Any:
    """Draws examples and stacks them.

    Args:
        one: a function `one(key, *arrays)` to a pytree of arrays, one example. It is a
            frozen dataclass: equal settings then share one compiled program.
        key: the random key from which the key of each example is derived.
        count: how many examples to draw.
        *arrays: arrays that every example uses.

    Returns:
        The pytree, with a first axis of length `count` on every leaf.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if `count` is not a positive integer.
    """
    check_key(key)
    check_integer("count", count, smallest=1)
    chunks = [_chunk(one, key, i, *arrays) for i in range(0, count, CHUNK)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *chunks)


@functools.partial(jax.jit, static_argnums=0)
def _chunk(one: Callable[..., Any], key: Key, start: Any, *arrays: Any) -> Any:
    """Draws the examples from `start` on."""

    def example(i: Any) -> Any:
        return one(jax.random.fold_in(key, i), *arrays)

    return jax.vmap(example)(start + jnp.arange(CHUNK, dtype=jnp.int32))


def check_key(key: Key) -> None:
    """Raises unless an argument is a key.

    Args:
        key: a key of `jax.random`.

    Raises:
        TypeError: if the argument is no JAX array.
    """
    if not isinstance(key, jax.Array):
        raise TypeError(
            f"The data are random and need a key, and `key` is {key!r}. Write "
            "`key=jax.random.key(0)`."
        )
