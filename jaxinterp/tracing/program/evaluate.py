"""Runs a program again: captures some values, replaces some, and leaves the rest.

This is the one interpreter behind `capture`, `intervene`, `with_rules` and `split`.
What is not changed runs exactly as the user wrote it: calls are bound whole, with their
custom derivatives, rematerialization and compiled bodies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from jaxinterp.tracing import compat
from jaxinterp.tracing.program.loops import run_loop
from jaxinterp.tracing.program.program import (
    Atom,
    Call,
    Constant,
    Equation,
    Program,
    Value,
)

# What runs instead of a node: a function from the arrays of all values computed so far
# to the results of the node.
Replacement = Callable[[Mapping[Value, Any]], Sequence[Any]]

_NONE: frozenset[Value] = frozenset()


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """What to do differently while a program runs.

    Attributes:
        captures: the values whose arrays are returned.
        edits: for each of some values, a function from its array to the array that all
            its readers get instead.
        replaced: what runs instead of a node, by the program of the node and the index
            of its last equation.
        skipped: the other equations of replaced nodes, which do not run at all.
    """

    captures: frozenset[Value] = frozenset()
    edits: Mapping[Value, Callable[[Any], Any]] = dataclasses.field(
        default_factory=dict
    )
    replaced: Mapping[tuple[Program, int], Replacement] = dataclasses.field(
        default_factory=dict
    )
    skipped: frozenset[tuple[Program, int]] = frozenset()

    def touches(
        self, program: Program, start: int, stop: int, results: frozenset[Value] = _NONE
    ) -> bool:
        """Whether anything changes inside a range of equations.

        Args:
            program: the program of the equations.
            start: the index of the first equation.
            stop: one past the index of the last equation.
            results: values that may be captured and edited after the range has run, so
                that doing so changes nothing inside.
        """
        for index in range(start, stop):
            if (program, index) in self.skipped or (program, index) in self.replaced:
                return True
            equation = program.equations[index]
            inner = (o for o in equation.outputs if o not in results)
            if any(o in self.captures or o in self.edits for o in inner):
                return True
            if any(self.touches_body(body) for body in equation.bodies):
                return True
        return False

    def touches_body(self, body: Program) -> bool:
        """Whether anything changes inside the body of a loop."""
        if any(v in self.captures or v in self.edits for v in body.inputs):
            return True
        return self.touches(body, 0, len(body.equations))


NO_CHANGES = Changes()


class _Run:
    """One run of one program.

    Attributes:
        program: the program that runs.
        within: the rematerialized calls whose bodies are running, outer first.
        changes: what to do differently.
        probes: for each of some values, an array that is added to it.
        env: the arrays of all values computed so far.
        captured: the arrays of the values to be captured.
        calls: the calls that start at each index, outer first.
    """

    def __init__(
        self,
        program: Program,
        changes: Changes,
        probes: Mapping[Value, Any],
        within: tuple[Call, ...] = (),
    ):
        self.program = program
        self.within = within
        self.changes = changes
        self.probes = probes
        self.env: dict[Value, Any] = dict(program.constants)
        self.captured: dict[Value, Any] = {}
        self.calls: dict[int, list[Call]] = {}
        for call in program.calls:
            self.calls.setdefault(call.start, []).append(call)

    def read(self, atom: Atom) -> Any:
        return atom.value if isinstance(atom, Constant) else self.env[atom]

    def write(self, value: Value, result: Any) -> None:
        if value in self.changes.edits:
            result = self.changes.edits[value](result)
        if value in self.probes:
            result = result + self.probes[value]
        if value in self.changes.captures:
            self.captured[value] = result
        self.env[value] = result

    def span(self, start: int, stop: int) -> None:
        """Runs the equations from `start` to `stop`; unchanged calls run whole."""
        index = start
        while index < stop:
            call = self._whole_call(index, start, stop)
            remat = self._rematerialized(index, start, stop)
            if call is not None:
                self._bind(call.equation)
                index = call.stop
            elif remat is not None:
                self._compute_again_backward(remat)
                index = remat.stop
            else:
                self.one(index)
                index += 1

    def _whole_call(self, index: int, start: int, stop: int) -> Call | None:
        for call in self.calls.get(index, ()):
            is_inside = start <= call.start < call.stop <= stop
            if is_inside and call not in self.within and not self._must_open(call):
                return call
        return None

    def _must_open(self, call: Call) -> bool:
        """Whether something inside of a call is changed, beyond its results."""
        results = frozenset(call.equation.outputs)
        changed = {v for v in results if v in self.changes.edits or v in self.probes}
        if changed:  # equations inside that read them must see the change
            inside = self.program.equations[call.start : call.stop]
            results -= changed.intersection(v for e in inside for v in e.values)
        return self.changes.touches(self.program, call.start, call.stop, results)

    def _rematerialized(self, index: int, start: int, stop: int) -> Call | None:
        for call in self.calls.get(index, ()):
            is_inside = start <= call.start < call.stop <= stop
            if is_inside and call.checkpoint is not None and call not in self.within:
                return call
        return None

    def _compute_again_backward(self, call: Call) -> None:
        """Runs a changed `jax.checkpoint` so that it stays one."""
        captured: list[Value] = []
        values = [v for v in call.equation.inputs if isinstance(v, Value)]

        def body(operands: list[Any]) -> tuple[list[Any], list[Any]]:
            run = _Run(self.program, self.changes, self.probes, (*self.within, call))
            run.env = {**self.env, **dict(zip(values, operands, strict=True))}
            run.span(call.start, call.stop)
            captured[:] = list(run.captured)
            outputs = [run.env.get(v) for v in call.equation.outputs]
            return outputs, [run.captured[v] for v in captured]

        body = jax.checkpoint(body, **(call.checkpoint or {}))
        outputs, arrays = body([self.env[v] for v in values])
        self.env.update(zip(call.equation.outputs, outputs, strict=True))
        self.env.update(zip(captured, arrays, strict=True))
        self.captured.update(zip(captured, arrays, strict=True))

    def one(self, index: int) -> None:
        key = (self.program, index)
        equation = self.program.equations[index]
        if key in self.changes.replaced:
            results = self.changes.replaced[key]({**self.probes, **self.env})
            for value, result in zip(equation.outputs, results, strict=True):
                self.write(value, result)
        elif key in self.changes.skipped:
            return
        elif any(self.changes.touches_body(body) for body in equation.bodies):
            self._loop(equation)
        else:
            self._bind(equation)

    def _bind(self, equation: Equation) -> None:
        operands = [self.read(atom) for atom in equation.inputs]
        with compat.equation_context(equation.origin, equation.scope):
            results = compat.bind(equation.primitive, operands, equation.params)
        for value, result in zip(equation.outputs, results, strict=True):
            self.write(value, result)

    def _loop(self, equation: Equation) -> None:
        operands = [self.read(atom) for atom in equation.inputs]
        with compat.equation_context(equation.origin, equation.scope):
            is_reversed = bool(self.changes.replaced or self.probes)
            run = run_loop(equation, operands, self._body, self.probes, is_reversed)
        self.captured.update(run.captured)
        for value, result in zip(equation.outputs, run.outputs, strict=True):
            self.write(value, result)

    def _body(
        self, body: Program, operands: Sequence[Any], probes: Mapping[Value, Any]
    ) -> tuple[list[Any], dict[Value, Any]]:
        return evaluate(body, operands, self.changes, probes)


def evaluate(
    program: Program,
    operands: Sequence[Any],
    changes: Changes = NO_CHANGES,
    probes: Mapping[Value, Any] | None = None,
) -> tuple[list[Any], dict[Value, Any]]:
    """Runs a program with changes.

    Args:
        program: the program to run.
        operands: the arrays of the program's inputs.
        changes: what to do differently than the program does.
        probes: for each of some values, an array that is added to it; for a value in a
            `scan`, one array for each step, stacked on axis 0.

    Returns:
        The arrays of the program's outputs, and those of the values to be captured.
    """
    run = _Run(program, changes, probes or {})
    for value, operand in zip(program.inputs, operands, strict=True):
        run.write(value, operand)
    run.span(0, len(program.equations))
    return [run.read(atom) for atom in program.outputs], run.captured


def evaluate_part(
    program: Program,
    equations: Sequence[int],
    env: Mapping[Value, Any],
    changes: Changes = NO_CHANGES,
) -> dict[Value, Any]:
    """Runs some equations of a program, in order.

    Args:
        program: the program that holds the equations.
        equations: the indices of the equations to run, sorted.
        env: the arrays of the values that these equations read.
        changes: what to do differently than the equations do.

    Returns:
        The arrays of `env`, and of all values that the equations compute.
    """
    run = _Run(program, changes, {})
    run.env.update(env)
    position = 0
    while position < len(equations):
        start = stop = equations[position]
        while position < len(equations) and equations[position] == stop:
            position, stop = position + 1, stop + 1
        run.span(start, stop)
    return run.env
