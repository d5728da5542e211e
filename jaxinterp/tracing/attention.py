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
from jaxinterp.tracing.facts.roles import KINDS, POINTWISE, Kind, Role, is_opaque
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
        names: the names of the axes of all values of the model.
        targets: the name of the axis of the positions that read.
        sources: the name of the axis of those that are read.
        parts: the sizes of the parts of its axes, which take apart what was merged.
        axes: among these parts those of the examples, the heads, the targets and the
            sources.
    """

    site: Site
    names: AxisNames
    targets: Name
    sources: Name
    parts: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of examples, heads, targets and sources."""
        return tuple(math.prod(self.parts[i] for i in axes) for axes in self.axes)

    def ordered(self, array: Any) -> Any:
        """Returns the matrices by step, `(steps, batch, heads, target, source)`.

        Args:
            array: the array at the site, or one of its shape.
        """
        steps = math.prod(self.site.length)
        array = array.reshape(steps, *self.parts)
        order = [axis + 1 for axes in self.axes for axis in axes]
        return jnp.transpose(array, (0, *order)).reshape(steps, *self.sizes)

    def placed(self, matrices: Any) -> Any:
        """Returns matrices of one step as they lie at the site: undoes `ordered`.

        Args:
            matrices: the matrices, `(batch, heads, target, source)`.
        """
        order = [axis for axes in self.axes for axis in axes]
        parts = matrices.reshape([self.parts[axis] for axis in order])
        back = sorted(range(len(order)), key=order.__getitem__)
        return jnp.transpose(parts, back).reshape(self.site.value.shape)


