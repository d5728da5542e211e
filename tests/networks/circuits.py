"""Networks whose circuits are known: an induction head by hand, gates, a linear net."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.models.architectures.transformer import Transformer
from tests.networks.random_variables import random_variables

VOCABULARY, LENGTH = 16, 8
# What of the residual stream holds the token, the position, the token before, the next.
TOKEN, POSITION, BEFORE, NEXT = (
    slice(0, 16),
    slice(16, 24),
    slice(24, 40),
    slice(40, 56),
)
WIDTH = 56
KERNELS = ("query", "key", "value", "out")


def induction_weights(beta: float = 40.0, gain: float = 1.0) -> dict[str, Any]:
    """Returns the weights of `induction_net`, one layer and head after the other.

    Head 0 of layer 0 copies the token before; head 0 of layer 1 looks for the token
    that had the present one before it, and copies it. The other heads do nothing.

    Args:
        beta: how sharply heads attend.
        gain: the factor of the logits.
    """
    embed = np.zeros((VOCABULARY, WIDTH))
    embed[:, TOKEN] = np.eye(VOCABULARY)
    positions = np.zeros((LENGTH, WIDTH))
    positions[:, POSITION] = np.eye(LENGTH)
    query, key, value, out = (
        np.zeros((2, 2, WIDTH, VOCABULARY)) for _ in range(4)
    )  # layer, head, stream, head width
    query[0, 0, POSITION, :LENGTH] = beta * np.eye(LENGTH, k=-1)
    key[0, 0, POSITION, :LENGTH] = np.eye(LENGTH)
    value[0, 0, TOKEN] = np.eye(VOCABULARY)
    out[0, 0, BEFORE] = np.eye(VOCABULARY)
    query[1, 0, TOKEN] = beta * np.eye(VOCABULARY)
    key[1, 0, BEFORE] = np.eye(VOCABULARY)
    value[1, 0, TOKEN] = np.eye(VOCABULARY)
    out[1, 0, NEXT] = np.eye(VOCABULARY)
    unembed = np.zeros((WIDTH, VOCABULARY))
    unembed[NEXT] = gain * np.eye(VOCABULARY)
    weights = {"query": query, "key": key, "value": value, "out": out}
    return weights | {"embed": embed, "positions": positions, "unembed": unembed}


def induction_net(w: dict[str, Any], tokens: Any) -> Any:
    """Returns logits after each token; `a0/heads` are the heads of layer 0."""
    with jax.named_scope("embed"):
        x = jnp.take(w["embed"], tokens, axis=0) + w["positions"][None]
    length = tokens.shape[1]
    sees = jnp.tril(jnp.ones((length, length), bool))[None, None]
    for layer in range(2):
        with jax.named_scope(f"a{layer}"):
            x = x + _attention({k: w[k][layer] for k in KERNELS}, x, sees)
    with jax.named_scope("logits"):
        return x @ w["unembed"]


def _attention(w: dict[str, Any], x: Any, sees: Any) -> Any:
    def read(name: str) -> Any:
        with jax.named_scope(name):
            return jnp.einsum("bpw,hwd->bphd", x, w[name])

    scores = jnp.einsum("bqhd,bkhd->bhqk", read("query"), read("key"))
    pattern = jax.nn.softmax(jnp.where(sees, scores, -1e30))
    value = read("value")
    with jax.named_scope("heads"):
        heads = jnp.einsum("bhqk,bkhd->bqhd", pattern, value)
    with jax.named_scope("out"):
        return jnp.einsum("bqhd,hwd->bqw", heads, w["out"])


def induction_score(logits: Any, target: Any) -> Any:
    """Returns the last logit of token 0, above the mean of all."""
    return logits[:, -1, 0] - logits[:, -1].mean(axis=-1)


INDUCTION_SOURCES = {"embed": None, "a*/heads": 2}
INDUCTION_DESTINATIONS = {
    "a*/query": 2,
    "a*/key": 2,
    "a*/value": 2,
    "logits": None,
}
CLEAN, CORRUPTED = np.array([[0, 1, 2, 3, 0, 1, 2, 3]]), np.arange(4, 12)[None]


def gate(kind: str, x: Any) -> Any:
    """Returns OR or AND of two inputs, of which the sites are `left` and `right`."""
    with jax.named_scope("left"):
        left = 1.0 * jnp.sin(x[:, 0])
    with jax.named_scope("right"):
        right = 1.0 * jnp.sin(x[:, 1])
    total = left + right
    with jax.named_scope("out"):
        both = jax.nn.relu(total - 1)
        return both if kind == "and" else total - both


def linear_weights(width: int = 16) -> dict[str, Any]:
    """Returns weights of `linear_net`, drawn from N(0, 1 / width)."""
    draw = np.random.default_rng(0).normal
    shapes = {
        "embed": (width, width),
        "head": (2, 2, width, width),
        "mlp": (2, width, width),
        "unembed": (width, 3),
    }
    return {name: draw(size=shape) / width**0.5 for name, shape in shapes.items()}


def linear_net(w: dict[str, Any], x: Any) -> Any:
    """Returns logits of a residual stream with linear heads and a linear MLP."""
    with jax.named_scope("embed"):
        x = x @ w["embed"]
    for layer, head in itertools.product(range(2), range(2)):
        if not head:
            stream = x
        with jax.named_scope(f"read_{layer}_{head}"):
            read = 1.0 * stream + 0.0
        with jax.named_scope(f"head_{layer}_{head}"):
            written = read @ w["head"][layer, head]
        x = x + written
        if head:
            with jax.named_scope(f"mlp_{layer}"):
                change = x @ w["mlp"][layer]
            x = x + change
    with jax.named_scope("logits"):
        return x @ w["unembed"]


DECODER_SOURCES = {
    "residual": None,
    "blocks_*/attention/heads": 2,
    "blocks_*/mlp": None,
}
DECODER_DESTINATIONS = {
    "blocks_*/attention/query": 2,
    "blocks_*/attention/key": -2,
    "blocks_*/attention/value": (2,),
    "blocks_*/mlp_norm": None,
    "lm_head": None,
}


def decoder() -> tuple[Any, Any]:
    """Returns a decoder of two blocks of two heads, and random variables in float64."""
    model = Transformer(
        *(7, 8, 2, 2, 4), mlp_width=6, activation="relu"
    )  # vocabulary, width, depth, heads, max_length
    tokens = np.zeros((1, 4), int)
    return model, random_variables(model, tokens, dtype=np.float64)


def texts(seed: int, count: int = 2) -> np.ndarray:
    """Returns random texts for `decoder`."""
    return np.random.default_rng(seed).integers(7, size=(count, 4))


def last_margin(logits: Any, target: Any) -> Any:
    """Returns the last logit of a token above that of token 0."""
    last = logits[:, -1]
    return jnp.take_along_axis(last, target[:, None], axis=1)[:, 0] - last[:, 0]
