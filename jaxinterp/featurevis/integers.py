"""What counts as an integer: Python's and NumPy's, and no truth value; as an index."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from jax.core import Tracer


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


def check_index(index: Any, size: int, what: str) -> None:
    """Raises if an index is out of range; negative ones count from the end.

    Args:
        index: integers; what is traced cannot be looked at.
        size: of what is indexed.
        what: it is called.

    Raises:
        ValueError: naming the index and the size.
    """
    if isinstance(index, Tracer):
        return
    values = np.asarray(index)
    wrong = values[(values < -size) | (values >= size)]
    if wrong.size:
        raise ValueError(
            f"There is no {what} {wrong[0]}: there are {size}, 0..{size - 1}."
        )
