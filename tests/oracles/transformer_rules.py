r"""Relevance through what is in a transformer beside its layers, for one example.

As in Achtibat et al., 2024, propositions 3.1 to 3.4, with denominators left as they
are. $R$ is the relevance of the output, $x$ the input.
"""

import numpy as np

from .rules import Array, epsilon
from .stabilizers import exact


def softmax(x: Array, relevance: Array) -> Array:
    r"""Proposition 3.1: $R_i = x_i (R_i - s_i \sum_j R_j)$."""
    s = np.exp(x) / np.exp(x).sum()
    received = np.zeros_like(x)
    for i in range(len(x)):
        received[i] = x[i] * (relevance[i] - s[i] * relevance.sum())
    return received


def elementwise(factors: list[Array], relevance: Array) -> list[Array]:
    r"""Proposition 3.2: each of $N$ factors gets $R / N$."""
    return [relevance / len(factors) for _ in factors]


def matrix_product(a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
    r"""Proposition 3.3: $R_{ji} = \sum_p A_{ji} B_{ip} R_{jp} / (2 O_{jp})$.

    It is the share of the left factor; that of the right one sums over $j$ instead.
    """
    o = a @ b
    left, right = np.zeros_like(a), np.zeros_like(b)
    for j in range(a.shape[0]):
        for i in range(a.shape[1]):
            for p in range(b.shape[1]):
                part = a[j, i] * b[i, p] * relevance[j, p] / (2 * o[j, p])
                left[j, i] += part
                right[i, p] += part
    return left, right


def layer_norm(
    x: Array, gain: Array, shift: Array, variance_floor: float, relevance: Array
) -> Array:
    r"""Epsilon at the map $z = M x + \beta$ that it is for a fixed $\sigma$.

    $M_{ji} = \gamma_j (\delta_{ji} - 1/n) / \sigma$.
    """
    n = len(x)
    variance = ((x - x.sum() / n) ** 2).sum() / n
    sigma = np.sqrt(variance + variance_floor)
    matrix = np.zeros((n, n))
    for j in range(n):
        for i in range(n):
            matrix[j, i] = gain[j] * (float(i == j) - 1 / n) / sigma
    return epsilon(matrix, shift, x, relevance, exact())


def identity(relevance: Array) -> Array:
    r"""Proposition 3.4, for $x_i g(x)$: relevance goes on unchanged."""
    return relevance
