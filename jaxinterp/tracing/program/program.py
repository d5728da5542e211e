"""A traced function as one flat list of equations.

JAX nests equations in calls (`jit`, `custom_jvp`, `remat`, ...). A `Program` sees
through them: its `equations` are the innermost ones, in the order in which they run.
Every call is kept as the *range* of equations that it contains, so that it still runs
whole (with its custom derivative, its compiled body) where nothing inside is changed.
Loops and branches stay equations, with a `Program` for each body.
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
    """An operand that is a literal of the equation itself.

    Attributes:
        value: the number, or with simplified constants the array.
        shape: the shape of the literal.
        dtype: the dtype of the literal.
    """

    value: Any
    shape: tuple[int, ...]
    dtype: Any


Atom = Value | Constant


@dataclasses.dataclass(frozen=True, eq=False)
class Equation:
    """One application of a primitive.

    Attributes:
        primitive: the primitive that is applied.
        params: the parameters of the primitive.
        inputs: the operands, in order.
        outputs: the results, in order.
        scope: the path of the module in which the equation was traced, `""` if none.
        origin: the equation as JAX traced it.
        bodies: for a loop, the programs of its body; for a `cond`, of its branches.
        callers: the calls and loops around the equation, the innermost first.
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
        """The operands that are values, not literals."""
        return tuple(v for v in self.inputs if isinstance(v, Value))

    @property
    def line(self) -> str:
        """Where the user wrote the equation, or called the library that wrote it."""
        lines = map(compat.source_line, (self.origin, *self.callers))
        return next(filter(None, lines), "unknown line")


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call whose body is part of the program: the equations `start` to `stop`.

    Attributes:
        start: the index of the first equation of the body.
        stop: one past the index of the last equation of the body.
        equation: the call itself, to run it whole.
        name: the name of the called function, `""` if unknown.
        checkpoint: the keywords of `jax.checkpoint`, if the call is one: its body is
            computed again in a backward pass.
    """

    start: int
    stop: int
    equation: Equation
    name: str
    checkpoint: dict[str, Any] | None

    @property
    def has_own_derivative(self) -> bool:
        """Whether the call has a derivative by `jax.custom_vjp` or `custom_jvp`."""
        name = self.equation.primitive.name
        return name.startswith(("custom_vjp_call", "custom_jvp_call"))


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A function in single-assignment form.

    Attributes:
        inputs: the arguments of the function.
        outputs: the results of the function.
        constants: the values that the function closes over, with their arrays.
        equations: the innermost equations, in the order in which they run.
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
