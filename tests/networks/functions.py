"""Small models for the tests of attribution, as plain functions of bare pytrees."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

CLASSES = 4
BATCH = 3


def normal(seed: int, *shape: int) -> np.ndarray:
    """Returns normal numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def mlp_weights(widths: tuple[int, ...] = (5, 8, 6, CLASSES)) -> list[dict[str, Any]]:
    """Returns the weights of dense layers."""
    return [
        {"w": normal(i, m, n) / m**0.5, "b": 0.3 * normal(100 + i, 1, n)}
        for i, (m, n) in enumerate(itertools.pairwise(widths))
    ]


def mlp(layers: list[dict[str, Any]], x: Any) -> Any:
    """Returns logits: dense layers with a relu between them."""
    *hidden, last = layers
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def unbiased_mlp(layers: list[dict[str, Any]], x: Any) -> Any:
    """Returns logits of the same without biases."""
    *hidden, last = layers
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"])
    return x @ last["w"]


def smooth_mlp(layers: list[dict[str, Any]], x: Any) -> Any:
    """Returns logits: dense layers with a tanh between them."""
    *hidden, last = layers
    for layer in hidden:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def cnn_weights() -> dict[str, Any]:
    """Returns the weights of `cnn`."""
    return {
        "conv": {"w": normal(0, 3, 3, 2, 4) / 4, "b": 0.2 * normal(1, 1, 1, 1, 4)},
        "norm": {"scale": normal(2, 1, 1, 1, 4), "shift": 0.2 * normal(3, 1, 1, 1, 4)},
        "skip": {"w": normal(4, 3, 3, 4, 4) / 6},
        "head": {"w": normal(5, 4, CLASSES), "b": 0.2 * normal(6, 1, CLASSES)},
    }


def convolve(x: Any, kernel: Any) -> Any:
    """Applies a convolution that keeps the size."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", None, None, numbers)


def cnn(v: dict[str, Any], x: Any) -> Any:
    """Returns logits: a convolution with a scale, pooling, a residual sum, a mean."""
    x = convolve(x, v["conv"]["w"]) + v["conv"]["b"]
    x = jax.nn.relu(x * v["norm"]["scale"] + v["norm"]["shift"])
    window = (1, 2, 2, 1)
    x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    x = jax.nn.relu(x + convolve(x, v["skip"]["w"]))
    return x.mean((1, 2)) @ v["head"]["w"] + v["head"]["b"]


def images() -> np.ndarray:
    """Returns a batch for `cnn`."""
    return normal(7, BATCH, 6, 6, 2)


def vectors() -> np.ndarray:
    """Returns a batch for the dense models."""
    return normal(8, BATCH, 5)


def targets() -> np.ndarray:
    """Returns a class for each example."""
    return np.array([1, 3, 0])


def token_weights() -> dict[str, Any]:
    """Returns the weights of `tagger`."""
    return {
        "embed": normal(9, 11, 6),
        "mix": {"w": normal(10, 6, 6) / 2},
        "head": {"w": normal(11, 6, CLASSES)},
    }


def tagger(v: dict[str, Any], tokens: Any) -> Any:
    """Returns logits of a sequence of tokens."""
    with jax.named_scope("embed"):
        x = jnp.take(v["embed"], tokens, axis=0)
    x = jnp.tanh(x @ v["mix"]["w"])
    return x.mean(1) @ v["head"]["w"]


def one_hot_tagger(v: dict[str, Any], tokens: Any) -> Any:
    """Returns logits of a sequence of tokens, by a product instead of a lookup."""
    x = jax.nn.one_hot(tokens, len(v["embed"])) @ v["embed"]
    return jnp.tanh(x @ v["mix"]["w"]).mean(1) @ v["head"]["w"]


def attentive_weights() -> dict[str, Any]:
    """Returns the weights of `attentive`."""
    return {
        "embed": normal(12, 1, 1, 6),
        "places": normal(13, 1, 5, 6),
        "skip": {"w": normal(14, 6, 6) / 4},
        "head": {"w": normal(15, 6, CLASSES)},
    }


def attentive(v: dict[str, Any], x: Any) -> Any:
    """Returns logits of a sequence of five numbers, by two layers of attention."""
    x = x[..., None] * v["embed"] + v["places"][:, : x.shape[1]]
    for _ in range(2):
        scores = jnp.einsum("btd,bsd->bts", x @ v["skip"]["w"], x)
        x = x + jax.nn.softmax(scores) @ x
    return x[:, -1] @ v["head"]["w"]


def tokens() -> np.ndarray:
    """Returns a batch for `tagger`."""
    return np.random.default_rng(12).integers(11, size=(BATCH, 4))


def two_inputs(v: dict[str, Any], x: dict[str, Any]) -> Any:
    """Returns logits of an image and a vector; `unused` has no influence."""
    head = v["mlp"]
    return mlp(head, x["vector"]) + cnn(v["cnn"], x["image"])


def two_weights() -> dict[str, Any]:
    """Returns the weights of `two_inputs`."""
    return {"mlp": mlp_weights(), "cnn": cnn_weights()}


def pair() -> dict[str, np.ndarray]:
    """Returns a batch for `two_inputs`."""
    return {"image": images(), "unused": normal(13, BATCH, 2), "vector": vectors()}