def attention_matrices(
    traced: Traced, at: Sites | None = None, *, is_stack: bool = True
) -> tuple[AttentionMatrix, ...]:
    """Returns the attention matrices of a model, in network order.

    Args:
        traced: the traced model.
        at: the sites of the matrices, also of such that are no softmax. By default
            every softmax whose result is multiplied with other activations.
        is_stack: whether they have to be self-attention, one layer after the other, so
            that their matrices have a product.

    Raises:
        AddressError: if no site matches `at`.
        ValueError: if there is no attention; if a matrix is no matrix of positions, or
            its axes cannot be told; or if a matrix is in a loop that is no `scan`. Of a
            stack also if a matrix is one of cross-attention, or layers attend to
            different positions or not one after the other.
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
    matrices = tuple(_matrix(graph, site, names, is_stack) for site in sites)
    _check_loops(graph.program, sites, is_stack)
    if not is_stack:
        return matrices
    in_loops = [(matrix, matrix) for matrix in matrices if matrix.site.length]
    for before, after in (*itertools.pairwise(matrices), *in_loops):
        _check_order(graph, before, after)
    return matrices


def attention_streams(
    traced: Traced, at: Sites | None = None
) -> tuple[AttentionMatrix, ...]:
    """Returns the matrices of self- and cross-attention of a model, in network order.

    Positions are of one kind, or of several, such as those of an encoder and those of a
    decoder. What attention reads is added to the features of its targets, one layer
    after the other, so that each kind has a stream of features.

    Args:
        traced: the traced model.
        at: the sites of the matrices, as of `attention_matrices`.

    Raises:
        AddressError: if no site matches `at`.
        ValueError: as by `attention_matrices`; if layers of one kind are not one after
            the other, or one kind is made of another by something else than attention.
    """
    matrices = attention_matrices(traced, at, is_stack=False)
    if len({name for m in matrices for name in (m.targets, m.sources)}) == 1:
        return attention_matrices(traced, at)
    graph = traced.graph
    _check_loops(graph.program, [matrix.site for matrix in matrices], is_stack=True)
    _check_streams(graph, matrices)
    return matrices


def in_order(
    matrices: Sequence[AttentionMatrix], arrays: Sequence[Any]
) -> Iterator[tuple[AttentionMatrix, Any]]:
    """Yields each matrix of attention with its array, in the order in which they run.

    Args:
        matrices: the matrices of attention.
        arrays: for each of them an array whose first axis has the steps of a `scan`
            around the site: each step is yielded by itself.
    """
    for group in _by_program(matrices, arrays):
        for step in range(group[0][1].shape[0]):
            for matrix, array in group:
                yield matrix, array[step]


def by_layer(matrices: Sequence[AttentionMatrix], arrays: Sequence[Any]) -> Any:
    """Returns one array for each layer, stacked in the order of the layers.

    Args:
        matrices: the matrices of attention.
        arrays: for each of them an array whose first axis has the steps of a `scan`
            around the site.
    """
    groups = []
    for group in _by_program(matrices, arrays):
        step = jnp.stack([array for _, array in group], axis=1)  # layers of one step
        groups.append(step.reshape(math.prod(step.shape[:2]), *step.shape[2:]))
    return jnp.concatenate(groups)


def _by_program(
    matrices: Sequence[AttentionMatrix], arrays: Sequence[Any]
) -> list[list[tuple[AttentionMatrix, Any]]]:
    """Matrices and their arrays, those of one loop together."""

    def program(pair: tuple[AttentionMatrix, Any]) -> int:
        return id(pair[0].site.node.flow.program)

    pairs = zip(matrices, arrays, strict=True)
    return [list(group) for _, group in itertools.groupby(pairs, program)]


# --- Which sites ----------------------------------------------------------------------


def _is_read_with_others(graph: Graph, site: Site) -> bool:
    """Whether a site is a softmax that is multiplied with other activations."""
    if site.role is not Role.SOFTMAX or site.value not in site.node.outputs:
        return False
    return any(True for _ in products(site.node.flow, site.value))


def products(
    flow: Flow, value: Value
) -> Iterator[tuple[Equation, int, list[int | None], tuple[int, ...]]]:
    """Yields the products of a value with other activations.

    Of each the equation, the number of the operand, for each axis of the value the axis
    of that operand which it has become, and the indices of the equations in between.

    Args:
        flow: the program that holds the value.
        value: the value, such as a matrix of attention.
    """
    todo: list[tuple[Value, list[int | None], tuple[int, ...]]]
    todo = [(value, list(range(len(value.shape))), ())]
    visited = set[Value]()
    while todo:
        source, axes, way = todo.pop()
        if source in visited:
            continue
        visited.add(source)
        for reader in flow.readers.get(source, ()):
            if reader < 0:
                continue
            equation = flow.program.equations[reader]
            kind = KINDS.get(equation.primitive)
            operand = equation.inputs.index(source)
            if has_other_activation(flow, reader, source):
                if kind in (Kind.KERNEL, Kind.MULTIPLICATIVE):
                    yield equation, operand, axes, way
            elif kind in (*POINTWISE, Kind.LAYOUT) and len(equation.outputs) == 1:
                moved = [
                    None if axis is None else _moved(equation, operand, axis)
                    for axis in axes
                ]
                todo.append((equation.outputs[0], moved, (*way, reader)))


def has_other_activation(flow: Flow, index: int, value: Value) -> bool:
    """Whether an equation reads another activation, beside masks.

    Args:
        flow: the program of the equation.
        index: the index of the equation.
        value: the activation that it reads.
    """
    others = (v for v in flow.active_inputs(index) if v is not value)
    return any(map(flow.carries, others))


def _moved(equation: Equation, operand: int, axis: int) -> int | None:
    return moved_axis(equation, operand, axis, equation.inputs[operand].shape[axis])


def _no_attention(graph: Graph) -> str:
    softmaxes = [a for a, s in graph.sites.items() if s.role is Role.SOFTMAX]
    found = f"Its softmaxes: {', '.join(softmaxes[:5]) or 'none'}"
    kernels = [n.address for n in graph.nodes if any(map(is_opaque, n.primitives))]
    if kernels:
        return (
            f"The model has no attention that can be read: {kernels[0]!r} runs a "
            "kernel, which cannot be looked into.\nLet JAX compute the same itself, by "
            "the argument that chooses, such as\n"
            "`jax.nn.dot_product_attention(..., implementation='xla')`."
        )
    return (
        "The model has no attention: no softmax whose result is multiplied with other "
        f"activations.\n{found}. If its attention is no softmax, give `at` the sites "
        "of the matrices."
    )


# --- Which axes -----------------------------------------------------------------------


def _matrix(
    graph: Graph, site: Site, names: AxisNames, is_stack: bool
) -> AttentionMatrix:
    """The matrix of attention at a site, or an error that says why it is none."""
    source, free = _source_axis(site)
    own = names.of(site.value)
    rest = [axis for axis in range(len(own)) if axis != source]
    same = [axis for axis in rest if own[source] and own[axis] == own[source]]
    if len(same) != 1 and is_stack:
        raise ValueError(
            f"{where(site)}\nis no matrix of self-attention: the positions that are "
            f"read lie on axis {source}, and {len(same)} other axes have the same "
            "positions.\nCross-attention, and attention to cached positions, are "
            "rolled out by `attention_grad_rollout` alone; `attention_maps` returns "
            f"such matrices. {_NAME_THEM}"
        )
    targets = same if len(same) == 1 else _other_targets(site, own, free)
    # Of the other axes each part is one of examples or of heads; size 1 has no part.
    parts = [(axis, part) for axis, name in enumerate(own) for part in name]
    others = [i for i, (a, _) in enumerate(parts) if a not in (source, *targets)]
    examples = [i for i in others if parts[i][1] is names.examples]
    if len(examples) != 1 < names.examples.size:
        raise ValueError(
            f"{where(site)}\nhas its examples on none of its axes that can be told: "
            "they are merged with positions there, or went through an operation that "
            "may mix them.\nWrite the model so that the first axis of its activations "
            "stays that of the examples."
        )
    heads = [i for i in others if i not in examples]
    windows = [axis for axis, part in map(parts.__getitem__, heads) if part.is_position]
    if windows:
        raise ValueError(
            f"{where(site)}\nis attention within windows: axis {windows[0]} has "
            "positions as well.\nOnly attention to all positions has a map. "
            f"{_NAME_THEM}"
        )
    axes = (
        examples,
        heads,
        [i for i, (axis, _) in enumerate(parts) if axis in targets],
        [i for i, (axis, _) in enumerate(parts) if axis == source],
    )
    sizes = tuple(part.size for _, part in parts)
    target = own[targets[0]] if targets else ()
    places = tuple(map(tuple, axes))
    return AttentionMatrix(site, names, target, own[source], sizes, places)


def _source_axis(site: Site) -> tuple[int, list[int]]:
    """The axis over which a product with values sums, and those that it keeps alone."""
    for equation, operand, axes, _ in products(site.node.flow, site.value):
        if equation.primitive is not p.dot_general_p:
            continue
        (contracting, batch) = equation.params["dimension_numbers"]
        summed = contracting[operand]
        if len(summed) == 1 and summed[0] in axes:
            shared = (None, *summed, *batch[operand])
            free = [axis for axis, to in enumerate(axes) if to not in shared]
            return axes.index(summed[0]), free
    raise ValueError(
        f"{where(site)}\nis no matrix of attention: it is not multiplied with values "
        f"by a matrix product over one of its axes.\n{_NAME_THEM}"
    )


def _other_targets(site: Site, own: tuple[Name, ...], free: list[int]) -> list[int]:
    """The axis of targets that are other positions, such as those of a decoder."""
    axes = [axis for axis in free if own[axis]]
    if len(axes) > 1:
        axes = [axis for axis in axes if any(part.is_position for part in own[axis])]
        if len(axes) != 1:
            raise ValueError(
                f"{where(site)}\nhas several axes that may be the positions that read: "
                f"{', '.join(map(str, free))}.\n{_NAME_THEM}"
            )
    return axes


def where(site: Site) -> str:
    """Returns where a site is, for the beginning of an error.

    Args:
        site: the site.
    """
    return f"{site.address!r}, {site.value.shape} ({site.node.line}),"


# --- Which order ----------------------------------------------------------------------


def _check_loops(program: Program, sites: Sequence[Site], is_stack: bool) -> None:
    """Raises if a matrix is in a loop whose layers are not all known, in order."""
    loops = {body: (e, outer) for outer, _, e in program.walk() for body in e.bodies}
    homes = {site.node.flow.program for site in sites}
    for site in sites:
        home = site.node.flow.program
        if is_stack and len(site.length) > 1 and len(homes) > 1:
            raise ValueError(
                f"{where(site)}\nis in a loop within a loop, and other attention is "
                f"not: their order is not told.\n{_NAME_THEM}"
            )
        while home is not program:
            loop, home = loops[home]
            if loop.primitive is not p.scan_p or loop.params["reverse"]:
                raise ValueError(
                    f"{where(site)}\nis in a `while`, a `cond` or a reversed `scan`, "
                    "whose layers cannot be read one after the other.\nWrite the "
                    "layers as a Python loop or as a `scan`."
                )


def _check_order(graph: Graph, before: AttentionMatrix, after: AttentionMatrix) -> None:
    """Raises unless one layer, or step of a loop, reads the results of another."""
    if before.sources != after.sources:
        raise ValueError(_unlike(before, after))
    later = active_values(graph.program, [before.site.value])
    if later.isdisjoint(after.site.node.inputs):
        raise ValueError(_side_by_side(before, after))


def _unlike(before: AttentionMatrix, after: AttentionMatrix) -> str:
    return (
        f"Attention at {before.site.address!r} and {after.site.address!r} is not over "
        f"the same positions, so that their matrices have no product.\n{_NAME_THEM}"
    )


def _side_by_side(before: AttentionMatrix, after: AttentionMatrix) -> str:
    return (
        f"Attention at {before.site.address!r} and {after.site.address!r} is side by "
        f"side: the second reads nothing of what the first computes.\n{_NAME_THEM}"
    )


def _check_streams(graph: Graph, matrices: Sequence[AttentionMatrix]) -> None:
    """Raises unless each kind of positions has its layers one after the other."""
    later = {m: active_values(graph.program, [m.site.value]) for m in matrices}

    def reads(after: AttentionMatrix, before: AttentionMatrix) -> bool:
        return not later[before].isdisjoint(after.site.node.inputs)

    known = _read_kinds(matrices)
    latest: dict[Name, AttentionMatrix] = {}
    for after in (*matrices, *(m for m in matrices if m.site.length)):
        for before in (latest.get(after.targets), latest.get(after.sources)):
            if before is not None and not reads(after, before):
                raise ValueError(_side_by_side(before, after))
        for before in latest.values():
            pair = (after.targets, before.targets)
            if pair not in known and reads(after, before):
                raise ValueError(_unlike(before, after))
        latest[after.targets] = after


def _read_kinds(matrices: Sequence[AttentionMatrix]) -> set[tuple[Name, Name]]:
    """The pairs of kinds of which the first reads the second, by way of attention."""
    known = {(name, name) for m in matrices for name in (m.targets, m.sources)}
    size = 0
    while size != len(known):
        size = len(known)
        for m in matrices:
            known |= {(m.targets, far) for near, far in known if near == m.sources}
    return known
