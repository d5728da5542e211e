"""Building blocks, written slowly: contributions of a layer, factors of a matrix."""

import numpy as np


def contributions(activation, hidden, bias, head, label):
    """The products of activation and slope, of relu(a @ hidden + bias) @ head.

    Slopes are those of the linear map that the relus leave, entry by entry. Returns an
    array like the activation of one example, and the score of the class.
    """
    a = activation.ravel()
    z = [
        sum(a[i] * hidden[i, j] for i in range(len(a))) + bias[j]
        for j in range(len(bias))
    ]
    out = np.zeros(len(a))
    for i in range(len(a)):
        slope = 0.0
        for j in range(len(z)):
            if z[j] > 0:
                slope += hidden[i, j] * head[j, label]
        out[i] = a[i] * slope
    score = sum(max(z[j], 0) * head[j, label] for j in range(len(z)))
    return out.reshape(activation.shape), score


def coordinate_descent(matrix, left, right, steps):
    """Nonnegative factors: the best value of one entry at a time, all others kept."""
    left, right = left.copy(), right.copy()
    rows, columns = matrix.shape
    for _ in range(steps):
        for j in range(left.shape[1]):
            for i in range(rows):
                rest = matrix[i] - left[i] @ right + left[i, j] * right[j]
                size = right[j] @ right[j]
                if size > 0:
                    left[i, j] = max(rest @ right[j] / size, 0)
        for j in range(left.shape[1]):
            for k in range(columns):
                rest = matrix[:, k] - left @ right[:, k] + left[:, j] * right[j, k]
                size = left[:, j] @ left[:, j]
                if size > 0:
                    right[j, k] = max(rest @ left[:, j] / size, 0)
    return left, right
