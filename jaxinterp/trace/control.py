"""Calls and loops: the one file that reads the parameters of control-flow primitives.

`flatten` turns a jaxpr into a `Program`; `run_loop` runs a loop or branch again with
another interpretation of its bodies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.extend.core import primitives as prims

from jaxinterp.trace import compat
from jaxinterp.trace.program import Atom, Call, Constant, Equation, Program, Value
from jaxinterp.trace.while_loop import differentiable_while

LOOPS = frozenset({prims.scan_p, prims.while_p, prims.cond_p})
# The parameter of a call that holds its body.
_BODY_PARAMS = ("jaxpr", "call_jaxpr")


def _call_body(eqn: core.JaxprEqn) -> Any | None:
    if eqn.primitive in LOOPS:
        return None
    for name in _BODY_PARAMS:
        if name in eqn.params and _is_called(eqn, eqn.params[name]):
            return eqn.params[name]
    return compat.expand_hijax(eqn)


def _is_called(eqn: core.JaxprEqn, body: Any) -> bool:
    """Whether a body takes and gives what its equation does, unlike `lax.reduce`'s."""
    inner, _ = compat.open_jaxpr(body)
    ours, theirs = (
        [list(map(compat.kind_of, variables)) for variables in (j.invars, j.outvars)]
        for j in (eqn, inner)
    )
    return ours == theirs and "mesh" not in eqn.params  # a shard sees a part


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
    if not prefix or scope == prefix or scope.startswith(prefix + "/"):
        return scope or prefix
    return f"{prefix}/{scope}" if scope else prefix


class _Flattener:
    """The state of one flattening: the equations and calls written so far."""

    def __init__(self, callers: tuple[core.JaxprEqn, ...]) -> None:
        self.callers = callers
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
        scope = _join(prefix, compat.scope_of(eqn))
        inputs = tuple(_read(env, var) for var in eqn.invars)
        body = _call_body(eqn)
        if body is None:
            outputs = tuple(Value(var.aval) for var in eqn.outvars)
            inner = (eqn, *self.callers)
            bodies = tuple(flatten(jaxpr, scope, inner) for jaxpr in _loop_bodies(eqn))
            env.update(zip(eqn.outvars, outputs, strict=True))
            self.equations.append(
                Equation(
                    *(eqn.primitive, eqn.params, inputs, outputs, scope, eqn),
                    bodies=bodies,
                    callers=self.callers,
                )
            )
            return
        start, place = len(self.equations), len(self.calls)
        self.callers, outer = (eqn, *self.callers), self.callers
        _, results = self.enter(body, inputs, scope)
        self.callers = outer
        env.update(zip(eqn.outvars, results, strict=True))
        # What is handed through, or given twice, is written once: by who computed it.
        written = {o for e in self.equations[start:] for o in e.outputs}
        outputs = []
        for result in results:
            is_new = result in written and result not in outputs
            outputs.append(result if is_new else Value(result))
        whole = Equation(eqn.primitive, eqn.params, inputs, tuple(outputs), scope, eqn)
        call = Call(
            start,
            len(self.equations),
            whole,
            _call_name(eqn),
            compat.checkpoint_settings(eqn),
        )
        self.calls.insert(place, call)


def _read(env: Mapping[Any, Atom], var: Any) -> Atom:
    if isinstance(var, core.Literal):
        return Constant(var.val, *compat.kind_of(var))
    return env[var]


