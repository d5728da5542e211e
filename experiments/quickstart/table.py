"""The table of methods: time, whether they add up, likeness to the gradient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import spearmanr

from experiments.quickstart.explain import Explanation, Method

HEAD = ("method", "ms per image", "compile s", "sum error", "like gradient")
LEGEND = """\
ms per image   of the jitted method on the whole batch, compilation apart
sum error      mean |sum of attributions - s| / mean |s|, where s is the score, or for
               integrated gradients its difference to the baseline's; - if not promised
like gradient  Spearman correlation of |attribution| with |gradient| over the pixels of
               an image, mean over images"""


def sum_error(attributions: np.ndarray, expected: np.ndarray) -> float:
    """Returns by how much attributions do not add up, relative to what they should.

    Args:
        attributions: of shape `(batch, ...)`.
        expected: of shape `(batch,)`.
    """
    sums = attributions.reshape(len(attributions), -1).sum(axis=1)
    return float(np.abs(sums - expected).mean() / np.abs(expected).mean())


def likeness(attributions: np.ndarray, others: np.ndarray) -> float:
    """Returns the mean rank correlation of magnitudes.

    Args:
        attributions: of shape `(batch, ...)`.
        others: likewise.
    """
    pairs = zip(np.abs(attributions), np.abs(others), strict=True)
    return float(np.mean([spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs]))


def table(
    methods: Mapping[str, Method],
    explanations: Mapping[str, Explanation],
    expected: Mapping[str, np.ndarray],
) -> str:
    """Returns the table as text.

    Args:
        methods: by name.
        explanations: by the same names; one is called "gradient".
        expected: for `"score"` and `"difference"`, the numbers of the batch.
    """
    gradient = explanations["gradient"].attributions
    rows = []
    for name, found in explanations.items():
        promise = methods[name].adds_up_to
        error = "-"
        if promise is not None:
            error = f"{sum_error(found.attributions, expected[promise]):.2%}"
        rows.append(
            (
                name.replace("\n", " "),
                f"{1000 * found.seconds:.2f}",
                f"{found.compile_seconds:.1f}",
                error,
                f"{likeness(found.attributions, gradient):.2f}",
            )
        )
    widths = [max(len(row[i]) for row in (HEAD, *rows)) for i in range(len(HEAD))]
    lines = [_line(HEAD, widths), "-" * (sum(widths) + 2 * (len(widths) - 1))]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)])
