"""Objectives by name: what a string such as `"mixed4a:476"` means."""

from __future__ import annotations

import re
from typing import Any

from jaxinterp.checks import shown
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.output import output
from jaxinterp.objectives.unit import channel

_NUMBER = re.compile(r"-?\d+")

_RANGE = re.compile(r"(\d+)-(\d+)")


def as_objective(value: Any) -> Objective:
    """Returns the objective that a string means; an objective is returned as it is.

    | string | objective |
    |---|---|
    | `"site:476"` | `channel("site", 476)` |
    | `"site:3,5"` | `channel("site", [3, 5])`, two units |
    | `"site:0-511"` | channels 0 to 511, both included |
    | `"site:*"` | `channel("site")`, every channel |
    | `":3"` | `output(3)`, of the model's output |

    What stands before the last colon is an address, or anything else that
    `jaxinterp.capture` takes for one site.

    Args:
        value: a string or an objective.

    Raises:
        ValueError: if the string has another form.
        TypeError: if it is neither.

    Example:
        >>> as_objective("mixed4a:476,478-480").index.tolist()
        [476, 478, 479, 480]

    """
    if isinstance(value, Objective):
        return value
    if not isinstance(value, str):
        raise TypeError(
            f"An objective was expected, and {shown(value)} was given.\n"
            "Write `channel('Conv_0', 3)`, the same as a string, 'Conv_0:3', or "
            "`custom(lambda view: ..., 'Conv_0')`."
        )
    site, colon, text = value.rpartition(":")
    if not colon:
        raise ValueError(
            f"{shown(value)} names a site and no channel.\n"
            f"Write '{value}:3' for a channel, '{value}:*' for every channel, or "
            f"`layer({shown(value)})` for the layer as a whole."
        )
    index = None if text.strip() == "*" else _indices(text, value)
    return channel(site.strip(), index) if site.strip() else output(index)


def _indices(text: str, value: str) -> int | list[int]:
    """The indices of `3`, `3,5`, `0-511` and what they combine to."""
    indices: list[int] = []
    for part in map(str.strip, text.split(",")):
        if _NUMBER.fullmatch(part):
            indices.append(int(part))
            continue
        match = _RANGE.fullmatch(part)
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError(
                f"{part!r} in {shown(value)} is no index of a channel.\n"
                "After the last colon write an index, '3', several, '3,5', a range "
                "with both ends, '0-511', or '*' for all."
            )
        indices += range(int(match[1]), int(match[2]) + 1)
    return indices
