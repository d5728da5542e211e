r"""Relevance rules for one affine layer and one example, message by message.

A layer is a dense matrix $M$ (`matrix`, outputs x inputs) and a bias $b$; its output is
$z_j = \sum_i c_{ji} + b_j$, where $c_{ji} = M_{ji} x_i$ is what input $i$ contributes
to output $j$. Every rule says which share of the relevance $R_j$ of output $j$ is sent
to input $i$; the relevance of an input is the sum of the messages it receives.

$a^+ = \max(a, 0)$, $a^- = \min(a, 0)$, and $s$ is a stabilizer of `stabilizers.py`. The
conventions are zennit's unless a function is called `innvestigate_*`. To drop the bias
of a layer (zennit's `zero_params="bias"`), pass zeros; `gamma` is the exception.
"""

from collections.abc import Callable

import numpy as np

from .stabilizers import Array, Stabilizer, only_zeros, signed

Rule = Callable[[Array, Array, Array, Array], Array]
SIGNED = signed(1e-6)  # zennit's default
ONLY_ZEROS = only_zeros(1e-7)  # iNNvestigate's


def positive(a: Array) -> Array:
    """Returns the positive part."""
    return np.maximum(a, 0.0)


def negative(a: Array) -> Array:
    """Returns the negative part, which is negative."""
    return np.minimum(a, 0.0)


def share(parts: Array, denominator: Array, relevance: Array) -> Array:
    """Sends `parts[j, i] / denominator[j]` of `relevance[j]` to input `i`."""
    received = np.zeros(parts.shape[1])
    for j in range(parts.shape[0]):
        if relevance[j] != 0:
            received += parts[j] * relevance[j] / denominator[j]
    return received


def epsilon(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
) -> Array:
    r"""LRP-$\epsilon$: $\sum_j c_{ji} R_j / s(z_j)$, Bach et al., 2015, eq. 58.

    With the stabilizer `exact()` it is LRP-0; with `only_zeros()`, iNNvestigate's Z
    rule. On a layer without parameters it is zennit's `Norm`.
    """
    contributions = matrix * x
    z = contributions.sum(axis=1) + bias
    return share(contributions, stabilize(z), relevance)


def gamma(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
    gamma: float = 0.25,
    keep_bias: bool = True,
) -> Array:
    r"""Generalized LRP-$\gamma$: favors contributions of the output's own sign.

    Outputs $z_j > 0$ use $c + \gamma c^+$ and $b + \gamma b^+$, outputs $z_j < 0$ use
    $c + \gamma c^-$ and $b + \gamma b^-$, outputs $z_j = 0$ send nothing. The sign is
    that of the whole output, with its bias, also if `keep_bias` is false.
    """
    contributions = matrix * x
    z = contributions.sum(axis=1) + bias
    b = bias if keep_bias else np.zeros_like(bias)
    toward_positive = contributions + gamma * positive(contributions)
    toward_negative = contributions + gamma * negative(contributions)
    positive_sum = toward_positive.sum(axis=1) + b + gamma * positive(b)
    negative_sum = toward_negative.sum(axis=1) + b + gamma * negative(b)
    return share(
        toward_positive, stabilize(positive_sum), np.where(z > 0, relevance, 0.0)
    ) + share(toward_negative, stabilize(negative_sum), np.where(z < 0, relevance, 0.0))


def alpha_beta(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
    alpha: float = 2.0,
    beta: float = 1.0,
) -> Array:
    r"""LRP-$\alpha\beta$, Bach et al., 2015, eq. 60, with the bias split by its sign.

    $\sum_j (\alpha\, c_{ji}^+ / s(\sum_k c_{jk}^+ + b_j^+) - \beta\, c_{ji}^- /
    s(\sum_k c_{jk}^- + b_j^-)) R_j$.
    """
    contributions = matrix * x
    helping, hindering = positive(contributions), negative(contributions)
    helping_sum = helping.sum(axis=1) + positive(bias)
    hindering_sum = hindering.sum(axis=1) + negative(bias)
    return alpha * share(helping, stabilize(helping_sum), relevance) - beta * share(
        hindering, stabilize(hindering_sum), relevance
    )


