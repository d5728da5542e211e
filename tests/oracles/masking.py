"""Occlusion, local linear models and class activation maps, literally from the papers.

`f` is a function of one example, an array `(*positions, channels)` or a vector.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Function = Callable[[Array], float]


def starts(length: int, size: int, stride: int) -> list[int]:
    """Where a window starts: every `stride` positions, and last where it just fits."""
    regular = [s for s in range(0, length, stride) if s + size <= length]
    return sorted({*regular, length - size})


def occlusion(f: Function, x: Array, size: int, stride: int, baseline: Array) -> Array:
    """The mean drop per entry over all windows that cover an entry."""
    lengths = x.shape[:-1] if x.ndim > 1 else x.shape
    sums, counts = np.zeros(x.shape), np.zeros(x.shape)
    for first in np.ndindex(*[len(starts(n, size, stride)) for n in lengths]):
        corner = [
            starts(n, size, stride)[k] for n, k in zip(lengths, first, strict=True)
        ]
        window = tuple(slice(c, c + size) for c in corner)
        hidden = x.copy()
        hidden[window] = baseline[window]
        sums[window] += (f(x) - f(hidden)) / x[window].size
        counts[window] += 1
    return sums / counts


def ablation(f: Function, x: Array, segments: Array, fillings: list[Array]) -> Array:
    """The mean drop with each segment of other arrays, one value a segment."""
    drops = np.zeros(segments.max() + 1)
    for segment in range(len(drops)):
        for filling in fillings:
            changed = x.copy()
            for index in np.argwhere(segments == segment):
                changed[tuple(index)] = filling[tuple(index)]
            drops[segment] += (f(x) - f(changed)) / len(fillings)
    return drops


def total_index(estimator: str, a: Array, b: Array, c: Array) -> float:
    """The total Sobol index of one feature, from values at A, B and C of one column.

    Jansen, 1999; Homma and Saltelli, 1996; Janon et al., 2014; Glen and Isaacs, 2012;
    Saltelli et al., 2008, with A and B exchanged. Means and variances are those of both
    samples where a paper leaves open which, and values are taken from the mean of both.
    """
    n = len(a)
    both = np.concatenate([a, b])
    a, b, c, both = (x - both.mean() for x in (a, b, c, both))
    total = sum(y**2 for y in both) / (2 * n)
    product = sum(y * z for y, z in zip(a, c, strict=True)) / n
    if estimator == "jansen":
        return sum((y - z) ** 2 for y, z in zip(a, c, strict=True)) / (2 * n) / total
    if estimator == "homma":
        return (total - product + both.mean() ** 2) / total
    if estimator == "janon":
        center = sum(y + z for y, z in zip(a, c, strict=True)) / (2 * n)
        squares = sum(y**2 + z**2 for y, z in zip(a, c, strict=True)) / (2 * n)
        return 1 - (product - center**2) / (squares - center**2)
    if estimator == "glen":
        return 1 - np.corrcoef(a, c)[0, 1]
    square = (sum(b) / n) ** 2
    return 1 - (product - square) / (sum(y**2 for y in b) / n - square)


def hsic(kept: Array, values: Array, width: float) -> float:
    """Gretton et al., 2005, by the trace, of one binary and one real variable."""
    n = len(values)
    of_masks, of_values = np.zeros((n, n)), np.zeros((n, n))
    for k, m in np.ndindex(n, n):
        of_masks[k, m] = kept[k] == kept[m]
        of_values[k, m] = np.exp(-((values[k] - values[m]) ** 2) / (2 * width**2))
    center = np.eye(n) - np.ones((n, n)) / n
    return np.trace(of_masks @ center @ of_values @ center) / n**2


def ridge(z: Array, y: Array, w: Array, penalty: float) -> tuple[Array, float]:
    """The normal equations, of a design with a column of ones that is not penalized."""
    full = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    left = full.T @ np.diag(w) @ full
    left[:-1, :-1] += penalty * np.eye(z.shape[1])
    solution = np.linalg.solve(left, full.T @ np.diag(w) @ y)
    return solution[:-1], solution[-1]


def lime(masks: Array, values: Array, width: float, penalty: float) -> Array:
    """Ribeiro et al., 2016, eq. 2, with the cosine distance between masks."""
    weights = np.zeros(len(masks))
    for k, mask in enumerate(masks.astype(float)):
        ones = np.ones(len(mask))
        norms = np.linalg.norm(mask) * np.linalg.norm(ones)
        distance = 1 - (mask @ ones / norms if norms else 0)
        weights[k] = np.exp(-(distance**2) / width**2)
    return ridge(masks.astype(float), values, weights, penalty)[0]


def slopes_of(f: Function, activation: Array) -> Array:
    """The gradient of a function of an array, by central differences."""
    slopes = np.zeros(activation.shape)
    for index in np.ndindex(*activation.shape):
        step = np.zeros(activation.shape)
        step[index] = 1e-5
        slopes[index] = (f(activation + step) - f(activation - step)) / 2e-5
    return slopes


def grad_cam(f: Function, activation: Array) -> Array:
    """Selvaraju et al., 2017, eqs. 1 and 2."""
    slopes = slopes_of(f, activation)
    result = np.zeros(activation.shape[:-1])
    for channel in range(activation.shape[-1]):
        result += slopes[..., channel].mean() * activation[..., channel]
    return np.maximum(result, 0)


def grad_cam_plus_plus(f: Function, activation: Array) -> Array:
    """Chattopadhay et al., 2018, of the exponential of the score."""
    slopes = slopes_of(f, activation)
    result = np.zeros(activation.shape[:-1])
    for channel in range(activation.shape[-1]):
        g, a = slopes[..., channel], activation[..., channel]
        weight = 0.0
        for place in np.ndindex(*g.shape):
            share = g[place] ** 2 / (2 * g[place] ** 2 + a.sum() * g[place] ** 3)
            weight += share * max(g[place], 0)
        result += weight * a
    return np.maximum(result, 0)


def x_grad_cam(f: Function, activation: Array) -> Array:
    """Fu et al., 2020."""
    slopes = slopes_of(f, activation)
    result = np.zeros(activation.shape[:-1])
    for channel in range(activation.shape[-1]):
        g, a = slopes[..., channel], activation[..., channel]
        result += (a * g).sum() / a.sum() * a
    return np.maximum(result, 0)


def hires_cam(f: Function, activation: Array) -> Array:
    """Draelos and Carin, 2020."""
    return np.einsum("...c,...c->...", slopes_of(f, activation), activation)


def layer_cam(f: Function, activation: Array) -> Array:
    """Jiang et al., 2021."""
    slopes = np.maximum(slopes_of(f, activation), 0)
    return np.maximum(np.einsum("...c,...c->...", slopes, activation), 0)


def ablation_cam(f: Function, activation: Array) -> Array:
    """Desai and Ramaswamy, 2020, with weights in the units of the score."""
    result = np.zeros(activation.shape[:-1])
    for channel in range(activation.shape[-1]):
        without = np.array(activation)
        without[..., channel] = 0
        result += (f(activation) - f(without)) * activation[..., channel]
    return np.maximum(result, 0)


def eigen_cam(activation: Array) -> Array:
    """Muhammad and Yeasin, 2020, by many steps of the power method."""
    channels = activation.shape[-1]
    moments = np.zeros((channels, channels))
    for place in np.ndindex(*activation.shape[:-1]):
        moments += np.outer(activation[place], activation[place])
    vector = np.arange(1.0, channels + 1)
    for _ in range(5000):
        vector = moments @ vector
        vector /= np.linalg.norm(vector)
    result = np.zeros(activation.shape[:-1])
    for place in np.ndindex(*result.shape):
        result[place] = activation[place] @ vector
    return result if result.sum() >= 0 else -result


def fem(activation: Array, deviations: float) -> Array:
    """Fuad et al., 2020: the mean of each channel where it is unusually high."""
    result = np.zeros(activation.shape[:-1])
    for channel in range(activation.shape[-1]):
        a = activation[..., channel]
        mean = sum(a.ravel()) / a.size
        scatter = np.sqrt(sum((a.ravel() - mean) ** 2) / a.size)
        for place in np.ndindex(*a.shape):
            if a[place] > mean + deviations * scatter:
                result[place] += mean
    return result
