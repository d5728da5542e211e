"""What of an argument is static: known when a program is compiled, and hashable."""

from __future__ import annotations

import dataclasses
import enum
import numbers
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class StaticPart:
    """The static part of a context, such as `"mode": "linear"`: all but the arrays.

    Two are equal if they are constant and hold the same. So a program that is compiled
    for a static argument is used again where that is right, and nowhere else.

    Attributes:
        tree: the structure of the context.
        leaves: the leaves of the context, with a mark where an array belongs.
    """

    tree: Any
    leaves: tuple[Any, ...]

    @property
    def is_constant(self) -> bool:
        """Whether equal ones hold the same: numbers, strings and functions do.

        An object that JAX does not know to hold arrays may hold others at each call,
        and what is compiled for it once must not be taken for it later.
        """
        return all(isinstance(leaf, _CONSTANT) for leaf in self.leaves)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticPart) or not self.is_constant:
            return self is other
        return (self.tree, self.leaves) == (other.tree, other.leaves)

    def __hash__(self) -> int:
        return hash((self.tree, self.leaves)) if self.is_constant else id(self)

    def with_arrays(self, arrays: list[Any]) -> Any:
        """Returns the context with arrays in their places.

        Args:
            arrays: the arrays of a context, as `static_and_arrays` returns them.
        """
        rest = iter(arrays)
        leaves = [next(rest) if leaf is _ARRAY else leaf for leaf in self.leaves]
        return self.tree.unflatten(leaves)


_ARRAY = "an array belongs here"

_CONSTANT = (
    *(str, bytes, numbers.Number, enum.Enum, np.dtype, type),
    *(types.FunctionType, types.BuiltinFunctionType, jax.stages.Wrapped),
    *(jax.custom_jvp, jax.custom_vjp),
)


def static_and_arrays(context: Any) -> tuple[StaticPart, list[Any]]:
    """Returns the static part of a pytree, and its arrays.

    Args:
        context: a pytree of arrays and other leaves, such as numbers and functions.
    """
    leaves, tree = jax.tree.flatten(context)
    is_array = [
        isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves
    ]
    pairs = list(zip(leaves, is_array, strict=True))
    constants = tuple(_ARRAY if is_one else leaf for leaf, is_one in pairs)
    return StaticPart(tree, constants), [leaf for leaf, is_one in pairs if is_one]


@dataclasses.dataclass(frozen=True, eq=False)
class _Identified:
    """A function that cannot be hashed, known by its identity."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __hash__(self) -> int:
        return id(self.function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identified) and self.function is other.function


def hashable(function: Any) -> Any:
    """Returns a function as something that can be hashed, so that a program is kept.

    Args:
        function: a function, or `None`, which stays. One that cannot be hashed is known
            by its identity.
    """
    try:
        hash(function)
    except TypeError:
        return _Identified(function)
    return function
