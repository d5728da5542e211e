"""Spectral relevance analysis, literally."""

import numpy as np


def spectrum(relevance, neighbors, count):
    """The smallest eigenvalues of the graph of nearest items, and where the gap is."""
    rows = np.stack([r.ravel() / np.abs(r).sum() for r in relevance])
    n = len(rows)
    near = np.zeros((n, n))
    for i in range(n):
        distances = [
            (np.sqrt(((rows[i] - rows[j]) ** 2).sum()), j) for j in range(n) if j != i
        ]
        for _, j in sorted(distances)[:neighbors]:
            near[i, j] = 1
    weights = (near + near.T) / 2
    degrees = weights.sum(axis=1)
    laplacian = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            laplacian[i, j] = (i == j) - weights[i, j] / np.sqrt(
                degrees[i] * degrees[j]
            )
    values = np.sort(np.linalg.eigvalsh(laplacian))[:count]
    gaps = [values[i] - values[i - 1] for i in range(1, min(11, len(values)))]
    return values, 1 + int(np.argmax(gaps))
