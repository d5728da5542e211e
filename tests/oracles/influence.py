"""Influence, written slowly and literally in NumPy: retraining, and the definitions."""

import itertools
import math

import numpy as np


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def cross_entropy(w, x, label):
    return -np.log(softmax(x @ w)[label])


def gradient(w, x, label):
    """The gradient of the loss of one example, flattened by rows."""
    p = softmax(x @ w)
    p[label] -= 1
    return np.outer(x, p).ravel()


def hessian(w, x):
    """The second derivatives of the loss of one example."""
    p = softmax(x @ w)
    return np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))


def trained(xs, labels, classes, decay, weights=None):
    """Softmax regression by Newton's method: 1/n sum w_i L_i + decay/2 |w|^2."""
    n, features = xs.shape
    weights = np.ones(n) if weights is None else weights
    w = np.zeros((features, classes))
    for _ in range(50):
        g, h = decay * w.ravel(), decay * np.eye(w.size)
        for x, label, weight in zip(xs, labels, weights, strict=True):
            g = g + weight / n * gradient(w, x, label)
            h = h + weight / n * hessian(w, x)
        w = w - np.linalg.solve(h, g).reshape(w.shape)
        if np.abs(g).max() < 1e-14:
            break
    return w


def influence(w, xs, labels, queries, query_labels, decay):
    """Koh and Liang, 2017, eq. 2, for the loss of each query."""
    n = len(xs)
    h = sum(hessian(w, x) for x in xs) / n + decay * np.eye(w.size)
    scores = np.zeros((len(queries), n))
    for q, i in np.ndindex(*scores.shape):
        of_query = gradient(w, queries[q], query_labels[q])
        of_example = gradient(w, xs[i], labels[i])
        scores[q, i] = of_query @ np.linalg.solve(h, of_example) / n
    return scores


def left_out(xs, labels, queries, query_labels, classes, decay):
    """By how much the loss of each query changes without an example: retraining."""
    w, n = trained(xs, labels, classes, decay), len(xs)
    change = np.zeros((len(queries), n))
    for i in range(n):
        weights = np.ones(n)
        weights[i] = 0
        without = trained(xs, labels, classes, decay, weights)
        for q, (x, label) in enumerate(zip(queries, query_labels, strict=True)):
            change[q, i] = cross_entropy(without, x, label) - cross_entropy(w, x, label)
    return change


def ekfac_solution(gradients, in_factor, out_factor, vector, damping):
    """George et al., 2018: the damped inverse, in the basis of the Kronecker factors.

    `gradients` holds, for each example, the gradients in the weights for several labels
    with their probabilities or for the columns of a root, `(inputs, outputs)` each.
    """
    q_in, q_out = np.linalg.eigh(in_factor)[1], np.linalg.eigh(out_factor)[1]
    variances = np.zeros_like(vector)
    for of_example in gradients:
        for one in of_example:
            variances += (q_in.T @ one @ q_out) ** 2 / len(gradients)
    return q_in @ ((q_in.T @ vector @ q_out) / (variances + damping)) @ q_out.T


def knn_utility(members, rights, k):
    """The share of right labels among the k nearest of sorted examples."""
    return sum(rights[i] for i in sorted(members)[:k]) / k


def knn_shapley(features, labels, query, label, k):
    """The Shapley value by enumeration of all subsets."""
    n = len(features)
    order = np.argsort(((features - query) ** 2).sum(axis=1), kind="stable")
    rights = [float(labels[i] == label) for i in order]
    values = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1)
            for members in itertools.combinations(others, size):
                gain = knn_utility((*members, i), rights, k)
                gain -= knn_utility(members, rights, k)
                values[order[i]] += weight / math.factorial(n) * gain
    return values
