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


def softmax(x: Array, ref: Array, upstream: Array) -> Array:
    r"""The multipliers $l_i (\delta_{ij} - l_j / \sum_k l_k)$ of one row."""
    y, y_ref = (np.exp(v) / np.exp(v).sum() for v in (x, ref))
    mean = (y - y_ref) / (np.log(y) - np.log(y_ref))
    matrix = np.diag(mean) - np.outer(mean, mean) / mean.sum()
    return upstream @ matrix