def innvestigate_alpha_beta(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = ONLY_ZEROS,
    alpha: float = 2.0,
    beta: float = 1.0,
) -> Array:
    r"""LRP-$\alpha\beta$ as iNNvestigate has it: both denominators have all of $b$."""
    contributions = matrix * x
    helping, hindering = positive(contributions), negative(contributions)
    helping_sum = helping.sum(axis=1) + bias
    hindering_sum = hindering.sum(axis=1) + bias
    return alpha * share(helping, stabilize(helping_sum), relevance) - beta * share(
        hindering, stabilize(hindering_sum), relevance
    )


def z_plus(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
) -> Array:
    r"""The $z^+$ rule for inputs of any sign, written for weights and inputs by sign.

    Montavon et al., 2017, and its mirror image for negative inputs:
    $(x_i^+ M_{ji}^+ + x_i^- M_{ji}^-) / s(\sum_k (x_k^+ M_{jk}^+ + x_k^- M_{jk}^-) +
    b_j^+)$. iNNvestigate's is the same with a bias of zeros and `only_zeros()`.
    """
    parts = np.zeros_like(matrix)
    for j, i in np.argwhere(matrix != 0):
        same_sign = (matrix[j, i] > 0 and x[i] > 0) or (matrix[j, i] < 0 and x[i] < 0)
        parts[j, i] = matrix[j, i] * x[i] if same_sign else 0.0
    return share(parts, stabilize(parts.sum(axis=1) + positive(bias)), relevance)


def z_box(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
    low: float | Array = -1.0,
    high: float | Array = 1.0,
) -> Array:
    r"""The $z^B$ rule for inputs in a box, Montavon et al., 2017.

    Messages are $x_i M_{ji} - l_i M_{ji}^+ - h_i M_{ji}^-$ over their stabilized sum. A
    bias cancels from it: $b - b^+ - b^- = 0$.
    """
    lows, highs = np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape)
    parts = matrix * x - positive(matrix) * lows - negative(matrix) * highs
    rest = bias - positive(bias) - negative(bias)
    return share(parts, stabilize(parts.sum(axis=1) + rest), relevance)


def w_square(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
) -> Array:
    r"""The $w^2$ rule, $M_{ji}^2 / s(\sum_k M_{jk}^2 + b_j^2)$; `x` plays no part.

    The bias is zennit's. Montavon et al., 2017, and iNNvestigate have none: pass
    a bias of zeros.
    """
    del x
    squares = matrix**2
    return share(squares, stabilize(squares.sum(axis=1) + bias**2), relevance)


def flat(
    support: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
) -> Array:
    """The flat rule: every input that is connected to an output gets the same share.

    `support[j, i]` is 1 where a weight, zero or not, connects input `i` to output `j`:
    the layer's matrix with every weight 1. Padding is no input, so borders divide by
    less. The bias and `x` play no part.
    """
    del bias, x
    return share(support, stabilize(support.sum(axis=1)), relevance)


def sign(
    matrix: Array,
    bias: Array,
    x: Array,
    relevance: Array,
    stabilize: Stabilizer = SIGNED,
    mu: float | Array = 0.0,
) -> Array:
    r"""LRP-SIGN, Gumpfer et al., 2023: $M_{ji} / s(z_j)$, plus where $x_i \ge \mu$."""
    thresholds = np.broadcast_to(mu, x.shape)
    z = (matrix * x).sum(axis=1) + bias
    received = share(matrix, stabilize(z), relevance)
    for i in range(x.size):
        if x[i] < thresholds[i]:
            received[i] = -received[i]
    return received


