"""What counts as an integer: Python's and NumPy's, and no truth value."""

from __future__ import annotations

import numbers
from typing import Any


def is_integer(value: Any) -> bool:
    """Whether a value is one integer.

    Args:
        value: anything.
    """
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def checked_integer(name: str, value: Any, smallest: int, *, call: str = "") -> int:
    """Returns an argument as Python's integer, which alone is static.

    Args:
        name: of the argument.
        value: what was given.
        smallest: the smallest that makes sense.
        call: the function that it was given to, for the error.

    Raises:
        ValueError: if it is smaller, or no integer.
    """
    if not is_integer(value) or int(value) < smallest:
        raise ValueError(
            f"{call}{': ' if call else ''}`{name}` must be an integer of at least "
            f"{smallest}, and is {value!r}."
        )
    return int(value)
