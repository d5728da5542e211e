"""What counts as an integer: Python's and NumPy's, and no truth value; as an index."""

from __future__ import annotations

import numbers
from typing import Any

import jax
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


def checked_numbers(call: str, what: str, given: Any, example: str) -> tuple[int, ...]:
    """Returns the numbers of some things, which are static.

    Args:
        call: the function that they were given to.
        what: one of the things is called.
        given: one integer, or several in a list or an array.
        example: of a call, for the error.

    Raises:
        TypeError: if one is no integer.
        ValueError: if there are none, or one is there twice.
    """
    is_array = isinstance(given, np.ndarray | jax.Array)
    is_known = is_array and not isinstance(given, Tracer)
    listed = np.asarray(given).tolist() if is_known else given
    several = isinstance(listed, tuple | list | range)
    numbers: tuple[Any, ...] = tuple(listed) if several else (listed,)
    if not all(map(is_integer, numbers)):
        raise TypeError(
            f"{call}() takes the number of a {what}, or a list of several, `{example}`;"
            f" {given!r} was given."
        )
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"{call}: each {what} is named once, and at least one: {given!r}."
        )
    return tuple(map(int, numbers))


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
