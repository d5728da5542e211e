"""What an entry of the table is, and how its random weights are drawn.

Weights are never initialized by the model: only their shapes are taken from it, and
`randomize` fills them, so that no bias is zero, no batch statistic is trivial and some
scales are negative. An explanation that is wrong about any of these then fails.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

BATCH = 2
CLASSES = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Architecture:
    """A small model with random weights, and a batch to explain.

    Attributes:
        name: unique, in snake case.
        build: returns `(apply_fn, variables)`; every call returns the same weights.
        inputs: returns the batch: two signed images or sequences, or integer tokens.
        target: the class to explain, one per example.
        token_site_hint: a glob of the embedding, if the inputs are integers.
        tags: what the model has: "cnn", "attention", "recurrent", "tokens", ...
    """

    name: str
    build: Callable[[], tuple[Callable[..., Any], Any]]
    inputs: Callable[[], jax.Array]
    target: np.ndarray
    token_site_hint: str | None = None
    tags: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Returns the name, which is how pytest labels a test of this entry."""
        return self.name


def linen_architecture(
    module: nn.Module,
    name: str,
    inputs: Callable[[], jax.Array],
    *tags: str,
    token_site_hint: str | None = None,
) -> Architecture:
    """Returns the entry of a linen module."""

    def build() -> tuple[Callable[..., Any], Any]:
        key = key_of(name)
        shapes = jax.eval_shape(module.init, key, inputs())
        return module.apply, randomize(shapes, key)

    return Architecture(
        name, build, inputs, target_of(name), token_site_hint, frozenset(tags)
    )


def key_of(name: str) -> jax.Array:
    """Returns the random key that belongs to `name`."""
    return jax.random.key(zlib.crc32(name.encode()))


def target_of(name: str) -> np.ndarray:
    """Returns two different classes."""
    first = zlib.crc32(name.encode()) % CLASSES
    return np.array([first, (first + 2) % CLASSES], np.int32)


def randomize(variables: Any, key: jax.Array) -> Any:
    """Returns `variables` with every leaf replaced by signed random values.

    Kernels get He's scale; a fourth of the scales (batch norm, layer norm, layer
    scale) are negative; variances are positive. Leaves may be arrays or anything with
    a shape and a dtype; only floating ones change.

    Args:
        variables: any pytree; what a leaf is, is read from its name.
        key: the same key gives the same weights, whether or not float64 is enabled.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
    sizes = [math.prod(leaf.shape) for _, leaf in leaves]
    # One draw for all: a draw per leaf would compile one program per shape.
    noise = np.asarray(jax.random.normal(key, (sum(sizes),), jnp.float32))
    parts = np.split(noise, np.cumsum(sizes)[:-1])
    return jax.tree_util.tree_unflatten(
        structure,
        [
            jnp.asarray(_values(_names(path), part.reshape(leaf.shape)), leaf.dtype)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
            for (path, leaf), part in zip(leaves, parts, strict=True)
        ],
    )


def _names(path: tuple[Any, ...]) -> list[str]:
    """Returns the names along a path, without NNX's `.value`."""
    keys = [jax.tree_util.keystr((entry,), simple=True) for entry in path]
    return [key for key in keys if key not in {"value", "raw_value"}]


def _values(names: list[str], noise: np.ndarray) -> np.ndarray:
    """Returns standard normal `noise` brought to the scale of the leaf `names`."""
    match names[-1]:
        case "kernel":
            return noise * math.sqrt(2 / _fan_in(names, noise.shape))
        case "var":
            return np.exp(0.3 * noise)
        case "scale":
            signs = np.where(np.arange(noise.size) % 4 == 3, -1, 1)
            return signs.reshape(noise.shape) * np.exp(0.2 * noise)
        case "bias" | "mean":
            return 0.2 * noise
        case "embedding" | "token" | "positions":
            return 0.7 * noise
        case name:
            raise ValueError(f"No scale is known for a leaf named {name!r}.")


def _fan_in(names: list[str], shape: tuple[int, ...]) -> int:
    """Returns how many inputs each output of a kernel sums."""
    if {"query", "key", "value"} & set(names[-2:]):
        return shape[0]
    return math.prod(shape[:-1])


def as_dtype(tree: Any, dtype: Any) -> Any:
    """Returns `tree` with its floating leaves in `dtype`; integers stay as they are."""
    return jax.tree.map(
        lambda leaf: (
            leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
        ),
        tree,
    )


def images(size: int, channels: int = 3) -> Callable[[], jax.Array]:
    """Returns a maker of signed images of shape `(2, size, size, channels)`."""
    return _normal(BATCH, size, size, channels)


def sequences(length: int, features: int) -> Callable[[], jax.Array]:
    """Returns a maker of signed sequences of shape `(2, length, features)`."""
    return _normal(BATCH, length, features)


def vectors(features: int) -> Callable[[], jax.Array]:
    """Returns a maker of signed vectors of shape `(2, features)`."""
    return _normal(BATCH, features)


def tokens(length: int, vocabulary: int) -> Callable[[], jax.Array]:
    """Returns a maker of integers below `vocabulary`, of shape `(2, length)`."""

    def make() -> jax.Array:
        key = jax.random.key(1)
        return jax.random.randint(key, (BATCH, length), 0, vocabulary, jnp.int32)

    return make


def _normal(*shape: int) -> Callable[[], jax.Array]:
    def make() -> jax.Array:
        return jax.random.normal(jax.random.key(0), shape, jnp.float32)

    return make
