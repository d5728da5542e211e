"""Frozen dataclasses whose fields are traced, but for those that are static."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

Class = TypeVar("Class", bound=type)


def static(*, default: Any = dataclasses.MISSING) -> Any:
    """Declares a static field, which is hashed and part of the program.

    Args:
        default: the value of the field where the caller names none; by default the
            caller has to.
    """
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(
    eq_default=False,
    frozen_default=True,
    field_specifiers=(dataclasses.field, static),
)
def pytree(cls: Class) -> Class:
    """Makes a class a frozen dataclass that JAX takes apart and puts together.

    Args:
        cls: a class with annotated fields: arrays or pytrees of them, and `static()`.

    Returns:
        The class. Its instances are compared by identity, since arrays have no single
        truth value.

    Example:
        >>> @pytree
        ... class Shift:
        ...     amount: float
        ...     axis: int = static(default=0)
        >>> jax.tree.leaves(Shift(2.5))
        [2.5]
    """
    frozen = dataclasses.dataclass(frozen=True, eq=False)(cls)
    return jax.tree_util.register_dataclass(frozen)
