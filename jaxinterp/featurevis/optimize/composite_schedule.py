"""Which rules hold from which step on: the backward pass of `maximize`.

A unit that noise does not excite at all has no gradient. The first steps therefore go
back by other rules than the derivative.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from jaxinterp.checks import is_integer
from jaxinterp.rules.composite import DERIVATIVE, Composite
from jaxinterp.rules.presets import as_composite, redirected

# In the first steps, rules that let gradients through dead relus; then the derivative.
REDIRECTED_FIRST: Mapping[int, Composite] = types.MappingProxyType(
    {0: redirected(), 16: DERIVATIVE}
)

# Pairs of the first step and the rules that hold from it on, in their order.
Schedule = tuple[tuple[int, Composite], ...]


def checked_schedule(composite: Any) -> Schedule:
    """Returns a composite, or a schedule of composites, as a sorted schedule.

    Args:
        composite: one composite for all steps, its lines or the name of a preset; or a
            mapping from the number of a step to what holds from it on.

    Raises:
        TypeError: if it is neither.
        ValueError: if there is no such preset, no composite holds from step 0 on, or
            the number of a step is no integer from 0.
    """
    if not isinstance(composite, Mapping):
        call = "maximize(..., composite=smooth_max_pool())"
        return ((0, as_composite(composite, call)),)
    schedule = {}
    for number, rules in composite.items():
        if not is_integer(number) or number < 0:
            raise ValueError(
                "maximize: the steps in `composite` are integers from 0, and one is "
                f"{number!r}."
            )
        call = "maximize(..., composite={0: smooth_max_pool()})"
        schedule[int(number)] = as_composite(rules, call)
    if 0 not in schedule:
        raise ValueError(
            "maximize: `composite` says which rules hold from step 0 on, "
            f"`{{0: redirected(), 16: ...}}`; it has the steps {sorted(schedule)}."
        )
    return tuple(sorted(schedule.items(), key=lambda line: line[0]))


def composite_at(schedule: Schedule, number: int) -> Composite:
    """Returns the rules that hold in a step.

    Args:
        schedule: a sorted schedule of composites.
        number: the number of the step, from 0.
    """
    return [composite for first, composite in schedule if first <= number][-1]
