"""A causal transformer with a gated MLP and norms before, of a bare pytree."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .functions import normal

WIDTH, HEADS, FEATURES, HIDDEN, DEPTH, CLASSES = 4, 2, 3, 5, 2, 3
FLOOR = 1e-3  # added to a variance


def weights() -> dict[str, Any]:
    """Returns the weights of `gated_transformer`."""
    inner = HEADS * FEATURES
    shapes = dict.fromkeys(("q", "k", "v"), (WIDTH, inner))
    shapes |= {"o": (inner, WIDTH), "gate": (WIDTH, HIDDEN), "up": (WIDTH, HIDDEN)}
    shapes |= {"down": (HIDDEN, WIDTH)}

    def layer(seed: int) -> dict[str, Any]:
        dense = {
            name: (
                normal(seed + i, *s) / s[0] ** 0.5,
                0.2 * normal(seed + 50 + i, s[1]),
            )
            for i, (name, s) in enumerate(shapes.items())
        }
        return dense | {"norm": norm(seed + 90), "mlp_norm": norm(seed + 92)}

    def norm(seed: int) -> tuple[Any, Any]:
        return 1 + 0.3 * normal(seed, WIDTH), 0.2 * normal(seed + 1, WIDTH)

    head = normal(500, WIDTH, CLASSES), 0.2 * normal(501, CLASSES)
    layers = [layer(100 * i) for i in range(DEPTH)]
    return {"layers": layers, "norm": norm(502), "head": head}


def as_it_is(x: Any) -> Any:
    """Returns its argument: no derivative is changed."""
    return x


def gated_transformer(
    v: dict[str, Any],
    x: jax.Array,
    stop: Any = as_it_is,
    halve: Any = as_it_is,
    stop_attention: Any = as_it_is,
) -> jax.Array:
    """Returns the logits of features of shape (batch, position, width).

    Args:
        v: the weights.
        x: the features of each position.
        stop: what is done to deviations of norms, and to the sigmoid in a SiLU.
        halve: what is done to each factor of a product.
        stop_attention: what is done to the weights of attention.
    """
    batch, length, _ = x.shape

    def norm(pair: Any, x: jax.Array) -> jax.Array:
        centred = x - x.mean(-1, keepdims=True)
        deviation = jnp.sqrt((centred**2).mean(-1, keepdims=True) + FLOOR)
        return centred / stop(deviation) * pair[0][None, None] + pair[1][None, None]

    def dense(pair: Any, x: jax.Array) -> jax.Array:
        return x @ pair[0] + pair[1][None, None]

    def heads(pair: Any, x: jax.Array) -> jax.Array:
        return dense(pair, x).reshape(batch, length, HEADS, FEATURES)

    sees = np.tril(np.ones((1, 1, length, length), bool))
    for index, layer in enumerate(v["layers"]):
        with jax.named_scope(f"layer_{index}"):
            y = norm(layer["norm"], x)
            q, k, value = (heads(layer[n], y) for n in "qkv")
            q = halve(q * FEATURES**-0.5)
            scores = jnp.einsum("bthf,bshf->bhts", q, halve(k))
            attention = jax.nn.softmax(jnp.where(sees, scores, -jnp.inf))
            attention = stop_attention(attention)
            if stop_attention is as_it_is:
                attention, value = halve(attention), halve(value)
            mixed = jnp.einsum("bhts,bshf->bthf", attention, value)
            x = x + dense(layer["o"], mixed.reshape(batch, length, -1))
            y = norm(layer["mlp_norm"], x)
            gate, up = (dense(layer[n], y) for n in ("gate", "up"))
            gate = gate * stop(jax.nn.sigmoid(gate))
            x = x + dense(layer["down"], halve(gate) * halve(up))
    return norm(v["norm"], x[:, -1:])[:, 0] @ v["head"][0] + v["head"][1][None]
