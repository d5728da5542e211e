"""The attention matrices of a traced model, and what each of their axes is.

A matrix of attention is a softmax whose result is multiplied with values, by a matrix
product that sums over the positions that are read. It is found by that, however it is
spelled. Which axes hold the examples, the positions that read (targets) and those that
are read (sources) follows from where the axes come from; the others are heads.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import primitives as p

from jaxinterp.tracing.call import Traced
from jaxinterp.tracing.facts.axis_names import AxisNames, Name
from jaxinterp.tracing.facts.batch_axis import moved_axis
from jaxinterp.tracing.facts.flow import Flow, active_values
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind, Role
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.program.program import Equation, Program, Value
from jaxinterp.tracing.select import select
from jaxinterp.types import Sites

_NAME_THEM = "Name those that are meant, such as `at='*/attention/softmax'`."


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionMatrix:
    """A site that holds matrices of attention.

    Attributes:
        site: the site; in a `scan` it has one matrix for each step.
        positions: the name of the axes of its targets and of its sources.
        parts: the sizes of the parts of its axes, which take apart what was merged.
        axes: among these parts those of the examples, the heads, the targets and the
            sources.
    """

    site: Site
    positions: Name
    parts: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]

    def ordered(self, array: Any) -> Any:
        """Returns the matrices by step, `(steps, batch, heads, target, source)`.

        Args:
            array: the array at the site, or one of its shape.
        """
        steps = math.prod(self.site.length)
        array = array.reshape(steps, *self.parts)
        order = [axis + 1 for axes in self.axes for axis in axes]
        sizes = [math.prod(self.parts[axis] for axis in axes) for axes in self.axes]
        return jnp.transpose(array, (0, *order)).reshape(steps, *sizes)


def attention_matrices(
    traced: Traced, at: Sites | None = None
) -> tuple[AttentionMatrix, ...]:
    """Returns the matrices of self-attention of a model, one layer after the other.

    Args:
        traced: the traced model.
        at: the sites of the matrices, also of such that are no softmax. By default
            every softmax whose result is multiplied with other activations.

    Raises:
        AddressError: if no site matches `at`.
        ValueError: if there is no attention; if a matrix is one of cross-attention, or
            no matrix of positions at all; if its axes cannot be told; if layers attend
            to different positions or not one after the other; or if a matrix is in a
            loop that is no `scan`.
    """
    graph = traced.graph
    names = AxisNames(graph.program, traced.inputs, graph.flows[graph.program].active)
    if at is None:
        sites = [s for s in graph.sites.values() if _is_read_with_others(graph, s)]
    else:
        sites = list(select(graph, at).values())
    sites = list({site.value: site for site in reversed(sites)}.values())[::-1]
    if not sites:
        raise ValueError(_no_attention(graph))
    matrices = tuple(_matrix(graph, site, names) for site in sites)
    _check_loops(graph.program, sites)
    in_loops = [(matrix, matrix) for matrix in matrices if matrix.site.length]
    for before, after in (*itertools.pairwise(matrices), *in_loops):
        _check_order(graph, before, after)
    return matrices


def by_layer(matrices: Sequence[AttentionMatrix], arrays: Sequence[Any]) -> Any:
    """Returns one array for each layer, stacked in the order of the layers.

    Args:
        matrices: the matrices of attention.
        arrays: for each of them an array whose first axis has the steps of a `scan`
            around the site.
    """

    def program(pair: tuple[AttentionMatrix, Any]) -> int:
        return id(pair[0].site.node.flow.program)

    groups = []
    for _, group in itertools.groupby(zip(matrices, arrays, strict=True), program):
        step = jnp.stack([array for _, array in group], axis=1)  # layers of one step
        groups.append(step.reshape(-1, *step.shape[2:]))
    return jnp.concatenate(groups)


# --- Which sites ----------------------------------------------------------------------


def _is_read_with_others(graph: Graph, site: Site) -> bool:
    """Whether a site is a softmax that is multiplied with other activations."""
    if site.role is not Role.SOFTMAX or site.value not in site.node.outputs:
        return False
    return any(True for _ in _products(site.node.flow, site.value))


def _products(
    flow: Flow, value: Value
) -> Iterator[tuple[Equation, int, list[int | None]]]:
    """The products of a value with other activations.

    Yields the equation, the number of the operand, and for each axis of the value the
    axis of that operand which it has become.
    """
    todo = [(value, list[int | None](range(len(value.shape))))]
    visited = set[Value]()
    while todo:
        source, axes = todo.pop()
        if source in visited:
            continue
        visited.add(source)
        for reader in flow.readers.get(source, ()):
            if reader < 0:
                continue
            equation = flow.program.equations[reader]
            kind = KINDS.get(equation.primitive)
            operand = equation.inputs.index(source)
            if _has_other_activation(flow, reader, source):
                if kind in (Kind.KERNEL, Kind.MULTIPLICATIVE):
                    yield equation, operand, axes
            elif kind in (*POINTWISE, Kind.LAYOUT) and len(equation.outputs) == 1:
                moved = [
                    None if axis is None else _moved(equation, operand, axis)
                    for axis in axes
                ]
                todo.append((equation.outputs[0], moved))


def _has_other_activation(flow: Flow, index: int, value: Value) -> bool:
    """Whether an equation reads another activation, beside masks."""
    others = (v for v in flow.active_inputs(index) if v is not value)
    return any(flow.carrying is None or v in flow.carrying for v in others)


def _moved(equation: Equation, operand: int, axis: int) -> int | None:
    return moved_axis(equation, operand, axis, equation.inputs[operand].shape[axis])


def _no_attention(graph: Graph) -> str:
    softmaxes = [a for a, s in graph.sites.items() if s.role is Role.SOFTMAX]
    found = f"Its softmaxes: {', '.join(softmaxes[:5]) or 'none'}"
    return (
        "The model has no attention: no softmax whose result is multiplied with other "
        f"activations.\n{found}. If its attention is no softmax, give `at` the sites "
        "of the matrices."
    )


# --- Which axes -----------------------------------------------------------------------


def _matrix(graph: Graph, site: Site, names: AxisNames) -> AttentionMatrix:
    """The matrix of attention at a site, or an error that says why it is none."""
    source = _source_axis(site)
    own = names.of(site.value)
    rest = [axis for axis in range(len(own)) if axis != source]
    targets = [axis for axis in rest if own[source] and own[axis] == own[source]]
    if len(targets) != 1:
        raise ValueError(
            f"{_where(site)}\nis no matrix of self-attention: the positions that are "
            f"read lie on axis {source}, and {len(targets)} other axes have the same "
            "positions.\nCross-attention, and attention to cached positions, are not "
            f"rolled out. {_NAME_THEM}"
        )
    (target,) = targets
    # Of the other axes each part is one of examples or of heads; size 1 has no part.
    parts = [(axis, part) for axis, name in enumerate(own) for part in name]
    others = [i for i, (axis, _) in enumerate(parts) if axis not in (source, target)]
    examples = [i for i in others if parts[i][1] is names.examples]
    if len(examples) != 1 < names.examples.size:
        raise ValueError(
            f"{_where(site)}\nhas its examples on none of its axes that can be told: "
            "they are merged with positions there, or went through an operation that "
            "may mix them.\nWrite the model so that the first axis of its activations "
            "stays that of the examples."
        )
    heads = [i for i in others if i not in examples]
    windows = [axis for axis, part in map(parts.__getitem__, heads) if part.is_position]
    if windows:
        raise ValueError(
            f"{_where(site)}\nis attention within windows: axis {windows[0]} has "
            "positions as well.\nOnly attention to all positions is rolled out. "
            f"{_NAME_THEM}"
        )
    axes = (
        examples,
        heads,
        *(
            [i for i, (a, _) in enumerate(parts) if a == axis]
            for axis in (target, source)
        ),
    )
    sizes = tuple(part.size for _, part in parts)
    return AttentionMatrix(site, own[source], sizes, tuple(map(tuple, axes)))


def _source_axis(site: Site) -> int:
    """The axis of a site over which its product with values sums."""
    for equation, operand, axes in _products(site.node.flow, site.value):
        if equation.primitive is not p.dot_general_p:
            continue
        (contracting, _) = equation.params["dimension_numbers"]
        summed = contracting[operand]
        if len(summed) == 1 and summed[0] in axes:
            return axes.index(summed[0])
    raise ValueError(
        f"{_where(site)}\nis no matrix of attention: it is not multiplied with values "
        f"by a matrix product over one of its axes.\n{_NAME_THEM}"
    )


def _where(site: Site) -> str:
    return f"{site.address!r}, {site.value.shape} ({site.node.line}),"


# --- Which order ----------------------------------------------------------------------


def _check_loops(program: Program, sites: Sequence[Site]) -> None:
    """Raises if a matrix is in a loop whose layers are not all known, in order."""
    loops = {body: (e, outer) for outer, _, e in program.walk() for body in e.bodies}
    homes = {site.node.flow.program for site in sites}
    for site in sites:
        home = site.node.flow.program
        if len(site.length) > 1 and len(homes) > 1:
            raise ValueError(
                f"{_where(site)}\nis in a loop within a loop, and other attention is "
                f"not: their order is not told.\n{_NAME_THEM}"
            )
        while home is not program:
            loop, home = loops[home]
            if loop.primitive is not p.scan_p or loop.params["reverse"]:
                raise ValueError(
                    f"{_where(site)}\nis in a `while`, a `cond` or a reversed `scan`, "
                    "whose layers cannot be read one after the other.\nWrite the "
                    "layers as a Python loop or as a `scan`."
                )


def _check_order(graph: Graph, before: AttentionMatrix, after: AttentionMatrix) -> None:
    """Raises unless one layer, or step of a loop, reads the results of another."""
    names = f"{before.site.address!r} and {after.site.address!r}"
    if before.positions != after.positions:
        raise ValueError(
            f"Attention at {names} is not over the same positions, so that their "
            f"matrices have no product.\n{_NAME_THEM}"
        )
    later = active_values(graph.program, [before.site.value])
    if later.isdisjoint(after.site.node.inputs):
        raise ValueError(
            f"Attention at {names} is side by side: the second reads nothing of what "
            f"the first computes.\n{_NAME_THEM}"
        )
