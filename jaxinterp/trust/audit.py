"""`audit`: asks of a model what has to hold before it is trusted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from jaxinterp.checks import check_function, check_outside, checked_integer, shown
from jaxinterp.keys import check_key, folded
from jaxinterp.trust.report import Check, Report, Row, Subject, Verdict
from jaxinterp.types import ApplyFn, Inputs, Key, Variables


def audit(
    apply_fn: ApplyFn,
    variables: Variables,
    inputs: Inputs,
    labels: Any,
    *,
    key: Key,
    checks: Sequence[Check],
    batch_size: int = 128,
) -> Report:
    """Runs checks of a model, and reports each claim with its number and its verdict.

    A check is a pure function, `check(subject) -> rows`: `performance`, `reasons` and
    `explanation` make some, and any function of that kind is one. If a check raises,
    the report says so in a row and goes on with the next. The verdict of the whole is
    the worst of all rows.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> logits`.
        variables: the weights of the model.
        inputs: the examples, an array with these on the first axis.
        labels: the class of each example, integers `(examples,)`.
        key: the random key; each check gets its own, by its place in the list.
        checks: the checks, in the order of the report.
        batch_size: how many examples are computed at once.

    Returns:
        A `Report`, which prints as a table.

    Raises:
        ValueError: if there are no examples, not one label for each, or two checks have
            one name.
        TypeError: if there is no key, labels are no integers, checks are no functions
            in a list, or inside of `jax.jit`.

    Example:
        >>> labels = np.arange(60) % 3
        >>> report = audit(
        ...     lambda w, x: x, None, np.eye(3)[labels], labels, key=jax.random.key(0),
        ...     checks=[ji.trust.performance()])
        >>> report.verdict, report.rows["performance"][0].value
        ('pass', 1.0)
    """
    check_outside("audit", "returns a report to read", variables, inputs, labels)
    check_key("audit", key)
    batch_size = checked_integer("batch_size", batch_size, 1, call="audit")
    classes = np.asarray(labels)
    n_examples = np.shape(inputs)[0] if np.ndim(inputs) else 0
    if not n_examples or classes.shape != (n_examples,):
        raise ValueError(
            f"audit: there are {n_examples} examples, and labels of shape "
            f"{classes.shape}. Give one label for each, and at least one."
        )
    if not np.issubdtype(classes.dtype, np.integer):
        raise TypeError(f"audit: labels are integers, and are {classes.dtype}.")
    if callable(checks) or isinstance(checks, str):
        raise TypeError(
            f"audit: `checks` are functions in a list, and are {shown(checks)}.\nWrite "
            "for example `checks=[performance()]`."
        )
    for check in checks:
        check_function("checks", check, "check(subject) -> rows", call="audit")
    names = [getattr(check, "__name__", type(check).__name__) for check in checks]
    if len(set(names)) < len(names):
        raise ValueError(
            f"audit: two checks have one name: {', '.join(names)}.\nA check is called "
            "by its `__name__`."
        )
    rows, seconds = {}, {}
    for number, (name, check) in enumerate(zip(names, checks, strict=True)):
        own = folded(key, number)
        subject = Subject(apply_fn, variables, inputs, classes, own, batch_size)
        start = time.perf_counter()
        rows[name] = _rows_of(check, subject)
        seconds[name] = time.perf_counter() - start
    return Report(rows, seconds)


def _rows_of(check: Check, subject: Subject) -> tuple[Row, ...]:
    """The rows of a check, as far as it comes."""
    rows: list[Row] = []
    try:
        for row in check(subject):
            if not isinstance(row, Row) or row.verdict not in get_args(Verdict):
                raise TypeError(
                    f"a check returns rows, `Row(claim, verdict)` with a verdict of "
                    f"{', '.join(get_args(Verdict))}, and one is {row!r}"
                )
            rows.append(row)
    # One check that cannot be made says nothing about the others.
    except Exception as error:
        first = str(error).partition("\n")[0]
        rows.append(
            Row("can be checked", "error", note=f"{type(error).__name__}: {first}")
        )
    return tuple(rows)
