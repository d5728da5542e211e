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

from jaxinterp.checks import checked_integer
from jaxinterp.keys import check_key

# Examples are drawn in chunks by one compiled program, whatever the size of the set:
# compiling takes seconds, and the last bit of a sine depends on the program around it.
CHUNK = 64


def draw(call: str, one: Callable[..., Any], key: Any, count: int, *arrays: Any) -> Any:
    """Draws examples and stacks them.

    Args:
        call: the name of the function that the user called, for the messages.
        one: a function `one(key, *arrays) -> pytree of arrays` that draws one example.
            It is a frozen dataclass: equal settings then share one compiled program.
        key: the random key from which the key of each example is derived.
        count: the number of examples.
        *arrays: arrays that all examples share.

    Returns:
        The pytree, with a first axis of length `count` on every leaf.

    Raises:
        TypeError: if `key` is no random key.
        ValueError: if `count` is not a positive integer.
    """
    check_key(call, key)
    count = checked_integer("count", count, 1, call=call)
    chunks = [_chunk(one, key, i, *arrays) for i in range(0, count, CHUNK)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *chunks)


@functools.partial(jax.jit, static_argnums=0)
def _chunk(one: Callable[..., Any], key: Any, start: Any, *arrays: Any) -> Any:
    """Draws the examples from number `start` on."""

    def example(i: Any) -> Any:
        return one(jax.random.fold_in(key, i), *arrays)

    return jax.vmap(example)(start + jnp.arange(CHUNK, dtype=jnp.int32))
