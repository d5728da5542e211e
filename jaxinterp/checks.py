"""What an argument has to be: an integer, a number, a share, a word, an index.

Each question is answered here once, so that every call gives the same answer. NumPy's
integers and floats are numbers like Python's own; `True` and `False` are none. A
`checked_...` function returns the argument as Python's own type, which is static under
`jit`; a `check_...` function only raises. The messages say which argument of which call
is wrong, and what it was.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def is_traced(*trees: Any) -> bool:
    """Returns whether a transformation such as `jax.jit` is tracing any of the arrays.

    Args:
        *trees: pytrees of arrays.

    Example:
        >>> is_traced(jnp.ones(2)), bool(jax.jit(lambda x: is_traced(x))(1.0))
        (False, True)
    """
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def is_staged() -> bool:
    """Returns whether this is run to be compiled, as a part of `jax.jit` or of a loop.

    Under other transformations, such as `jax.grad`, arrays are traced while what they
    are computed from is known: those run a host loop as it is written.

    Example:
        >>> is_staged(), bool(jax.jit(is_staged)())
        (False, True)
    """
    return isinstance(jnp.zeros(()), Tracer)


def check_outside(call: str, reason: str, *trees: Any) -> None:
    """Raises if a transformation such as `jax.jit` is tracing the arrays of a call.

    Args:
        call: the name of the function that was called.
        reason: why it needs the values of its arrays, such as `"reads a stream on the
            host"`.
        *trees: pytrees of arrays, the arguments of the call.

    Raises:
        TypeError: if one of the arrays is traced.
    """
    if is_traced(*trees):
        raise TypeError(
            f"{call}() {reason}, and was given arrays that a transformation such as "
            "`jax.jit` is tracing.\nCall it outside of that."
        )


def shown(value: Any) -> str:
    """Returns how a message shows a value: as Python prints it, arrays by their shape.

    Args:
        value: any object. Of an array that a transformation such as `jax.jit` traces
            there is no value to be shown, and of a large one too much.

    Example:
        >>> shown("wide"), shown([jnp.ones((3, 3), bool), 4])
        ("'wide'", '[bool[3, 3], 4]')
    """

    def word(leaf: Any) -> Any:
        if isinstance(leaf, Tracer):
            return _Word(f"a traced {leaf.dtype}{list(leaf.shape)}")
        if isinstance(leaf, jax.Array | np.ndarray) and leaf.size > 8:
            return _Word(f"{leaf.dtype}{list(leaf.shape)}")
        return _Word(f"a traced {type(leaf).__name__}") if is_traced(leaf) else leaf

    def is_leaf(node: Any) -> bool:
        return not isinstance(node, list | tuple | dict)

    text = repr(jax.tree.map(word, value, is_leaf=is_leaf))
    return text if len(text) <= 300 else f"{text[:300]}..."


class _Word(str):
    """A text that is printed without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


# --- Integers -------------------------------------------------------------------------


def is_integer(value: Any) -> bool:
    """Returns whether a value is one integer, of Python or of NumPy.

    Args:
        value: any object.

    Example:
        >>> is_integer(3), is_integer(np.int8(3)), is_integer(True), is_integer(3.0)
        (True, True, False, False)
    """
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def checked_integer(name: str, value: Any, smallest: int, *, call: str = "") -> int:
    """Returns an argument as an integer of Python.

    Args:
        name: the name of the argument.
        value: the argument that is checked.
        smallest: the smallest integer that makes sense.
        call: the name of the function that was called, for the message.

    Raises:
        ValueError: if the argument is smaller, or is no integer.

    Example:
        >>> checked_integer("steps", np.int64(50), 1)
        50
    """
    if not is_integer(value) or int(value) < smallest:
        raise ValueError(
            f"{_named(name, call)} must be an integer of at least {smallest}, and is "
            f"{shown(value)}."
        )
    return int(value)


def checked_integers(
    call: str, what: str, integers: Any, example: str
) -> tuple[int, ...]:
    """Returns the integers by which things such as channels are named, as a tuple.

    Args:
        call: the name of the function that was called.
        what: the word for one of the things, such as `"channel"`.
        integers: one integer, or several of them in a list, a range or an array.
        example: the correct call, for the error.

    Raises:
        TypeError: if one of them is no integer.
        ValueError: if there are none, or one is named twice.

    Example:
        >>> checked_integers("some", "channel", np.array([3, 1]), "some([3, 1])")
        (3, 1)
    """
    is_array = isinstance(integers, np.ndarray | jax.Array)
    is_known = is_array and not is_traced(integers)
    values = np.asarray(integers).tolist() if is_known else integers
    names = tuple(values) if isinstance(values, tuple | list | range) else (values,)
    if not all(map(is_integer, names)):
        raise TypeError(
            f"{call}() takes the number of a {what}, or a list of several, `{example}`;"
            f" {shown(integers)} was given."
        )
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"{call}: each {what} is named once, and at least one: {shown(integers)}."
        )
    return tuple(map(int, names))