def absolute_ratio(matrix: Array, bias: Array, x: Array, relevance: Array) -> Array:
    r"""Shares by magnitude, $|c_{ji}| / (\sum_k |c_{jk}| + |b_j|)$.

    An output to which nothing contributes sends nothing.
    """
    received = np.zeros(x.shape)
    for j in range(matrix.shape[0]):
        sizes = [abs(matrix[j, i] * x[i]) for i in range(x.size)]
        whole = sum(sizes) + abs(bias[j])
        for i in range(x.size):
            if whole > 0:
                received[i] += sizes[i] / whole * relevance[j]
    return received


def relative_influence(matrix: Array, bias: Array, x: Array, relevance: Array) -> Array:
    r"""RAP, Nam et al., 2020: shares of either sign, then a shift that keeps the sum.

    Positive contributions share $R_j$, negative ones $R_j$ times their part of all
    magnitudes. The surplus is taken from all inputs that got something, in equal parts.
    """
    del bias
    received = np.zeros(x.shape)
    for j in range(matrix.shape[0]):
        parts = [matrix[j, i] * x[i] for i in range(x.size)]
        helping = sum(part for part in parts if part > 0)
        hindering = sum(-part for part in parts if part < 0)
        for i, part in enumerate(parts):
            if part > 0:
                received[i] += part / helping * relevance[j]
            elif part < 0:
                whole = helping + hindering
                received[i] += -part / hindering * (hindering / whole) * relevance[j]
    active = [i for i in range(x.size) if received[i] != 0]
    surplus = received.sum() - relevance.sum()
    for i in active:
        received[i] -= surplus / len(active)
    return received


def batch_norm_three_factors(
    x: Array,
    mean: Array,
    factor: Array,
    shift: Array,
    relevance: Array,
    stabilize: Stabilizer = ONLY_ZEROS,
) -> Array:
    r"""iNNvestigate's rule of a batch norm $y = (x - \mu) w + \beta$, entry by entry.

    $R_x = x\,(y - \beta)\,R / s((x - \mu)\,y)$.
    """
    y = (x - mean) * factor + shift
    return x * (y - shift) * relevance / stabilize((x - mean) * y)


def pass_through(matrix: Array, bias: Array, x: Array, relevance: Array) -> Array:
    """The pass rule: an input gets the relevance of the output in its place."""
    del matrix, bias, x
    return relevance.copy()


def gradient(matrix: Array, bias: Array, x: Array, cotangent: Array) -> Array:
    """No rule: the vector-Jacobian product."""
    del bias, x
    return matrix.T @ cotangent


def ratio_sum(
    left: Array, right: Array, relevance: Array, stabilize: Stabilizer = SIGNED
) -> tuple[Array, Array]:
    """Splits a residual sum in the ratio of its branches, zennit's `Norm`."""
    denominator = stabilize(left + right)
    return left * relevance / denominator, right * relevance / denominator


def absolute_ratio_sum(
    left: Array, right: Array, relevance: Array
) -> tuple[Array, Array]:
    r"""Splits a residual sum as $|a| : |b|$: bounded where the branches cancel.

    Where both branches are zero, nothing is sent.
    """
    to_left, to_right = np.zeros_like(left), np.zeros_like(right)
    for place in np.ndindex(*left.shape):
        a, b = abs(left[place]), abs(right[place])
        if a + b > 0:
            to_left[place] = relevance[place] * a / (a + b)
            to_right[place] = relevance[place] * b / (a + b)
    return to_left, to_right


def per_example(
    rule: Rule, matrix: Array, bias: Array, x: Array, relevance: Array
) -> Array:
    """Applies `rule` to each example of a batch of any shape; returns `x`'s shape."""
    rows = [
        rule(matrix, bias, example.reshape(-1), out.reshape(-1))
        for example, out in zip(x, relevance, strict=True)
    ]
    return np.stack(rows).reshape(x.shape)
