r"""Confident learning: which labels are wrong, and which classes are confused.

$s_i$ is the given label of example $i$, $y_i$ the true one, and $p_{ij}$ a held-out
probability of class $j$. All matrices have the true class on their rows and the given
one on their columns, as `ji.data.mislabeled` has them; the paper transposes them.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxinterp.checks import check_choice, check_outside
from jaxinterp.labels.label_quality import Quality, check_labels, label_quality

Method = Literal[
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_self_confidence",
    "low_normalized_margin",
]

# A class whose mean is smaller has this threshold, lest everything exceed it.
SMALLEST_THRESHOLD = 2e-6


class ConfidentJoint(NamedTuple):
    r"""How often each true class was given each label, by a model's own measure.

    Attributes:
        counts: the number of examples of true class $j$ and given class $a$, `[j, a]`,
            at least 1 on the diagonal.
        calibrated: the counts, scaled so that each given class has as many examples as
            it has labels, and rounded to integers.
        thresholds: the mean probability of each class among the examples that are
            labeled so; 2, which nothing reaches, for a class without any.
        confident_classes: for each example the class that it is counted for, -1 if no
            class exceeds its threshold.
    """

    counts: Int[np.ndarray, "classes classes"]
    calibrated: Int[np.ndarray, "classes classes"]
    thresholds: Float[np.ndarray, " classes"]
    confident_classes: Int[np.ndarray, " examples"]

    @property
    def joint(self) -> Float[np.ndarray, "classes classes"]:
        r"""The joint distribution $P(y, s)$; its entries add up to 1."""
        return self.calibrated / max(self.calibrated.sum(), 1)

    @property
    def noise_matrix(self) -> Float[np.ndarray, "classes classes"]:
        r"""The law of the noise $P(s \mid y)$; the rows add up to 1.

        A class that is the true one of no example keeps its label.
        """
        sums = self.calibrated.sum(axis=1, keepdims=True)
        identity = np.eye(len(sums))
        return np.where(sums > 0, self.calibrated / np.maximum(sums, 1), identity)

    @property
    def noise_rate(self) -> float:
        """The share of labels that are wrong."""
        return 1 - float(np.trace(self.joint)) if self.calibrated.sum() else 0.0


class LabelIssues(NamedTuple):
    """Examples whose labels are probably wrong.

    Attributes:
        is_issue: for each example whether its label was flagged.
        scores: how far the model believes each label, in [0, 1].
        predicted: the class that the model gives the highest probability.
    """

    is_issue: Bool[np.ndarray, " examples"]
    scores: Float[np.ndarray, " examples"]
    predicted: Int[np.ndarray, " examples"]

    @property
    def indices(self) -> Int[np.ndarray, " issues"]:
        """The numbers of the flagged examples, the least believed one first."""
        issues = np.flatnonzero(self.is_issue)
        return issues[np.argsort(self.scores[issues], kind="stable")]


def confident_joint(labels: Any, probabilities: Any) -> ConfidentJoint:
    r"""Estimates how often each class was mistaken for each other one.

    $$t_j = \operatorname{mean}_{i : s_i = j} p_{ij}, \qquad
    C_{ja} = \#\{i : s_i = a,\ j = \mathrm{argmax}_{l : p_{il} \ge t_l} p_{il}\}$$

    An example counts for a class that it exceeds the threshold of: the confidence that
    the model has on average in examples with that label. So a model that is always less
    sure of one class, or badly calibrated in general, does no harm. Then the counts of
    each given class are scaled to the number of its labels.

    The estimate is exact if errors depend on the true class alone and the model is
    ideal up to an error per example that does not cross a threshold. Do not believe it
    if the probabilities are not held out, if a class is hardly better than chance, or
    if labels are wrong in a way that can be learned, as when all images of one sort
    were given the same wrong label: such errors are predicted with confidence.

    Where an example exceeds several thresholds this takes the most probable of those
    classes, as the paper does; `cleanlab` takes the most probable of all.

    Args:
        labels: the given labels, integers `(examples,)`.
        probabilities: held-out probabilities, `(examples, classes)`.

    Returns:
        Counts and what follows from them; the true class on the rows.

    Raises:
        TypeError: if labels are not integers, or arrays are traced.
        ValueError: if shapes do not fit, there is no example, a label is out of range,
            or probabilities do not add up to 1.

    Example:
        >>> probabilities = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
        >>> confident_joint([0, 0, 1, 1, 1], np.array(probabilities)).counts.tolist()
        [[1, 1], [0, 2]]

    References:
        Northcutt et al., 2021 [northcutt2021confident].
    """
    s, p = _checked("confident_joint", labels, probabilities)
    n_classes = p.shape[1]
    n_given = np.bincount(s, minlength=n_classes)
    own = np.bincount(s, p[np.arange(len(s)), s], n_classes)
    means = np.maximum(own / np.maximum(n_given, 1), SMALLEST_THRESHOLD)
    thresholds = np.where(n_given > 0, means, 2.0)
    # A mean of equal numbers may be rounded to a little more than they are.
    exceeds = p >= thresholds - 1e-12
    confident = np.where(exceeds, p, -1).argmax(axis=1)
    confident = np.where(exceeds.any(axis=1), confident, -1)
    counts = np.zeros((n_classes, n_classes), int)
    is_counted = confident >= 0
    np.add.at(counts, (confident[is_counted], s[is_counted]), 1)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    scaled = counts / counts.sum(axis=0) * n_given
    calibrated = _rounded(scaled.T / scaled.sum() * len(s)).T
    return ConfidentJoint(counts, calibrated, thresholds, confident)


def find_label_issues(
    labels: Any,
    probabilities: Any,
    *,
    method: Method = "prune_by_noise_rate",
    score: Quality = "self_confidence",
) -> LabelIssues:
    r"""Flags the labels that are probably wrong.

    With the calibrated confident joint $C$, true class on the rows:

    - `"prune_by_noise_rate"`: for every given class $a$ and other class $j$, the
      $C_{ja}$ examples with the largest $p_{ij} - p_{ia}$;
    - `"prune_by_class"`: for every given class $a$, as many with the lowest $p_{ia}$ as
      its column of $C$ has off the diagonal;
    - `"both"`: what these two agree on;
    - `"confident_learning"`: all that are counted off the diagonal;
    - `"predicted_neq_given"`: all that the model classifies otherwise;
    - `"low_self_confidence"`, `"low_normalized_margin"`: the lowest by that score, as
      many as are counted off the diagonal and classified otherwise.

    All but the last two drop examples that the model classifies as labeled. Every given
    class keeps an example.

    What is flagged is a list for somebody to look at. In published test sets between
    15 % (MNIST) and 88 % (20 Newsgroups) of what such filters flagged were errors.

    Args:
        labels: the given labels, integers `(examples,)`.
        probabilities: held-out probabilities, `(examples, classes)`.
        method: which labels are flagged.
        score: what the flagged labels are ranked by, see `label_quality`.

    Returns:
        Flags, scores and predictions for each example.

    Raises:
        TypeError: if labels are not integers, or arrays are traced.
        ValueError: if a word is unknown, shapes do not fit, there is no example, a
            label is out of range, or probabilities do not add up to 1.

    Example:
        >>> probabilities = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
        >>> issues = find_label_issues([0, 0, 1, 1, 1], np.array(probabilities))
        >>> issues.indices.tolist(), issues.predicted[issues.indices].tolist()
        ([4], [0])

    References:
        Northcutt et al., 2021 [northcutt2021confident]; Northcutt, Athalye and Mueller,
        2021 (shares of errors) [northcutt2021pervasive].
    """
    check_choice("method", method, get_args(Method), call="find_label_issues")
    s, p = _checked("find_label_issues", labels, probabilities)
    estimate = confident_joint(s, p)
    scores = np.asarray(label_quality(s, p, score))
    predicted = p.argmax(axis=1)
    confident = estimate.confident_classes
    is_off = (confident >= 0) & (confident != s)
    if method.startswith("low_"):
        kind: Any = method.removeprefix("low_")
        n_issues = int((is_off & (predicted != s)).sum())
        is_issue = np.zeros(len(s), bool)
        quality = np.asarray(label_quality(s, p, kind))
        is_issue[np.argsort(quality, kind="stable")[:n_issues]] = True
        return LabelIssues(is_issue, scores, predicted)
    if method == "confident_learning":
        is_issue = is_off
    elif method == "predicted_neq_given":
        is_issue = np.ones(len(s), bool)
    else:
        counts = _with_one_kept(estimate.calibrated)
        masks = []
        if method != "prune_by_noise_rate":
            masks.append(_by_class(s, p, counts))
        if method != "prune_by_class":
            masks.append(_by_noise_rate(s, p, counts))
        is_issue = np.logical_and.reduce(masks)
    return LabelIssues(is_issue & (predicted != s), scores, predicted)


def _by_class(s: np.ndarray, p: np.ndarray, counts: np.ndarray) -> np.ndarray:
    is_issue = np.zeros(len(s), bool)
    for a in range(len(counts)):
        of_class = np.flatnonzero(s == a)
        n_issues = len(of_class) - counts[a, a]
        if len(of_class) > 1 and 0 < n_issues < len(of_class):
            own = p[of_class, a]
            is_issue[of_class] = own < np.sort(own)[n_issues]
    return is_issue


def _by_noise_rate(s: np.ndarray, p: np.ndarray, counts: np.ndarray) -> np.ndarray:
    is_issue = np.zeros(len(s), bool)
    for j, a in np.argwhere(counts > 0):
        of_class = np.flatnonzero(s == a)
        if j == a or len(of_class) <= 1:
            continue
        margins = p[of_class, j] - p[of_class, a]
        n_issues = min(counts[j, a], len(of_class))
        is_issue[of_class[margins >= np.sort(margins)[-n_issues]]] = True
    return is_issue


def _with_one_kept(calibrated: np.ndarray) -> np.ndarray:
    """Counts with at least one on the diagonal, taken evenly from the others."""
    diagonal = np.maximum(calibrated.diagonal(), 1)
    missing = diagonal - calibrated.diagonal()
    n_others = np.maximum(np.count_nonzero(calibrated, axis=0) - 1, 1)
    counts = np.maximum(calibrated - missing / n_others, 0)
    np.fill_diagonal(counts, diagonal)
    return _rounded(counts)


def _rounded(matrix: np.ndarray) -> np.ndarray:
    """Integers whose rows add up to the rounded sums, by largest remainders."""
    whole = np.floor(matrix).astype(int)
    missing = np.rint(matrix.sum(axis=1)).astype(int) - whole.sum(axis=1)
    order = np.argsort(-(matrix - whole), axis=1, kind="stable")
    for row, (at, n_more) in enumerate(zip(order, missing, strict=True)):
        whole[row, at[:n_more]] += 1
    return whole


def _checked(call: str, labels: Any, probabilities: Any) -> tuple[Any, Any]:
    check_outside(call, "looks at the values", labels, probabilities)
    s, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    check_labels(call, s, p)
    if not s.size:
        raise ValueError(f"{call}: there is no example.")
    return s, p
