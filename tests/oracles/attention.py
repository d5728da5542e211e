"""A transformer of attention alone, and maps of its attention, as in the papers."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def transformer(
    layers: list[dict[str, Array]], x: Array, changed: dict[tuple[int, int], Array]
) -> tuple[list[Array], Array]:
    """Of one example: the attention of each layer, and the features at its end.

    Args:
        layers: for each layer the kernels `q`, `k`, `v` (width, head, features) and `o`
            (head, features, width).
        x: the features of each position.
        changed: the attention of some layers and heads, in place of their own.
    """
    attention = []
    for number, layer in enumerate(layers):
        n, heads = len(x), layer["q"].shape[1]
        matrices = np.zeros((heads, n, n))
        written = np.zeros(x.shape)
        for h in range(heads):
            query, key, value = (x @ layer[name][:, h] for name in "qkv")
            for t in range(n):
                scores = np.exp([query[t] @ key[s] for s in range(t + 1)])
                matrices[h, t, : t + 1] = scores / scores.sum()
            matrices[h] = changed.get((number, h), matrices[h])
            written += matrices[h] @ value @ layer["o"][h]
        attention.append(matrices)
        x = x + written
    return attention, x


def rollout(attention: list[Array]) -> Array:
    """Abnar and Zuidema, 2020, section 3."""
    n = attention[0].shape[-1]
    result = np.eye(n)
    for matrices in attention:
        raw = 0.5 * sum(matrices) / len(matrices) + 0.5 * np.eye(n)
        for row in raw:
            row /= row.sum()
        result = raw @ result
    return result


def slopes(
    layers: Any, x: Any, score: Callable[[Array], float], run: Any = transformer
) -> list[Array]:
    """The gradient of a score in each attention weight, by central differences."""
    attention, _ = run(layers, x, {})
    result = [np.zeros(matrices.shape) for matrices in attention]
    for number, matrices in enumerate(attention):
        for h, t, s in np.ndindex(*matrices.shape):
            values = []
            for step in (1e-5, -1e-5):
                other = matrices[h].copy()
                other[t, s] += step
                values.append(score(run(layers, x, {(number, h): other})[1]))
            result[number][h, t, s] = (values[0] - values[1]) / 2e-5
    return result


def attention_grad(attention: list[Array], slopes: list[Array]) -> Array:
    """Attention times gradient, summed over layers and heads."""
    result = np.zeros(attention[0].shape[1:])
    for matrices, slope in zip(attention, slopes, strict=True):
        for h in range(len(matrices)):
            result += matrices[h] * slope[h]
    return result


def attention_grad_rollout(attention: list[Array], slopes: list[Array]) -> Array:
    """Chefer et al., 2021, eqs. 5 and 6, without the identity it starts from."""
    n = attention[0].shape[-1]
    result = np.eye(n)
    for matrices, slope in zip(attention, slopes, strict=True):
        heads = [np.maximum(a * g, 0) for a, g in zip(matrices, slope, strict=True)]
        result = result + sum(heads) / len(heads) @ result
    return result - np.eye(n)


# --- An encoder and its decoder -------------------------------------------------------

# For each layer which positions read and which are read: 0 of the encoder, 1 of the
# decoder.
KINDS = ((0, 0), (0, 0), (1, 1), (1, 0), (1, 1), (1, 0))


def encoder_decoder(
    layers: list[dict[str, Array]],
    inputs: tuple[Array, Array],
    changed: dict[tuple[int, int], Array],
) -> tuple[list[Array], Array]:
    """Of one example: the attention of each layer, and the features of the decoder.

    Args:
        layers: kernels as of `transformer`, one layer for each of `KINDS`.
        inputs: the features of the positions of the encoder, and of the decoder.
        changed: the attention of some layers and heads, in place of their own.
    """
    streams, attention = list(inputs), []
    for number, (layer, (t, s)) in enumerate(zip(layers, KINDS, strict=True)):
        readers, read = streams[t], streams[s]
        matrices = []
        for h in range(layer["q"].shape[1]):
            query = readers @ layer["q"][:, h]
            key, value = (read @ layer[name][:, h] for name in "kv")
            scores = np.exp(query @ key.T)
            own = scores / scores.sum(-1, keepdims=True)
            matrices.append(changed.get((number, h), own))
            streams[t] = streams[t] + matrices[h] @ value @ layer["o"][h]
        attention.append(np.stack(matrices))
    return attention, streams[1]


def streams_rollout(attention: list[Array], slopes: list[Array]) -> list[Array]:
    """Chefer et al., 2021, eqs. 5 to 11: of the decoder what is read of both kinds."""
    sizes = attention[3].shape[2], attention[3].shape[1]
    relevance = {(k, k): np.eye(sizes[k]) for k in (0, 1)}
    relevance[1, 0] = np.zeros((sizes[1], sizes[0]))
    for matrices, slope, (t, s) in zip(attention, slopes, KINDS, strict=True):
        heads = [np.maximum(a * g, 0) for a, g in zip(matrices, slope, strict=True)]
        layer = sum(heads) / len(heads)
        if t == s == 0:
            relevance[0, 0] = relevance[0, 0] + layer @ relevance[0, 0]
        elif t == s:
            own, other = layer @ relevance[1, 1], layer @ relevance[1, 0]
            relevance[1, 1] = relevance[1, 1] + own
            relevance[1, 0] = relevance[1, 0] + other
        else:
            back, read = (_unit_rows(relevance[k, k]) for k in (1, 0))
            relevance[1, 0] = relevance[1, 0] + back.T @ layer @ read
    return [relevance[1, 0], relevance[1, 1] - np.eye(sizes[1])]


def _unit_rows(relevance: Array) -> Array:
    """Equations 8 and 9; rows of zeros stay as they are."""
    result = np.eye(len(relevance))
    for row, own in zip(result, relevance - np.eye(len(relevance)), strict=True):
        if own.sum() > 0:
            row += own / own.sum()
    return result
