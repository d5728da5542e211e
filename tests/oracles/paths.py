r"""Path integrals and noise averages of an attribution, one gradient at a time.

`gradient(x)` is the gradient of a number per example with respect to one batch `x`.
"""

import itertools
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


def guided_path(
    gradient: Callable[[Array], Array],
    x: Array,
    baseline: Array,
    steps: int,
    fraction: float,
    max_distance: float,
) -> list[Array]:
    """Kapishnikov et al., 2021, algorithm 1, of one example: the points of the path.

    Of the entries that may still move, those up to the quantile of the sizes of all
    gradients move together, where the others have an infinite one.
    """
    whole = np.abs(x - baseline).sum()
    points = [baseline.copy()]
    for k in range(1, steps + 1):
        point = points[-1].copy()
        g = np.abs(gradient(point))
        lowest = baseline + max(k / steps - max_distance, 0) * (x - baseline)
        highest = baseline + min(k / steps + max_distance, 1) * (x - baseline)
        for i in range(len(x)):
            if abs(point[i] - x[i]) > abs(lowest[i] - x[i]):
                point[i] = lowest[i]
        while True:
            excess = np.abs(x - point).sum() - whole * (1 - k / steps)
            free = [i for i in range(len(x)) if point[i] != highest[i]]
            if abs(excess) <= 1e-12 * whole or not free:
                break
            sizes = np.array([g[i] if i in free else np.inf for i in range(len(x))])
            limit = np.quantile(sizes, fraction, method="lower")
            chosen = [i for i in free if sizes[i] <= limit]
            share = excess / sum(abs(highest[i] - point[i]) for i in chosen)
            for i in chosen:
                rest = highest[i] - point[i]
                point[i] = highest[i] if share >= 1 else point[i] + share * rest
            if share <= 1:
                break
        points.append(point)
    return points


def along(gradient: Callable[[Array], Array], points: list[Array]) -> Array:
    """The integral of the slope along a path of straight parts, by trapezoids."""
    total = np.zeros_like(points[0])
    for here, there in itertools.pairwise(points):
        total += (there - here) * (gradient(here) + gradient(there)) / 2
    return total


def integrated_hessians(
    gradient: Callable[[Array], Array], x: Array, baseline: Array, nodes: int
) -> Array:
    """Janizek et al., 2021, by a double integral, with Hessians by differences."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    places, weights = (places + 1) / 2, weights / 2
    d, size = x - baseline, len(x)
    result = np.zeros((size, size))
    for a, wa in zip(places, weights, strict=True):
        for b, wb in zip(places, weights, strict=True):
            point = baseline + a * b * d
            for i in range(size):
                step = np.zeros(size)
                step[i] = 1e-5
                rises = (gradient(point + step) - gradient(point - step)) / 2e-5
                for j in range(size):
                    result[i, j] += wa * wb * a * b * d[i] * d[j] * rises[j]
                result[i, i] += wa * wb * d[i] * gradient(point)[i]
    return result


def blurred(x: Array, sigma: float, axes: tuple[int, ...]) -> Array:
    """A Gaussian blur with zeros beyond the edges, one weight at a time."""
    reach = int(12 * sigma) + 2
    whole = sum(np.exp(-(d**2) / (2 * sigma**2)) for d in range(-reach, reach + 1))
    for axis in axes:
        x = np.moveaxis(x, axis, 0)
        result = np.zeros_like(x)
        for i in range(len(x)):
            for j in range(len(x)):
                result[i] += np.exp(-((i - j) ** 2) / (2 * sigma**2)) / whole * x[j]
        x = np.moveaxis(result, 0, axis)
    return x


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


def low_pass(values: Array, cutoff: float) -> Array:
    """The frequencies of an image up to a limit, one wave at a time."""
    height, width = values.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    result = np.zeros((height, width), complex)
    for k in range(-((height - 1) // 2), height // 2 + 1):
        for m in range(-((width - 1) // 2), width // 2 + 1):
            if np.hypot(k, m) <= cutoff:
                wave = np.exp(2j * np.pi * (k * rows / height + m * columns / width))
                result += (values * wave.conj()).sum() / values.size * wave
    return result.real


def densest_first(values: Array, regions: list[set], smallest: int) -> Array:
    """Kapishnikov et al., 2019: regions by the mean of their new pixels, in order."""
    result = np.full(values.shape, np.nan)
    free = set(np.ndindex(*values.shape))
    remaining = list(regions)
    while remaining:
        remaining = [r for r in remaining if len(r & free) >= smallest]
        if not remaining:
            break
        means = [np.mean([values[p] for p in r & free]) for r in remaining]
        best = remaining.pop(int(np.argmax(means)))
        for p in best & free:
            result[p] = max(means)
        free -= best
    for p in free:
        result[p] = np.mean([values[q] for q in free])
    return result
