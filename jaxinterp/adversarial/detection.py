"""Whether an input was attacked: what a detector is, and how well it tells."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from jaxinterp.types import Inputs, Variables


@runtime_checkable
class Detector(Protocol):
    """A function that says how much an input looks attacked."""

    def __call__(self, variables: Variables, inputs: Inputs) -> Any:
        """Returns one score per example, `(batch,)`; higher is more suspicious."""
        ...


class DetectionQuality(NamedTuple):
    """How well scores tell attacked inputs from clean ones.

    Attributes:
        auroc: the probability that an attacked input has a higher score than a clean
            one, ties counted half: 0.5 is chance, 1 perfect.
        fpr_at_95_tpr: the share of clean inputs that are reported if the threshold is
            such that 95 % of the attacked ones are.
        tpr_at_5_fpr: the share of attacked inputs that are reported if the threshold is
            such that at most 5 % of the clean ones are.
    """

    auroc: float
    fpr_at_95_tpr: float
    tpr_at_5_fpr: float


def detection_quality(clean_scores: Any, attacked_scores: Any) -> DetectionQuality:
    """Returns how well scores tell attacked inputs from clean ones.

    An input is reported if its score is at least the threshold. All three numbers are
    NaN if there are no clean or no attacked inputs.

    Args:
        clean_scores: the score of each clean input, `(clean,)`.
        attacked_scores: the score of each attacked input, `(attacked,)`.

    Raises:
        ValueError: if a score is NaN, or the scores are not two rows of numbers.

    Example:
        >>> quality = detection_quality([0.1, 0.2, 0.6], [0.5, 0.9])
        >>> round(quality.auroc, 4), round(quality.fpr_at_95_tpr, 4)
        (0.8333, 0.3333)
    """
    clean, attacked = (
        np.asarray(scores, np.float64) for scores in (clean_scores, attacked_scores)
    )
    if clean.ndim != 1 or attacked.ndim != 1 or np.isnan([*clean, *attacked]).any():
        raise ValueError(
            "detection_quality() takes one finite score per input, and was given "
            f"shapes {clean.shape} and {attacked.shape}"
            f"{', with NaN' if clean.ndim == attacked.ndim == 1 else ''}."
        )
    if not clean.size or not attacked.size:
        return DetectionQuality(math.nan, math.nan, math.nan)
    ordered = np.sort(clean)
    below = np.searchsorted(ordered, attacked, "left")
    not_above = np.searchsorted(ordered, attacked, "right")
    auroc = (below + not_above).mean() / (2 * clean.size)
    thresholds = np.unique(np.concatenate([clean, attacked]))
    tpr = 1 - np.searchsorted(np.sort(attacked), thresholds, "left") / attacked.size
    fpr = 1 - np.searchsorted(ordered, thresholds, "left") / clean.size
    tpr, fpr = np.append(tpr, 0), np.append(fpr, 0)  # above all scores, also infinite
    return DetectionQuality(
        float(auroc),
        float(fpr[tpr >= 0.95 - 1e-12].min()),
        float(tpr[fpr <= 0.05 + 1e-12].max()),
    )
