r"""Path integrals and noise averages of an attribution, one gradient at a time.

`gradient(x)` is the gradient of a number per example with respect to one batch `x`.
"""

from collections.abc import Callable

import numpy as np

from .stabilizers import Array


def quadrature(method: str, steps: int) -> tuple[Array, Array]:
    r"""Returns nodes $t_k$ and weights $w_k$: $\int_0^1 g \approx \sum_k w_k g(t_k)$.

    All weights add up to 1. `trapezoid` has `steps` nodes including both ends, thus
    `steps - 1` intervals (captum divides by `steps` instead, and its integral of a
    constant is too small).
    """
    k = np.arange(steps, dtype=np.float64)
    equal = np.full(steps, 1.0 / steps)
    if method == "riemann_left":
        return k / steps, equal
    if method == "riemann_right":
        return (k + 1) / steps, equal
    if method == "riemann_middle":
        return (k + 0.5) / steps, equal
    if method == "trapezoid":
        weights = np.full(steps, 1.0 / (steps - 1))
        weights[[0, -1]] /= 2
        return k / (steps - 1), weights
    if method == "gausslegendre":  # the textbook's interval is [-1, 1]
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    raise ValueError(f"unknown quadrature {method!r}")


def integrated_gradients(
    gradient: Callable[[Array], Array],
    x: Array,
    baseline: float | Array,
    nodes: Array,
    weights: Array,
) -> Array:
    r"""$(x - b) \sum_k w_k \nabla f(b + t_k (x - b))$, Sundararajan et al., 2017."""
    total = np.zeros_like(x)
    for node, weight in zip(nodes, weights, strict=True):
        total += weight * gradient(baseline + node * (x - baseline))
    return (x - baseline) * total


def idgi(
    f: Callable[[Array], float],
    gradient: Callable[[Array], Array],
    x: Array,
    baseline: Array,
    steps: int,
) -> Array:
    """Yang et al., 2023, algorithm 1, of one example; gradients in mid-step."""
    total = np.zeros_like(x)
    for k in range(steps):
        here = baseline + k / steps * (x - baseline)
        there = baseline + (k + 1) / steps * (x - baseline)
        g = gradient((here + there) / 2)
        total += g * g * (f(there) - f(here)) / np.sum(g * g)
    return total


def noise_scale(x: Array, level: float) -> Array:
    """Returns `level` times each example's range, in a shape that broadcasts to `x`."""
    scales = [level * (example.max() - example.min()) for example in x]
    return np.reshape(scales, (-1, *(1,) * (x.ndim - 1)))


def smooth(samples: Array, statistic: str = "mean") -> Array:
    r"""Summarizes attributions of noisy inputs, `samples[k]` being those of sample $k$.

    `mean` is SmoothGrad, `mean_square` SmoothGrad-squared, and `variance` VarGrad: the
    mean squared distance to the mean (divided by the number of samples, not one less).
    """
    count = len(samples)
    mean = np.zeros_like(samples[0])
    mean_square = np.zeros_like(samples[0])
    for sample in samples:
        mean += sample / count
        mean_square += sample**2 / count
    if statistic == "mean":
        return mean
    if statistic == "mean_square":
        return mean_square
    if statistic == "variance":
        variance = np.zeros_like(mean)
        for sample in samples:
            variance += (sample - mean) ** 2 / count
        return variance
    raise ValueError(f"unknown statistic {statistic!r}")
