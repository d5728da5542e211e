"""DeepLIFT of dense networks, Shrikumar et al., 2017: contributions unit by unit."""

import numpy as np

from .stabilizers import Array


def rescale(layers: list[tuple[Array, Array]], x: Array, ref: Array, unit: int, f):
    """Contributions of one example: the chain rule of eq. 3 with rescale multipliers.

    `f` is the activation between the layers.
    """
    changes = []
    for w, b in layers[:-1]:
        z, z_ref = x @ w + b, ref @ w + b
        changes.append((x - ref, z - z_ref, f(z) - f(z_ref)))
        x, ref = f(z), f(z_ref)
    multipliers = layers[-1][0][:, unit]
    for (w, _), (_, dz, dy) in zip(layers[-2::-1], changes[::-1], strict=True):
        of_units = np.zeros(len(dz))
        for j in range(len(dz)):
            of_units[j] = multipliers[j] * dy[j] / dz[j]
        multipliers = w @ of_units
    return changes[0][0] * multipliers


def reveal_cancel(
    layers: list[tuple[Array, Array]], x: Array, ref: Array, unit: int, f, slope
):
    """Multipliers of one example: section 3.5, linear rule and RevealCancel.

    Every unit has a multiplier for the part of its change that is positive, and one for
    the part that is negative; `slope` is the derivative of `f`, for parts of nothing.
    """
    seen = []
    for w, b in layers[:-1]:
        z, z_ref = x @ w + b, ref @ w + b
        seen.append((w, x - ref, z_ref))
        x, ref = f(z), f(z_ref)
    multipliers = layers[-1][0][:, unit]
    for w, dx, z_ref in seen[::-1]:
        of_inputs = np.zeros(len(dx))
        for j in range(w.shape[1]):
            up = sum(c for c in w[:, j] * dx if c > 0)
            down = sum(c for c in w[:, j] * dx if c < 0)
            z0 = z_ref[j]
            dy_up = 0.5 * (f(z0 + up) - f(z0))
            dy_up += 0.5 * (f(z0 + down + up) - f(z0 + down))
            dy_down = 0.5 * (f(z0 + down) - f(z0))
            dy_down += 0.5 * (f(z0 + up + down) - f(z0 + up))
            flat_up = 0.5 * slope(z0) + 0.5 * slope(z0 + down)
            flat_down = 0.5 * slope(z0) + 0.5 * slope(z0 + up)
            m_up = multipliers[j] * (dy_up / up if up > 0 else flat_up)
            m_down = multipliers[j] * (dy_down / down if down < 0 else flat_down)
            for i in range(len(dx)):
                if w[i, j] * dx[i] > 0:
                    of_inputs[i] += w[i, j] * m_up
                elif w[i, j] * dx[i] < 0:
                    of_inputs[i] += w[i, j] * m_down
                else:
                    of_inputs[i] += 0.5 * w[i, j] * m_up + 0.5 * w[i, j] * m_down
        multipliers = of_inputs
    return multipliers


def softmax(x: Array, ref: Array, upstream: Array) -> Array:
    r"""The multipliers $l_i (\delta_{ij} - l_j / \sum_k l_k)$ of one row."""
    y, y_ref = (np.exp(v) / np.exp(v).sum() for v in (x, ref))
    mean = (y - y_ref) / (np.log(y) - np.log(y_ref))
    matrix = np.diag(mean) - np.outer(mean, mean) / mean.sum()
    return upstream @ matrix