def check_index(index: Any, size: int, what: str) -> None:
    """Raises if an index is out of range; negative ones count from the end.

    Args:
        index: one integer, or an array of them; what is traced cannot be looked at.
        size: the number of things to choose from.
        what: the word for one of these things, such as `"channel"`.

    Raises:
        ValueError: if an index is out of range; the message names it and the size.
    """
    if is_traced(index):
        return
    values = np.asarray(index)
    wrong = values[(values < -size) | (values >= size)]
    if wrong.size:
        raise ValueError(
            f"There is no {what} {wrong[0]}: there are {size}, 0..{size - 1}."
        )


# --- Real numbers ---------------------------------------------------------------------


def is_real(value: Any) -> bool:
    """Returns whether a value is one finite real number, of Python or of NumPy.

    Args:
        value: any object.

    Example:
        >>> is_real(0.5), is_real(np.float32(2)), is_real(float("nan")), is_real(True)
        (True, True, False, False)
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def is_share(value: Any) -> bool:
    """Returns whether a value is one number between 0 and 1, both included.

    Args:
        value: any object.

    Example:
        >>> is_share(0.5), is_share(1), is_share(1.5), is_share(True)
        (True, True, False, False)
    """
    return is_real(value) and 0 <= value <= 1


def checked_real(
    name: str,
    value: Any,
    smallest: float = -math.inf,
    largest: float = math.inf,
    *,
    call: str = "",
) -> float:
    """Returns an argument as a float of Python.

    Args:
        name: the name of the argument.
        value: the argument that is checked.
        smallest: the smallest number that makes sense; any number by default.
        largest: the largest number that makes sense; any number by default.
        call: the name of the function that was called, for the message.

    Raises:
        ValueError: if the argument is no finite number, or out of this range.

    Example:
        >>> checked_real("epsilon", 1, 0)
        1.0
    """
    if is_real(value) and smallest <= value <= largest:
        return float(value)
    kind = "be a finite number"
    if math.isfinite(smallest):
        kind += f" of at least {smallest:g}"
    if math.isfinite(largest):
        kind = f"lie between {smallest:g} and {largest:g}"
    message = f"{_named(name, call)} must {kind}, and is {shown(value)}."
    is_array = isinstance(value, np.ndarray | jax.Array) and not is_traced(value)
    if is_array and not value.ndim:
        message += f"\nThat is an array; write `float({name})`."
    raise ValueError(message)


def checked_positive(name: str, value: Any, *, call: str = "") -> float:
    """Returns an argument that is larger than 0 as a float of Python.

    Args:
        name: the name of the argument.
        value: the argument that is checked.
        call: the name of the function that was called, for the message.

    Raises:
        ValueError: if the argument is no finite number, or not larger than 0.

    Example:
        >>> checked_positive("learning_rate", 0.5)
        0.5
    """
    number = checked_real(name, value, 0, call=call)
    if number == 0:
        raise ValueError(f"{_named(name, call)} must be positive, and is 0.")
    return number


def checked_share(name: str, value: Any, *, call: str = "") -> float:
    """Returns an argument between 0 and 1, both included, as a float of Python.

    Args:
        name: the name of the argument.
        value: the argument that is checked.
        call: the name of the function that was called, for the message.

    Raises:
        ValueError: if the argument is no number, or is outside of [0, 1].

    Example:
        >>> checked_share("rate", np.float32(0.5))
        0.5
    """
    return checked_real(name, value, 0, 1, call=call)


# --- Functions ------------------------------------------------------------------------


def check_function(name: str, value: Any, example: str, *, call: str = "") -> None:
    """Raises unless an argument can be called.

    Args:
        name: the name of the argument.
        value: the argument that is checked.
        example: what such a function looks like, for the message.
        call: the name of the function that was called, for the message.

    Raises:
        TypeError: if the argument is no function.

    Example:
        >>> check_function("paste", lambda images, key: images, "paste(images, key)")
    """
    if not callable(value):
        raise TypeError(
            f"{_named(name, call)} must be a function, `{example}`, and is "
            f"{shown(value)}."
        )


# --- Words ----------------------------------------------------------------------------


def check_choice(
    name: str, value: Any, choices: Sequence[str], *, call: str = ""
) -> None:
    """Raises unless an argument is one of a few words.

    Args:
        name: the name of the argument.
        value: the argument that is checked.
        choices: the words that there are.
        call: the name of the function that was called, for the message.

    Raises:
        ValueError: if the argument is none of the words; the message lists them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{_named(name, call)} is {shown(value)}. There are: "
            f"{', '.join(map(repr, choices))}.{nearest(value, choices)}"
        )


def nearest(word: Any, words: Iterable[str]) -> str:
    """Returns the end of a message that names the word that was probably meant.

    Args:
        word: what was given instead of one of the words.
        words: the words that there are.

    Example:
        >>> nearest("totl", ["logit", "total"]), nearest("x", ["logit", "total"])
        (" Perhaps 'total'?", '')
    """
    matches = difflib.get_close_matches(str(word), words, n=1)
    return f" Perhaps {matches[0]!r}?" if matches else ""


def _named(name: str, call: str) -> str:
    return f"{call}: `{name}`" if call else f"`{name}`"
