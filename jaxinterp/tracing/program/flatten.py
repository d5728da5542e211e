"""From a jaxpr to a `Program`: which equations are calls, and what their bodies are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend import core
from jax.extend.core import primitives as prims

from jaxinterp.tracing import compat
from jaxinterp.tracing.program.program import (
    Atom,
    Call,
    Constant,
    Equation,
    Program,
    Value,
)

LOOPS = frozenset({prims.scan_p, prims.while_p, prims.cond_p})

BARRIER = compat.primitive_of(
    lax.optimization_barrier, jax.ShapeDtypeStruct((), "float32")
)

# The parameter of a call that holds its body.
_BODY_PARAMS = ("jaxpr", "call_jaxpr")


def _call_body(eqn: core.JaxprEqn) -> Any | None:
    if eqn.primitive in LOOPS:
        return None
    for name in _BODY_PARAMS:
        if name in eqn.params and _is_called(eqn, eqn.params[name]):
            return eqn.params[name]
    return _product_body(eqn) or _barrier_body(eqn) or compat.expand_hijax(eqn)


def _barrier_body(eqn: core.JaxprEqn) -> Any | None:
    """A barrier around several arrays as one around each: none depends on others."""
    if eqn.primitive is not BARRIER or len(eqn.invars) == 1:
        return None

    def each(*arrays: Any) -> list[Any]:
        return [lax.optimization_barrier(array) for array in arrays]

    kinds = [jax.ShapeDtypeStruct(*compat.kind_of(v)) for v in eqn.invars]
    return jax.make_jaxpr(each)(*kinds)


def _product_body(eqn: core.JaxprEqn) -> Any | None:
    """A contraction that adds nothing up, `"btc,bc->btc"`, as a product."""
    if eqn.primitive is not prims.dot_general_p:
        return None
    (contracted, _), batch = eqn.params["dimension_numbers"]
    if contracted:
        return None
    (output,) = eqn.outvars
    shape, dtype = compat.kind_of(output)
    n_left = len(compat.kind_of(eqn.invars[0])[0])
    first_free = len(batch[0]), n_left  # the product has batch, left and right axes

    def factor(array: Any, own: Sequence[int], start: int) -> Any:
        free = itertools.count(start)
        axes = [
            own.index(axis) if axis in own else next(free) for axis in range(array.ndim)
        ]
        array = lax.convert_element_type(array, dtype)
        if axes != sorted(axes):
            array = lax.transpose(array, np.argsort(axes))
        if array.shape != shape:
            array = lax.broadcast_in_dim(array, shape, sorted(axes))
        return array

    def product(*arrays: Any) -> Any:
        return lax.mul(*map(factor, arrays, batch, first_free))

    kinds = [jax.ShapeDtypeStruct(*compat.kind_of(v)) for v in eqn.invars]
    return jax.make_jaxpr(product)(*kinds)


def _is_called(eqn: core.JaxprEqn, body: Any) -> bool:
    """Whether a body has the operands and results of its equation.

    The reducer of `lax.reduce` has not.
    """
    inner, _ = compat.open_jaxpr(body)
    ours, theirs = (
        [list(map(compat.kind_of, variables)) for variables in (j.invars, j.outvars)]
        for j in (eqn, inner)
    )
    return ours == theirs and "mesh" not in eqn.params  # a shard has a part of them


def _loop_bodies(eqn: core.JaxprEqn) -> tuple[Any, ...]:
    if eqn.primitive is prims.scan_p:
        return (eqn.params["jaxpr"],)
    if eqn.primitive is prims.cond_p:
        return tuple(eqn.params["branches"])
    if eqn.primitive is prims.while_p:
        return (eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"])
    return ()


def _call_name(eqn: core.JaxprEqn) -> str:
    name = eqn.params.get("name", "")
    return name if isinstance(name, str) else ""


def _join(prefix: str, scope: str) -> str:
    """The path of a scope inside a module, whose path it may repeat."""
    if not prefix or scope == prefix or scope.startswith(prefix + "/"):
        return scope or prefix
    return f"{prefix}/{scope}" if scope else prefix


class _Flattener:
    """The equations, calls and constants of a program that is being flattened.

    Attributes:
        callers: the calls and loops around the next equation, the innermost first.
        origin: the equation that JAX traced, if the next one was made of it here.
    """

    def __init__(self, callers: tuple[core.JaxprEqn, ...]) -> None:
        self.callers = callers
        self.origin: core.JaxprEqn | None = None
        self.equations: list[Equation] = []
        self.calls: list[Call] = []
        self.constants: dict[Value, Any] = {}

    def enter(
        self, jaxpr: Any, operands: Sequence[Atom] | None, prefix: str
    ) -> tuple[list[Atom], list[Atom]]:
        inner, consts = compat.open_jaxpr(jaxpr)
        env: dict[Any, Atom] = {}
        for var, const in zip(inner.constvars, consts, strict=True):
            env[var] = value = Value(var.aval)
            self.constants[value] = const
        if operands is None:
            operands = [Value(var.aval) for var in inner.invars]
        env.update(zip(inner.invars, operands, strict=True))
        for eqn in inner.eqns:
            self.add(eqn, env, prefix)
        return list(operands), [_read(env, var) for var in inner.outvars]

    def add(self, eqn: core.JaxprEqn, env: dict[Any, Atom], prefix: str) -> None:
        scope = _join(prefix, "" if self.origin else compat.scope_of(eqn))
        inputs = tuple(_read(env, var) for var in eqn.invars)
        body = _call_body(eqn)
        if body is None:
            outputs = tuple(Value(var.aval) for var in eqn.outvars)
            inner = (eqn, *self.callers)
            bodies = tuple(flatten(jaxpr, scope, inner) for jaxpr in _loop_bodies(eqn))
            env.update(zip(eqn.outvars, outputs, strict=True))
            self.equations.append(
                Equation(
                    *(eqn.primitive, eqn.params, inputs, outputs, scope),
                    origin=self.origin or eqn,
                    bodies=bodies,
                    callers=self.callers,
                )
            )
            return
        start, position = len(self.equations), len(self.calls)
        self.callers, callers = (eqn, *self.callers), self.callers
        is_made = not any(body is param for param in eqn.params.values())
        self.origin, origin = self.origin or (eqn if is_made else None), self.origin
        _, results = self.enter(body, inputs, scope)
        self.callers, self.origin = callers, origin
        env.update(zip(eqn.outvars, results, strict=True))
        # A result that is an operand, or a result twice, gets a value of its own here:
        # only one equation writes each value.
        computed = {o for e in self.equations[start:] for o in e.outputs}
        outputs = []
        for result in results:
            is_new = result in computed and result not in outputs
            outputs.append(result if is_new else Value(result))
        whole = Equation(eqn.primitive, eqn.params, inputs, tuple(outputs), scope, eqn)
        call = Call(
            start,
            len(self.equations),
            whole,
            _call_name(eqn),
            compat.checkpoint_settings(eqn),
        )
        self.calls.insert(position, call)


def _read(env: Mapping[Any, Atom], var: Any) -> Atom:
    if isinstance(var, core.Literal):
        return Constant(var.val, *compat.kind_of(var))
    return env[var]


def flatten(
    jaxpr: Any, scope: str = "", callers: tuple[core.JaxprEqn, ...] = ()
) -> Program:
    """Returns a jaxpr as a `Program`, with the equations of calls in its list.

    Args:
        jaxpr: an open or closed jaxpr.
        scope: for the body of a loop, the path of the module that holds the loop.
        callers: for the body of a loop, the loop, and the calls and loops around it,
            the innermost first.
    """
    flattener = _Flattener(callers)
    inputs, outputs = flattener.enter(jaxpr, None, scope)
    return Program(
        tuple(v for v in inputs if isinstance(v, Value)),
        tuple(outputs),
        flattener.constants,
        tuple(flattener.equations),
        tuple(flattener.calls),
    )
