"""Confident learning and label noise, written literally in NumPy."""

import itertools

import numpy as np


def confident_counts(given, p):
    """Northcutt et al., 2021, eq. 1 and 2; the true class on the rows."""
    classes = p.shape[1]
    thresholds = [
        np.mean([p[i, j] for i in range(len(given)) if given[i] == j])
        for j in range(classes)
    ]
    counts = np.zeros((classes, classes), int)
    for i, label in enumerate(given):
        above = [j for j in range(classes) if p[i, j] >= thresholds[j] - 1e-12]
        if above:
            best = max(above, key=lambda j: p[i, j])
            counts[best, label] += 1
    return thresholds, counts


def calibrated_joint(given, counts):
    """Northcutt et al., 2021, eq. 3, without rounding; the true class on the rows."""
    joint = np.zeros(counts.shape)
    for a in range(len(counts)):
        for j in range(len(counts)):
            share = counts[j, a] / counts[:, a].sum()
            joint[j, a] = share * np.sum(given == a)
    return joint / joint.sum()


def quality(given, p, score):
    values = []
    for label, row in zip(given, p, strict=True):
        other = max(q for j, q in enumerate(row) if j != label)
        entropy = -sum(q * np.log(q) for q in row if q > 0) / np.log(len(row))
        u = entropy / row[label]
        values.append(
            {
                "self_confidence": row[label],
                "normalized_margin": (row[label] - other + 1) / 2,
                "confidence_weighted_entropy": np.log(1 + u) / u if u else 1,
            }[score]
        )
    return np.array(values)


def extreme_accuracies(n, classes, n_errors, n_wrong):
    """The smallest and largest true accuracy of all models and label errors.

    The given labels are all 0; the true labels differ from them `n_wrong` times and the
    predictions `n_errors` times.
    """
    labelings = list(itertools.product(range(classes), repeat=n))
    of_truth = [t for t in labelings if sum(map(bool, t)) == n_wrong]
    of_model = [f for f in labelings if sum(map(bool, f)) == n_errors]
    shares = [
        sum(a == b for a, b in zip(f, t, strict=True)) / n
        for f in of_model
        for t in of_truth
    ]
    return min(shares), max(shares)
