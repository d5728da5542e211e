"""What counts as an integer: Python's and NumPy's, and no truth value; as an index."""

from __future__ import annotations

import math
import numbers
from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def is_traced(*trees: Any) -> bool:
    """Whether any array is a tracer: whether there is a transformation around.

    Args:
        *trees: pytrees of arrays.
    """
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


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


def is_share(value: Any) -> bool:
    """Whether a value is one number in [0, 1].

    Args:
        value: anything.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and 0 <= float(value) <= 1


def real_number(name: str, value: Any) -> float:
    """Returns an argument as a float.

    Args:
        name: of the function that it was given to.
        value: what was given.

    Raises:
        TypeError: if it is no finite real number.
    """
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise TypeError(f"{name}() takes a finite number, and was given {value!r}.")
    return float(value)


def check_integer(name: str, value: Any, *, smallest: int) -> None:
    """Raises unless an argument is a large enough integer, Python's or NumPy's.

    Args:
        name: of the argument.
        value: what was given.
        smallest: the smallest that makes sense.

    Raises:
        ValueError: if it is smaller, or no integer.
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < smallest:
        raise ValueError(
            f"`{name}` must be an integer of at least {smallest}, and is {value!r}."
        )


def check_fraction(name: str, value: Any) -> None:
    """Raises unless an argument is a number, Python's or NumPy's, between 0 and 1.

    Args:
        name: of the argument.
        value: what was given.

    Raises:
        ValueError: if it lies outside of [0, 1], or is no number.
    """
    if not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"`{name}` must lie between 0 and 1, and is {value!r}.")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises unless an argument is one of the words that it may be.

    Args:
        name: of the argument.
        value: what was given.
        choices: the words.

    Raises:
        ValueError: if it is another; the message lists them.
    """
    if value not in choices:
        raise ValueError(
            f"`{name}` is {value!r}. There are: {', '.join(map(repr, choices))}."
        )
