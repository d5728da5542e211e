"""What a check is, and the report of all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.loop.chunks import over_units
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.types import ApplyFn, Inputs, Key, Variables

# From the best to the worst: that of a report is the worst of its rows.
Verdict = Literal["not applicable", "pass", "warn", "error", "fail"]

_HEAD = ("check", "claim", "value", "interval", "n", "threshold", "verdict", "note")


class Subject(NamedTuple):
    """What is audited.

    Attributes:
        apply_fn: the model, `apply_fn(variables, inputs) -> logits`.
        variables: the weights of the model.
        inputs: the examples.
        labels: the class of each of them, `(examples,)`.
        key: the random key of the check.
        batch_size: how many examples are computed at once.
    """

    apply_fn: ApplyFn
    variables: Variables
    inputs: Inputs
    labels: np.ndarray
    key: Key
    batch_size: int

    def each(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """Returns what a function gives for all examples, a few at a time.

        Args:
            function: a function `(variables, *arrays)`, of a batch.
            *arrays: arrays with the examples on the first axis.
        """
        run = jax.jit(function)
        arrays = tuple(map(jnp.asarray, arrays))
        count = len(arrays[0])

        def batch(index: Any) -> Any:
            return run(self.variables, *(array[index] for array in arrays))

        return over_units(batch, count, min(self.batch_size, count), is_inner=False)

    def logits(self) -> np.ndarray:
        """Returns the logits of all examples, `(examples, classes)`.

        Raises:
            FloatingPointError: if one of them is not a number.
            ValueError: if the model does not return logits, or not of the class of a
                label.
        """
        self.check()
        logits = np.asarray(self.each(self.apply_fn, self.inputs))
        is_wrong = np.isnan(logits).any(axis=1)
        if is_wrong.any():  # the largest of NaN would count as class 0
            raise FloatingPointError(
                f"the logits of example {is_wrong.argmax()} (and {is_wrong.sum() - 1} "
                "others) are not a number."
            )
        return logits

    def check(self) -> None:
        """Raises unless the model returns a logit of the class of each label.

        Nothing is computed.

        Raises:
            ValueError: if it does not.
        """
        first = jnp.asarray(self.inputs[:1])
        shapes = jax.eval_shape(self.apply_fn, self.variables, first)
        shape = getattr(shapes, "shape", ())
        if len(shape) != 2 or shape[0] != 1:
            raise ValueError(
                "the model is to return logits (batch, classes), and returns "
                f"{jax.tree.map(jnp.shape, shapes)} for one example."
            )
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest >= shape[1]:
            raise ValueError(
                f"labels run from 0 to {shape[1] - 1}, one for each logit, and these "
                f"from {lowest} to {highest}."
            )

    def predictions(self) -> np.ndarray:
        """Returns the class that the model assigns to each example."""
        return self.logits().argmax(axis=-1)


class Row(NamedTuple):
    """One claim about a model, and whether it holds.

    Attributes:
        claim: what a model that can be trusted fulfills.
        verdict: whether it does.
        value: the number that was measured; NaN if there is none.
        low: the lower end of its interval; NaN if there is none.
        high: the upper end.
        n: the number of examples that it rests on.
        threshold: when the claim holds, in words.
        note: what else a reader has to know.
    """

    claim: str
    verdict: Verdict
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    threshold: str = ""
    note: str = ""


# What `audit` calls: a pure function from what is audited to rows of the report.
Check = Callable[[Subject], Iterable[Row]]


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What an audit found; it prints as a table, and in a notebook as HTML.

    Attributes:
        rows: the rows of each check, by its name.
        seconds: the time that each check took, by its name.
    """

    rows: dict[str, tuple[Row, ...]]
    seconds: dict[str, float]

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst row: there is no score, and no weights."""
        verdicts: tuple[Verdict, ...] = get_args(Verdict)
        found = [row.verdict for rows in self.rows.values() for row in rows]
        return verdicts[max(map(verdicts.index, found), default=0)]

    def _table(self) -> list[tuple[str, ...]]:
        return [
            (
                name,
                row.claim,
                cell(row.value, ".3f", undefined=""),
                "" if np.isnan(row.low) else f"[{row.low:.3f}, {row.high:.3f}]",
                str(row.n or ""),
                row.threshold,
                row.verdict,
                row.note,
            )
            for name, rows in self.rows.items()
            for row in rows
        ]

    def _note(self) -> str:
        times = ", ".join(f"{name} {s:.1f} s" for name, s in self.seconds.items())
        return f"Verdict: {self.verdict}, that of the worst row. Time: {times}."

    def __str__(self) -> str:
        return f"{format_table(_HEAD, self._table())}\n{self._note()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"{html_table(_HEAD, self._table())}<p>{self._note()}</p>"
