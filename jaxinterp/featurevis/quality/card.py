"""The card that `scorecard` fills in, and how it prints."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxinterp.featurevis.quality.achieved_scores import is_success, natural_ratio
from jaxinterp.featurevis.quality.path_similarity import PathSimilarity
from jaxinterp.table import cell, format_table, html_table


class Achieved(NamedTuple):
    """Scores beside those of natural examples.

    Attributes:
        scores: of the pictures, `(units, count)`, in the units of the objective.
        natural: of the best natural example, `(units,)`.
    """

    scores: Any
    natural: Any

    @property
    def mean(self) -> Any:
        """Over the pictures of each unit, `(units,)`."""
        return self.scores.mean(axis=1)

    @property
    def ratio(self) -> Any:
        """Of the mean and the natural score; NaN where that is not positive."""
        return natural_ratio(self.scores, self.natural)

    @property
    def is_success(self) -> Any:
        """Whether the mean is above the natural score, `(units,)`."""
        return is_success(self.scores, self.natural)

    @property
    def success_rate(self) -> float:
        """The share of units where it is."""
        return float(self.is_success.mean())


@dataclasses.dataclass(frozen=True, eq=False)
class Scorecard:
    """What was measured; `None` stands for what was not asked for.

    It prints as one row per unit, the mean over its pictures, and a summary.

    Attributes:
        names: of the units.
        plain: scores of the pictures as they are.
        transformed: likewise, mean over random transforms: robustness.
        transferred: likewise, in a second network.
        slope: of the power spectrum, `(units, count)`; `None` also for pictures
            that are too small.
        diversity: of the pictures of each unit, `(units,)`; `None` also for
            `count=1`.
        paths: rank correlations with natural pictures.
    """

    names: tuple[str, ...]
    plain: Achieved
    transformed: Achieved | None
    transferred: Achieved | None
    slope: Any
    diversity: Any
    paths: PathSimilarity | None

    @property
    def success_rate(self) -> float:
        """The share of units whose pictures score above the best natural example."""
        return self.plain.success_rate

    @property
    def captions(self) -> tuple[str, ...]:
        """A line for each unit to write above its picture: name, ratio and slope."""
        ratios, scores = np.asarray(self.plain.ratio), np.asarray(self.plain.mean)
        lines = [
            f"{name}: {_score(score)}" if np.isnan(ratio) else f"{name}: {ratio:.2g} x"
            for name, ratio, score in zip(self.names, ratios, scores, strict=True)
        ]
        if self.slope is not None:
            slopes = np.asarray(self.slope).mean(axis=1)
            lines = [
                line if np.isnan(slope) else f"{line}, slope {slope:.1f}"
                for line, slope in zip(lines, slopes, strict=True)
            ]
        return tuple(lines)

    def _columns(self) -> list[tuple[str, Any]]:
        """What the table shows: a head and `(units,)` for each column."""
        columns = [("natural", self.plain.natural), ("achieved", self.plain.mean)]
        columns.append(("ratio", self.plain.ratio))
        if self.transformed is not None:
            columns.append(("transformed", self.transformed.ratio))
        if self.transferred is not None:
            columns.append(("transferred", self.transferred.ratio))
        if self.slope is not None:
            columns.append(("slope", self.slope.mean(axis=1)))
        if self.diversity is not None:
            columns.append(("diversity", self.diversity))
        if self.paths is not None:
            overall = self.paths.overall
            columns.append(("path", overall.made[0]))
            columns.append(("natural path", overall.natural[0]))
            if overall.relative is not None:
                columns.append(("relative path", overall.relative[0]))
        return [(head, np.asarray(values)) for head, values in columns]

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        columns = self._columns()
        head = ("unit", *(name for name, _ in columns))
        rows = [
            (name, *(_shown(head, values[i]) for head, values in columns))
            for i, name in enumerate(self.names)
        ]
        return head, rows

    def _summary(self) -> list[str]:
        number = len(self.names)
        is_one = number == 1
        what = " is above its" if is_one else " are above their"
        what += " best natural example"
        kinds = {"": self.plain, " under transforms": self.transformed}
        kinds[" in the second network"] = self.transferred
        beaten = [
            f"{int(kind.is_success.sum())} ({kind.success_rate:.0%}){where or what}"
            for where, kind in kinds.items()
            if kind is not None
        ]
        lines = [f"Of {number} unit{'' if is_one else 's'}, {', '.join(beaten)}."]
        medians = [
            f"{head} {_shown(head, np.nanmedian(values))}"
            for head, values in self._columns()[2:]
            if not np.isnan(values).all()
        ]
        lines.append(f"Medians: {', '.join(medians) or 'none'}.")
        for where, kind in kinds.items():
            if kind is None:
                continue
            is_nan = np.isnan(np.asarray(kind.mean))
            lacking = int((np.isnan(np.asarray(kind.ratio)) & ~is_nan).sum())
            if lacking and where != " under transforms":
                lines.append(
                    f"No ratio for {lacking} of {number}{where}: the best natural "
                    "score is not positive."
                )
            if is_nan.any():
                lines.append(
                    f"No score for {int(is_nan.sum())} of {number}{where}: it is not a "
                    f"number (NaN) for unit {self.names[int(is_nan.argmax())]}."
                )
        return lines

    def __str__(self) -> str:
        head, rows = self._table()
        table = format_table(head, rows, right=tuple(range(1, len(head))))
        return "\n".join([table, *self._summary()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "<br>".join(self._summary())
        return f"{html_table(*self._table())}<p>{lines}</p>"


def _shown(head: str, value: Any) -> str:
    return _score(value) if head in ("natural", "achieved") else cell(value)


def _score(value: Any) -> str:
    return "NaN" if np.isnan(value) else f"{float(value):.3g}"
