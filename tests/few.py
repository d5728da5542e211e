"""Which cases of a test always run, and which with the slow tests alone."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], always: int | Iterable[Any], *, reason: str) -> list[Any]:
    """Returns the cases of a test, of which all but a few are slow.

    Args:
        cases: the cases; a tuple is a case of several arguments.
        always: how many cases at the beginning always run, or which ones.
        reason: why the others ask little that these do not.

    Example:
        >>> [len(case.marks) for case in few("abc", 1, reason="the same, later")]
        [0, 1, 1]
    """
    slow = pytest.mark.slow(reason=reason)
    always = always if isinstance(always, int) else list(always)
    listed = []
    for i, case in enumerate(cases):
        is_kept = i < always if isinstance(always, int) else case in always
        arguments = case if isinstance(case, tuple) else (case,)
        listed.append(pytest.param(*arguments, marks=[] if is_kept else [slow]))
    return listed
