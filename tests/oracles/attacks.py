r"""Attacks and detectors, one example at a time and literally from the papers.

`loss(x)` and `gradient(x)` are those of one example, `project(y)` the projection onto
the threat, `steepest(g)` the change of norm 1 along a gradient.
"""

import math
from collections.abc import Callable

import numpy as np

from .stabilizers import Array

Map = Callable[[Array], Array]


def dual_norm(w: Array, norm: str) -> float:
    """Returns the dual of a norm: the largest inner product with a change of norm 1."""
    order = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    return float(np.linalg.norm(w, order))


def steepest(g: Array, norm: str) -> Array:
    """Returns the change of norm 1 along which a gradient rises most."""
    if norm == "linf" or not g.any():
        return np.sign(g)
    if norm == "l2":
        return g / np.linalg.norm(g)
    out = np.zeros_like(g)
    out[np.abs(g).argmax()] = np.sign(g[np.abs(g).argmax()])
    return out


def distance_of_linear(w: Array, b: Array, x: Array, y: int, norm: str) -> float:
    r"""Returns $\min_k (z_y - z_k) / \|w_y - w_k\|_q$ of a classifier $z = x w + b$."""
    z = x @ w + b
    others = [k for k in range(len(z)) if k != y]
    return min((z[y] - z[k]) / dual_norm(w[:, y] - w[:, k], norm) for k in others)


def dlr(z: Array, y: int) -> float:
    """Returns the loss of Croce and Hein, 2020, eq. 6, without its 1e-12."""
    ordered = np.sort(z)[::-1]
    best_other = max(z[k] for k in range(len(z)) if k != y)
    return -(z[y] - best_other) / (ordered[0] - ordered[2])


def apgd(
    loss: Callable[[Array], float],
    gradient: Map,
    project: Map,
    direction: Map,
    start: Array,
    radius: float,
    steps: int,
) -> tuple[list[Array], list[float]]:
    """Returns all points, and all step lengths: Croce and Hein, 2020, algorithm 1."""
    p = [0, 22]
    while p[-1] < 100:
        p.append(p[-1] + max(p[-1] - p[-2] - 3, 6))
    w = [math.ceil(q * steps / 100) for q in p]
    eta, alpha, rho = 2 * radius, 0.75, 0.75
    points, losses, lengths = [start], [loss(start)], []
    best, highest = start, loss(start)
    eta_at, highest_at, last = None, None, 0
    here = start
    before = start
    for k in range(steps):
        if k in w[1:]:
            rises = sum(losses[i + 1] > losses[i] for i in range(last, k))
            one = rises < rho * (k - last)
            two = eta_at == eta and highest_at == highest
            eta_at, highest_at, last = eta, highest, k
            if one or two:
                eta = eta / 2
                here = best
        lengths.append(eta)
        z = project(here + eta * direction(gradient(here)))
        weight = 1.0 if k == 0 else alpha
        after = project(here + weight * (z - here) + (1 - weight) * (here - before))
        before, here = here, after
        points.append(here)
        losses.append(loss(here))
        if losses[-1] > highest:
            best, highest = here, losses[-1]
    return points, lengths


def deep_fool(
    logits: Map,
    jacobian: Map,
    x: Array,
    y: int,
    norm: str,
    overshoot: float,
    steps: int,
) -> Array:
    """Returns the fooling input: Moosavi-Dezfooli et al., 2016, algorithm 2."""
    total, here = np.zeros_like(x), x
    for _ in range(steps):
        f, slopes = logits(here), jacobian(here)
        if f.argmax() != y:
            return here
        nearest = None
        for k in range(len(f)):
            if k != y:
                w, gap = slopes[k] - slopes[y], f[k] - f[y]
                far = abs(gap) / dual_norm(w, norm)
                if nearest is None or far < nearest[0]:
                    nearest = far, steepest(w, norm)
        total = total + nearest[0] * nearest[1]
        here = x + (1 + overshoot) * total
    return here


def carlini_wagner(
    margin_and_slope: Callable[[Array], tuple[float, Array]],
    x: Array,
    low: float,
    high: float,
    steps: int,
    searches: int,
    rate: float,
    constant: float,
) -> tuple[Array | None, float]:
    """Returns the nearest fooling input: Carlini and Wagner, 2017, section VI.A."""
    middle, half = (low + high) / 2, (high - low) / 2
    smallest, answer = np.inf, None
    enough, short = np.inf, 0.0
    for _ in range(searches):
        w = np.arctanh((x - middle) / half * 0.999999)
        first, second = np.zeros_like(w), np.zeros_like(w)
        fooled = False
        for t in range(1, steps + 1):
            here = middle + half * np.tanh(w)
            margin, slope = margin_and_slope(here)
            size = np.linalg.norm(here - x)
            if margin < 0:
                fooled = True
                if size < smallest:
                    smallest, answer = size, here
            hinge = constant * slope if margin > 0 else 0 * slope
            g = (2 * (here - x) + hinge) * half * (1 - np.tanh(w) ** 2)
            first = 0.9 * first + 0.1 * g
            second = 0.999 * second + 0.001 * g**2
            w = w - rate * (first / (1 - 0.9**t)) / (
                np.sqrt(second / (1 - 0.999**t)) + 1e-8
            )
        if fooled:
            enough = min(enough, constant)
        else:
            short = max(short, constant)
        constant = constant * 10 if np.isinf(enough) else (short + enough) / 2
    return answer, smallest


def mahalanobis(train: Array, labels: Array, features: Array) -> Array:
    """Returns the squared distance to the nearest class: Lee et al., 2018, eq. 1, 2."""
    means = {c: train[labels == c].mean(axis=0) for c in np.unique(labels)}
    covariance = np.zeros((train.shape[1],) * 2)
    for h, c in zip(train, labels, strict=True):
        covariance += np.outer(h - means[c], h - means[c]) / len(train)
    precision = np.linalg.pinv(covariance, hermitian=True)
    return np.array(
        [min((h - m) @ precision @ (h - m) for m in means.values()) for h in features]
    )
