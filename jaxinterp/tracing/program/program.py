"""A traced function as one flat list of equations.

JAX nests equations in calls (`jit`, `custom_jvp`, `remat`, ...). A `Program` sees
through
them: its `equations` are the leaves in the order in which they run, and every call is
    kept
as the *range* of equations that it contains, so that an interpreter can still run it
whole (with its custom derivative, its compiled body) where nobody asked for anything
inside. Loops and branches stay equations, with a `Program` for each body.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxinterp.tracing import compat


class Value:
    """What an equation writes and others read: a result, an input, a constant."""

    __slots__ = ("dtype", "shape")

    def __init__(self, aval: Any):
        self.shape: tuple[int, ...] = tuple(getattr(aval, "shape", ()))
        self.dtype: Any = getattr(aval, "dtype", None)

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    @property
    def is_inexact(self) -> bool:
        """Whether the value can carry a derivative."""
        return self.dtype is not None and jnp.issubdtype(self.dtype, np.inexact)


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """An operand that is written in the equation itself.

    Attributes:
        value: the number, or with simplified constants the array.
        shape: its shape.
        dtype: its dtype.
    """

    value: Any
    shape: tuple[int, ...]
    dtype: Any


Atom = Value | Constant


@dataclasses.dataclass(frozen=True, eq=False)
class Equation:
    """One application of a primitive.

    Attributes:
        primitive: what is applied.
        params: the parameters of the primitive.
        inputs: operands, in order.
        outputs: results, in order.
        scope: the module path in which the equation was traced, `""` where none.
        origin: the equation as JAX traced it.
        bodies: the programs of a loop's body or a branch's arms.
        callers: the calls and loops that it was traced in, the innermost first.
    """

    primitive: core.Primitive
    params: dict[str, Any]
    inputs: tuple[Atom, ...]
    outputs: tuple[Value, ...]
    scope: str
    origin: core.JaxprEqn
    bodies: tuple[Program, ...] = ()
    callers: tuple[core.JaxprEqn, ...] = ()

    @property
    def values(self) -> tuple[Value, ...]:
        """The operands that are values."""
        return tuple(v for v in self.inputs if isinstance(v, Value))

    @property
    def line(self) -> str:
        """Where the user wrote it, or the library's function that it is in."""
        lines = map(compat.source_line, (self.origin, *self.callers))
        return next(filter(None, lines), "unknown line")


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call that the program sees through: equations `start` to `stop` are its body.

    Attributes:
        start: index of its first equation.
        stop: one past the index of its last equation.
        equation: the call itself, to run it whole.
        name: what the user called the function, `""` where unknown.
        checkpoint: the keywords of `jax.checkpoint`, if its body is to be computed
            again in a backward pass.
    """

    start: int
    stop: int
    equation: Equation
    name: str
    checkpoint: dict[str, Any] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A function in single-assignment form.

    Attributes:
        inputs: the arguments.
        outputs: the results.
        constants: values that the function closes over.
        equations: the leaves, in the order in which they run.
        calls: the calls, outer before inner where they start together.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Atom, ...]
    constants: dict[Value, Any]
    equations: tuple[Equation, ...]
    calls: tuple[Call, ...]

    def walk(self) -> Iterator[tuple[Program, int, Equation]]:
        """Yields every equation, those of bodies after their loop."""
        for index, equation in enumerate(self.equations):
            yield self, index, equation
            for body in equation.bodies:
                yield from body.walk()
