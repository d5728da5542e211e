"""Runs a program again, with other things done at some of its values.

This is the one interpreter behind `capture`, `intervene`, `with_rules` and `split`.
What nobody asked about runs exactly as the user wrote it: calls are bound whole, with
their custom derivatives, rematerialization and compiled bodies.
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

# A node taken out of the program: (reads of the environment) -> its results.
Replacement = Callable[[Mapping[Value, Any]], Sequence[Any]]

_NONE: frozenset[Value] = frozenset()


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """What to do differently while a program runs.

    Attributes:
        wanted: values to hand out.
        edits: functions that a value goes through before anyone reads it.
        replaced: by the index of their last equation, nodes that run otherwise.
        skipped: equations of replaced nodes, which do not run at all.
    """

    wanted: frozenset[Value] = frozenset()
    edits: Mapping[Value, Callable[[Any], Any]] = dataclasses.field(
        default_factory=dict
    )
    replaced: Mapping[tuple[Program, int], Replacement] = dataclasses.field(
        default_factory=dict
    )
    skipped: frozenset[tuple[Program, int]] = frozenset()

    def touches(
        self, program: Program, start: int, stop: int, given: frozenset[Value] = _NONE
    ) -> bool:
        """Whether anything between two equations is to run otherwise.

        Args:
            program: what the equations are part of.
            start: the first.
            stop: one past the last.
            given: results that can be read and edited afterwards.
        """
        for index in range(start, stop):
            if (program, index) in self.skipped or (program, index) in self.replaced:
                return True
            equation = program.equations[index]
            inner = (o for o in equation.outputs if o not in given)
            if any(o in self.wanted or o in self.edits for o in inner):
                return True
            if any(self.touches_body(body) for body in equation.bodies):
                return True
        return False

    def touches_body(self, body: Program) -> bool:
        """Whether anything in the body of a loop is to run otherwise."""
        if any(v in self.wanted or v in self.edits for v in body.inputs):
            return True
        return self.touches(body, 0, len(body.equations))


NO_CHANGES = Changes()


class _Run:
    """One run of one program."""

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
        if value in self.changes.wanted:
            self.captured[value] = result
        self.env[value] = result

    def span(self, start: int, stop: int) -> None:
        """Runs the equations from `start` to `stop`, untouched calls whole."""
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
        """Whether something inside of a call, and not just its results, is changed."""
        given = frozenset(call.equation.outputs)
        changed = {v for v in given if v in self.changes.edits or v in self.probes}
        if changed:  # who reads them inside must see the change
            inside = self.program.equations[call.start : call.stop]
            given -= changed.intersection(v for e in inside for v in e.values)
        return self.changes.touches(self.program, call.start, call.stop, given)

    def _rematerialized(self, index: int, start: int, stop: int) -> Call | None:
        for call in self.calls.get(index, ()):
            is_inside = start <= call.start < call.stop <= stop
            if is_inside and call.checkpoint is not None and call not in self.within:
                return call
        return None

    def _compute_again_backward(self, call: Call) -> None:
        """Runs a touched rematerialized call so that it stays rematerialized."""
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
        outputs, kept = body([self.env[v] for v in values])
        self.env.update(zip(call.equation.outputs, outputs, strict=True))
        self.captured.update(zip(captured, kept, strict=True))

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
    """Runs a program.

    Args:
        program: what to run.
        operands: the values of its inputs.
        changes: what to do otherwise.
        probes: arrays that are added to values; in a `scan`, one for each step.

    Returns:
        The results, and the values that `changes` wanted.
    """
    run = _Run(program, changes, probes or {})
    for value, operand in zip(program.inputs, operands, strict=True):
        run.write(value, operand)
    run.span(0, len(program.equations))
    return [run.read(atom) for atom in program.outputs], run.captured


def evaluate_part(
    program: Program, equations: Sequence[int], env: Mapping[Value, Any]
) -> dict[Value, Any]:
    """Runs some equations of a program, in order.

    Args:
        program: the whole.
        equations: indices of the equations to run, sorted.
        env: the values that they read.

    Returns:
        All values known afterwards.
    """
    run = _Run(program, NO_CHANGES, {})
    run.env.update(env)
    position = 0
    while position < len(equations):
        start = stop = equations[position]
        while position < len(equations) and equations[position] == stop:
            position, stop = position + 1, stop + 1
        run.span(start, stop)
    return run.env
