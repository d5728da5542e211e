"""What happens in a `scan`, a `while` loop or a `cond`: their bodies are programs too.

How values enter and leave a body, and how a loop runs when something in its body is
read, replaced or given a rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives as prims

from jaxinterp.tracing import compat
from jaxinterp.tracing.program.program import Atom, Equation, Program, Value
from jaxinterp.tracing.program.while_loop import differentiable_while

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