def flatten(
    jaxpr: Any, scope: str = "", callers: tuple[core.JaxprEqn, ...] = ()
) -> Program:
    """Returns a jaxpr as a `Program`, calls seen through.

    Args:
        jaxpr: an open or closed jaxpr.
        scope: the module path of the loop that the jaxpr is a body of.
        callers: that loop and what it is in.
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


# --- Which values of a body depend on which -------------------------------------------


def loop_bindings(
    equation: Equation,
) -> list[tuple[Program, list[tuple[Atom, Value]], list[tuple[Atom, Value]]]]:
    """Returns how values enter and leave the bodies of a loop.

    Args:
        equation: a `scan`, `while` or `cond`.

    Returns:
        For every body: the body, pairs (value outside or carried, input of the body),
        and pairs (output of the body, value that it becomes: a carried input or a
        result).
    """
    if equation.primitive is prims.cond_p:
        operands = equation.inputs[1:]
        return [
            (
                body,
                list(zip(operands, body.inputs, strict=True)),
                list(zip(body.outputs, equation.outputs, strict=True)),
            )
            for body in equation.bodies
        ]
    if equation.primitive is prims.scan_p:
        (body,) = equation.bodies
        consts, carry = compat.scan_counts(equation.params)
        carried = body.inputs[consts : consts + carry]
        leave = list(zip(body.outputs, equation.outputs, strict=True))
        leave += list(zip(body.outputs[:carry], carried, strict=True))
        return [(body, list(zip(equation.inputs, body.inputs, strict=True)), leave)]
    test, body = equation.bodies
    test_consts, body_consts = (
        equation.params["cond_nconsts"],
        equation.params["body_nconsts"],
    )
    state = equation.inputs[test_consts + body_consts :]
    enter = list(
        zip(
            (*equation.inputs[test_consts : test_consts + body_consts], *state),
            body.inputs,
            strict=True,
        )
    )
    leave = list(zip(body.outputs, equation.outputs, strict=True))
    leave += list(zip(body.outputs, body.inputs[body_consts:], strict=True))
    enter_test = list(
        zip((*equation.inputs[:test_consts], *state), test.inputs, strict=True)
    )
    return [(body, enter, leave), (test, enter_test, [])]


def loop_length(equation: Equation) -> int | None:
    """Returns how often the body of a `scan` runs, `None` for other loops.

    Args:
        equation: a `scan`, `while` or `cond`.
    """
    return equation.params["length"] if equation.primitive is prims.scan_p else None


# --- Running a loop again with another interpretation of its bodies -------------------

# body(program, operands, probes) -> (results, {captured value: array})
RunBody = Callable[
    [Program, Sequence[Any], Mapping[Value, Any]], tuple[list[Any], dict[Value, Any]]
]


@dataclasses.dataclass(frozen=True)
class LoopRun:
    """What a loop gave: its results, and what was captured in its bodies.

    Attributes:
        outputs: the results of the loop.
        captured: values of the bodies; those of a `scan` are stacked on axis 0.
    """

    outputs: list[Any]
    captured: dict[Value, Any]


def run_loop(
    equation: Equation,
    operands: Sequence[Any],
    run_body: RunBody,
    probes: Mapping[Value, Any],
    is_reversed: bool,
) -> LoopRun:
    """Runs a loop or branch, its bodies by `run_body`.

    A value captured in a `scan` is stacked over its steps; in a `while` it is that of
    the last step; in the arm of a `cond` that is not taken it is NaN (0 for integers).

    Args:
        equation: a `scan`, `while` or `cond`.
        operands: the values of its operands.
        run_body: runs one body.
        probes: arrays to be added to values of the bodies, stacked for a `scan`.
        is_reversed: whether a `while` needs a backward pass, at the price of `jax.jvp`.
    """
    if equation.primitive is prims.scan_p:
        return _run_scan(equation, operands, run_body, probes)
    if equation.primitive is prims.cond_p:
        return _run_cond(equation, operands, run_body, probes)
    return _run_while(equation, operands, run_body, probes, is_reversed)


def _run_scan(
    equation: Equation,
    operands: Sequence[Any],
    run_body: RunBody,
    probes: Mapping[Value, Any],
) -> LoopRun:
    (body,) = equation.bodies
    n_consts, n_carry = compat.scan_counts(equation.params)
    consts, init = operands[:n_consts], operands[n_consts : n_consts + n_carry]
    inside = {v: array for v, array in probes.items() if _belongs(v, body)}
    names = list(inside)

    def step(carry: list[Any], xs: tuple[list[Any], list[Any]]) -> Any:
        here, stacked = xs
        arguments = [*consts, *carry, *here]
        results, captured = run_body(
            body, arguments, dict(zip(names, stacked, strict=True))
        )
        keys.extend(captured if not keys else ())
        kept = [captured[value] for value in keys]
        return list(results[:n_carry]), (list(results[n_carry:]), kept)

    keys: list[Value] = []
    final, (stacked, kept) = lax.scan(
        step,
        list(init),
        (list(operands[n_consts + n_carry :]), [inside[name] for name in names]),
        length=equation.params["length"],
        reverse=equation.params["reverse"],
        unroll=equation.params["unroll"],
    )
    return LoopRun([*final, *stacked], dict(zip(keys, kept, strict=True)))


def _run_cond(
    equation: Equation,
    operands: Sequence[Any],
    run_body: RunBody,
    probes: Mapping[Value, Any],
) -> LoopRun:
    index, *arguments = operands
    # Every arm must return the same things: find out what each would capture.
    shapes = []
    for body in equation.bodies:
        traced: dict[Value, Any] = {}

        def dry(*xs: Any, body: Program = body, traced: dict = traced) -> list[Any]:
            traced.update(run_body(body, xs, probes)[1])
            return list(traced.values())

        kinds = jax.eval_shape(dry, *arguments)
        shapes.append(dict(zip(traced, kinds, strict=True)))
    everything = {value: kind for arm in shapes for value, kind in arm.items()}

    def arm(body: Program) -> Callable[..., Any]:
        def run(*xs: Any) -> tuple[list[Any], list[Any]]:
            results, captured = run_body(body, xs, probes)
            return results, [
                captured.get(value, _absent(kind)) for value, kind in everything.items()
            ]

        return run

    outputs, kept = lax.switch(index, [arm(b) for b in equation.bodies], *arguments)
    return LoopRun(list(outputs), dict(zip(everything, kept, strict=True)))


def _run_while(
    equation: Equation,
    operands: Sequence[Any],
    run_body: RunBody,
    probes: Mapping[Value, Any],
    is_reversed: bool,
) -> LoopRun:
    test, body = equation.bodies
    n_test, n_body = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    test_consts, body_consts = operands[:n_test], operands[n_test : n_test + n_body]
    init = list(operands[n_test + n_body :])
    traced: dict[Value, Any] = {}

    def dry(*state: Any) -> list[Any]:
        traced.update(run_body(body, [*body_consts, *state], probes)[1])
        return list(traced.values())

    kinds = jax.eval_shape(dry, *init)
    keys = list(traced)

    def keep_going(carry: Any) -> Any:
        (done,), _ = run_body(test, [*test_consts, *carry[0]], {})
        return done

    def step(carry: Any) -> Any:
        results, captured = run_body(body, [*body_consts, *carry[0]], probes)
        return list(results), [captured[value] for value in keys]

    run = differentiable_while if is_reversed else lax.while_loop
    outputs, kept = run(keep_going, step, (init, [_absent(kind) for kind in kinds]))
    return LoopRun(list(outputs), dict(zip(keys, kept, strict=True)))


def _absent(kind: Any) -> Any:
    inexact = jnp.issubdtype(kind.dtype, jnp.inexact)
    return jnp.full(kind.shape, jnp.nan if inexact else 0, kind.dtype)


def _belongs(value: Value, program: Program) -> bool:
    """Whether a value is of a program or of a body inside of it."""
    home = getattr(value, "home", None)
    bodies = {program} | {b for _, _, e in program.walk() for b in e.bodies}
    if home is not None:
        return home in bodies
    if any(value in body.inputs for body in bodies):
        return True
    return any(value in equation.outputs for _, _, equation in program.walk())
