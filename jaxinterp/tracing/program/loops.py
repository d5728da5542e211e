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
        For every body: the body; pairs of an operand of the loop and the input of the
        body that it becomes; and pairs of an output of the body and the value that it
        becomes, a result of the loop or a carried input of the next step.
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
    """The results of a loop, and what was captured in its bodies.

    Attributes:
        outputs: the results of the loop.
        captured: for each captured value of a body its array; for a `scan`, the arrays
            of all steps, stacked on axis 0.
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
    """Runs a loop or branch, with `run_body` for its bodies.

    A value captured in a `scan` is stacked over its steps; in a `while` it is the value
    of the last step; in a branch of a `cond` that is not taken it is NaN (0 for
    integers).

    Args:
        equation: a `scan`, `while` or `cond`.
        operands: the values of its operands.
        run_body: runs one body: a function of the body, the arrays of its operands and
            its probes, to its results and the arrays that it captures.
        probes: for each of some values of the bodies, an array that is added to it; for
            a `scan`, one array for each step, stacked on axis 0.
        is_reversed: whether a `while` needs a backward pass, which forbids `jax.jvp`.
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
    own_probes = {v: array for v, array in probes.items() if _belongs(v, body)}

    def step(carry: list[Any], xs: tuple[list[Any], list[Any]]) -> Any:
        slices, probe_slices = xs
        step_probes = dict(zip(own_probes, probe_slices, strict=True))
        results, captured = run_body(body, [*consts, *carry, *slices], step_probes)
        keys.extend(captured if not keys else ())
        arrays = [captured[value] for value in keys]
        return list(results[:n_carry]), (list(results[n_carry:]), arrays)

    keys: list[Value] = []
    final, (stacked, arrays) = lax.scan(
        step,
        list(init),
        (list(operands[n_consts + n_carry :]), list(own_probes.values())),
        length=equation.params["length"],
        reverse=equation.params["reverse"],
        unroll=equation.params["unroll"],
    )
    return LoopRun([*final, *stacked], dict(zip(keys, arrays, strict=True)))


def _run_cond(
    equation: Equation,
    operands: Sequence[Any],
    run_body: RunBody,
    probes: Mapping[Value, Any],
) -> LoopRun:
    index, *arguments = operands
    # Every branch must return the same values: find out what each would capture.
    kinds: dict[Value, Any] = {}
    for body in equation.bodies:
        kinds.update(
            _captured_kinds(lambda *xs, b=body: run_body(b, xs, probes), arguments)
        )

    def branch(body: Program) -> Callable[..., Any]:
        def run(*xs: Any) -> tuple[list[Any], list[Any]]:
            results, captured = run_body(body, xs, probes)
            return results, [
                captured.get(value, _absent(kind)) for value, kind in kinds.items()
            ]

        return run

    branches = [branch(body) for body in equation.bodies]
    outputs, arrays = lax.switch(index, branches, *arguments)
    return LoopRun(list(outputs), dict(zip(kinds, arrays, strict=True)))


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
    kinds = _captured_kinds(
        lambda *state: run_body(body, [*body_consts, *state], probes), init
    )

    def keep_going(carry: Any) -> Any:
        (is_unfinished,), _ = run_body(test, [*test_consts, *carry[0]], {})
        return is_unfinished

    def step(carry: Any) -> Any:
        results, captured = run_body(body, [*body_consts, *carry[0]], probes)
        return list(results), [captured[value] for value in kinds]

    run = differentiable_while if is_reversed else lax.while_loop
    nothing = [_absent(kind) for kind in kinds.values()]
    outputs, arrays = run(keep_going, step, (init, nothing))
    return LoopRun(list(outputs), dict(zip(kinds, arrays, strict=True)))


def _captured_kinds(
    run: Callable[..., tuple[list[Any], dict[Value, Any]]], operands: Sequence[Any]
) -> dict[Value, Any]:
    """The shape and dtype of every value that one run of a body would capture."""
    values: list[Value] = []

    def captured(*operands: Any) -> list[Any]:
        _, arrays = run(*operands)
        values[:] = arrays
        return list(arrays.values())

    return dict(zip(values, jax.eval_shape(captured, *operands), strict=True))


def _absent(kind: Any) -> Any:
    """An array for a value that no step or branch has computed."""
    inexact = jnp.issubdtype(kind.dtype, jnp.inexact)
    return jnp.full(kind.shape, jnp.nan if inexact else 0, kind.dtype)


def _belongs(value: Value, program: Program) -> bool:
    """Whether a value belongs to a program, or to a body inside of it."""
    owner = getattr(value, "program", None)
    bodies = {program} | {b for _, _, e in program.walk() for b in e.bodies}
    if owner is not None:
        return owner in bodies
    if any(value in body.inputs for body in bodies):
        return True
    return any(value in equation.outputs for _, _, equation in program.walk())
