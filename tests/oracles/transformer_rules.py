r"""Relevance through what is in a transformer beside its layers, for one example.

As in Achtibat et al., 2024, propositions 3.1 to 3.4, with denominators left as they
are unless a stabilizer $s$ is given. $R$ is the relevance of the output, $x$ the input.
"""

import numpy as np

from .rules import Array, epsilon
from .stabilizers import Stabilizer, exact

EXACT = exact()


def softmax(x: Array, relevance: Array, stabilize: Stabilizer = EXACT) -> Array:
    r"""Proposition 3.1: $R_i = x_i (R_i - p_i \sum_j R_j)$ for probabilities $p$.

    With a stabilizer each $R_i$ is $p_i R_i / s(p_i)$.
    """
    p = np.exp(x) / np.exp(x).sum()
    relevance = p * relevance / stabilize(p)
    received = np.zeros_like(x)
    for i in range(len(x)):
        received[i] = x[i] * (relevance[i] - p[i] * relevance.sum())
    return received


def elementwise(factors: list[Array], relevance: Array) -> list[Array]:
    r"""Proposition 3.2: each of $N$ factors gets $R / N$."""
    return [relevance / len(factors) for _ in factors]


def matrix_product(
    a: Array, b: Array, relevance: Array, stabilize: Stabilizer = EXACT
) -> tuple[Array, Array]:
    r"""Proposition 3.3: $R_{ji} = \sum_p A_{ji} B_{ip} R_{jp} / (2 s(O_{jp}))$.

    It is the share of the left factor; that of the right one sums over $j$ instead.
    """
    o = stabilize(a @ b)
    left, right = np.zeros_like(a), np.zeros_like(b)
    for j in range(a.shape[0]):
        for i in range(a.shape[1]):
            for p in range(b.shape[1]):
                part = a[j, i] * b[i, p] * relevance[j, p] / (2 * o[j, p])
                left[j, i] += part
                right[i, p] += part
    return left, right


def layer_norm(
    x: Array,
    gain: Array,
    shift: Array,
    variance_floor: float,
    relevance: Array,
    stabilize: Stabilizer = EXACT,
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
    return epsilon(matrix, shift, x, relevance, stabilize)


def identity(relevance: Array) -> Array:
    r"""Proposition 3.4, for $x_i g(x)$: relevance goes on unchanged."""
    return relevance
