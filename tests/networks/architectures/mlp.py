"""Multilayer perceptrons: in linen, and as a plain function of a list of dicts."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from .architecture import (
    CLASSES,
    Architecture,
    key_of,
    linen_architecture,
    randomize,
    target_of,
    vectors,
)

FEATURES = 12


class Mlp(nn.Module):
    """Dense layers with a relu between them.

    Attributes:
        widths: the size of each layer's output; the last is the number of classes.
    """

    widths: tuple[int, ...] = (16, 12, CLASSES)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        for width in self.widths[:-1]:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x)


def plain_mlp(parameters: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """Returns the logits of an MLP whose weights are a bare pytree."""
    *hidden, last = parameters
    for layer in hidden:
        x = jnp.maximum(x @ layer["kernel"] + layer["bias"][None], 0)
    return x @ last["kernel"] + last["bias"][None]


def _build_plain() -> tuple[Callable[..., Any], Any]:
    widths = (FEATURES, 16, 12, CLASSES)
    shapes = [
        {
            "kernel": jax.ShapeDtypeStruct((fan_in, fan_out), jnp.float32),
            "bias": jax.ShapeDtypeStruct((fan_out,), jnp.float32),
        }
        for fan_in, fan_out in itertools.pairwise(widths)
    ]
    return plain_mlp, randomize(shapes, key_of("plain_mlp"))


ENTRIES = (
    linen_architecture(Mlp(), "mlp", vectors(FEATURES), "dense"),
    Architecture(
        "plain_mlp",
        _build_plain,
        vectors(FEATURES),
        target_of("plain_mlp"),
        tags=frozenset({"dense", "plain"}),
    ),
)
