"""How many affine maps come before and after each, along the data.

The way that counts is the longest: beside a branch, a layer is as deep as the branch. A
loop is what its steps would be one after another. So a layer inside may be the first in
step one alone, and its depth is a smallest and a largest number; the largest is
infinite if what a step hands to the next goes through an affine map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.program.loops import loop_bindings
from jaxinterp.tracing.program.program import Atom, Equation, Value
from jaxinterp.tracing.recognition.grouping import Group

# The smallest and the largest number over the steps of loops.
Bounds = tuple[float, float]


class Depths:
    """The number of affine maps on the longest way to each, and on that from it on.

    Args:
        roots: the values of the explained input.
        flow_of: for each group of equations that is a node, the flow of its program.
        flows: for every program, what depends on its input.
    """

    def __init__(
        self,
        roots: Iterable[Value],
        flow_of: Mapping[Group, Flow],
        flows: Iterable[Flow],
    ):
        self._kernels = {
            (flow.program, group.kernel): group
            for group, flow in flow_of.items()
            if group.kernel is not None
        }
        self._programs = [flow.program for flow in flows]
        roots = list(roots)
        every, one = (self._find(roots, steps) for steps in (True, False))
        self._before, self._after = every
        self._before_once, self._after_once = one

    def before(self, group: Group) -> Bounds | None:
        """Returns how many come before a group, `None` if it is no affine map."""
        return self._bounds(group, self._before_once, self._before)

    def after(self, group: Group) -> Bounds | None:
        """Returns how many come after a group, `None` if it is no affine map."""
        return self._bounds(group, self._after_once, self._after)

    def _bounds(
        self, group: Group, once: dict[Group, float], every: dict[Group, float]
    ) -> Bounds | None:
        if group.kernel is None:
            return None
        most = every.get(group, math.inf)
        # What depends on the input from step two on only has a step before it.
        return once.get(group, min(most, 1)), most

    def _find(
        self, roots: list[Value], steps: bool
    ) -> tuple[dict[Group, float], dict[Group, float]]:
        """The numbers before and after, of all steps of loops or of one step alone."""
        to: dict[Atom, float] = dict.fromkeys(roots, 0)
        while self._spread_forward(to, steps):
            pass
        beyond: dict[Atom, float] = dict.fromkeys(to, 0)
        while self._spread_back(beyond, steps):
            pass
        before, after = {}, {}
        for (program, index), group in self._kernels.items():
            equation = program.equations[index]
            operands = [to[v] for v in equation.values if v in to]
            if operands:
                before[group] = max(operands)
                after[group] = max(beyond.get(o, 0) for o in equation.outputs)
        return before, after

    def _spread_forward(self, to: dict[Atom, float], steps: bool) -> bool:
        """Whether a value that an equation makes lies deeper than was known."""
        changed = False
        for program in self._programs:
            for index, equation in enumerate(program.equations):
                if equation.bodies:
                    for a, b in _pairs(equation, steps):
                        changed |= a in to and self._raise(to, b, to[a])
                    continue
                operands = [to[v] for v in equation.values if v in to]
                if operands:
                    depth = max(operands) + ((program, index) in self._kernels)
                    for output in equation.outputs:
                        changed |= self._raise(to, output, depth)
        return changed

    def _spread_back(self, beyond: dict[Atom, float], steps: bool) -> bool:
        """Whether more affine maps follow a value than was known."""
        changed = False
        for program in self._programs:
            for index, equation in reversed(list(enumerate(program.equations))):
                if equation.bodies:
                    for a, b in _pairs(equation, steps):
                        if a in beyond and b in beyond:
                            changed |= self._raise(beyond, a, beyond[b])
                    continue
                height = max((beyond.get(o, 0) for o in equation.outputs), default=0)
                height += (program, index) in self._kernels
                for value in equation.values:
                    changed |= value in beyond and self._raise(beyond, value, height)
        return changed

    def _raise(self, numbers: dict[Atom, float], value: Atom, number: float) -> bool:
        """Makes a number larger; one that exceeds all maps goes round in a circle."""
        if number <= numbers.get(value, -1):
            return False
        numbers[value] = number if number <= len(self._kernels) else math.inf
        return True


def _pairs(equation: Equation, steps: bool) -> Iterator[tuple[Atom, Value]]:
    """How values go into a loop and out of it, and from one step to the next."""
    for body, enter, leave in loop_bindings(equation):
        inner = set(body.inputs)
        yield from enter
        yield from (pair for pair in leave if steps or pair[1] not in inner)
