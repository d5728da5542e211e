r"""Where weights meet activations: what Kronecker factors are made of.

At an affine site $z_t = W^\top a_t + b$ for every position $t$ (one for a dense layer,
each pixel for a convolution, whose $a_t$ is a patch). With $s_t = \partial z_t$ the
gradient in $W$ is $\sum_t a_t s_t^\top$. A bias is a last row of $W$, at which
$a_t = 1$.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from jaxinterp.tracing import compat
from jaxinterp.tracing.call import Traced
from jaxinterp.tracing.facts.axes import feature_axes
from jaxinterp.tracing.facts.roles import KINDS, Kind
from jaxinterp.tracing.graph import AFFINE, Graph, Node
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.program.program import Atom, Equation, Value


@dataclasses.dataclass(frozen=True, eq=False)
class AffineSite:
    """A contraction of an activation with a leaf of the variables.

    Attributes:
        number: the number of the node in its graph.
        kernel: the path of the leaf.
        bias: the path of the leaf that is added to the result; `None` if there is none.
        kernel_entries: which entry of the leaf stands where in $W$,
            `(inputs, outputs)`.
        bias_entries: which entry of the bias belongs to which output, `(outputs,)`.
    """

    number: int
    kernel: str
    bias: str | None
    kernel_entries: np.ndarray
    bias_entries: np.ndarray


def affine_sites(graph: Graph, paths: tuple[str, ...]) -> tuple[AffineSite, ...]:
    """Returns the affine sites of a model whose weights are chosen parameters.

    Left out are grouped convolutions, products with batch axes, weights that are
    computed from a leaf by more than a change of layout, and sites within loops.

    Args:
        graph: a traced model, for a batch of one example.
        paths: the paths of the leaves that are parameters.
    """
    sites = (_site(graph, number, paths) for number in range(len(graph.nodes)))
    return tuple(site for site in sites if site is not None)


def contraction_of(node: Node) -> tuple[Equation, int]:
    """Returns the contraction of an affine node, and which operand is the activation.

    Args:
        node: a node of a graph with a kernel.
    """
    assert node.kernel is not None, "an affine site has a contraction"
    equation = node.flow.program.equations[node.kernel]
    first = equation.inputs[0]
    is_left = isinstance(first, Value) and first in node.flow.active
    return equation, 0 if is_left else 1


def _site(graph: Graph, number: int, paths: tuple[str, ...]) -> AffineSite | None:
    node = graph.nodes[number]
    in_loop = node.flow.program is not graph.program
    if node.role not in AFFINE or node.kernel is None or node.products or in_loop:
        return None
    equation, side = contraction_of(node)
    params = equation.params
    if equation.primitive is p.conv_general_dilated_p:
        is_plain = params["feature_group_count"] == params["batch_group_count"] == 1
        if side != 0 or not is_plain:
            return None
    elif params["dimension_numbers"][1][0]:
        return None
    entries = _entries(graph, node, equation.inputs[1 - side])
    if entries is None or entries[0] not in paths:
        return None
    path, numbers = entries
    if len(np.unique(numbers)) != numbers.size:
        return None
    matrix = _kernel_matrix(equation, side, numbers)
    bias = _bias(graph, node, paths, matrix.shape[1])
    none = np.zeros(0, int)
    bias_path, bias_entries = (None, none) if bias is None else bias
    return AffineSite(number, path, bias_path, matrix, bias_entries)


def _entries(graph: Graph, node: Node, atom: Atom) -> tuple[str, np.ndarray] | None:
    """The leaf that a value is a layout of, and which of its entries stands where."""
    chain: list[Equation] = []
    value = atom
    while isinstance(value, Value) and value not in graph.parameters:
        at = node.flow.producer.get(value)
        if at is None:
            return None
        equation = node.flow.program.equations[at]
        if not _is_layout(equation):
            return None
        chain.append(equation)
        (value,) = equation.inputs
    if not isinstance(value, Value):
        return None
    start = np.arange(math.prod(value.shape)).reshape(value.shape)
    return graph.parameters[value], _moved(start, chain[::-1])


def _is_layout(equation: Equation) -> bool:
    is_cast = equation.primitive is p.convert_element_type_p
    return is_cast or KINDS.get(equation.primitive) is Kind.LAYOUT


def _moved(entries: np.ndarray, chain: list[Equation]) -> np.ndarray:
    """The numbers of entries after changes of layout."""
    for equation in chain:
        if equation.primitive is not p.convert_element_type_p:
            (result,) = compat.bind(
                equation.primitive, [jnp.asarray(entries)], equation.params
            )
            entries = np.asarray(result)
    return entries


def _kernel_matrix(equation: Equation, side: int, entries: np.ndarray) -> np.ndarray:
    """The entries of a kernel as `(inputs, outputs)`."""
    if equation.primitive is p.conv_general_dilated_p:
        out, channels, *window = equation.params["dimension_numbers"].rhs_spec
        matrix = entries.transpose(channels, *window, out)
        return matrix.reshape(-1, matrix.shape[-1])
    contracting = equation.params["dimension_numbers"][0][1 - side]
    free = [i for i in range(entries.ndim) if i not in contracting]
    size = math.prod(entries.shape[i] for i in contracting)
    return entries.transpose(*contracting, *free).reshape(size, -1)


def _bias(
    graph: Graph, node: Node, paths: tuple[str, ...], n_outputs: int
) -> tuple[str, np.ndarray] | None:
    """The leaf that is added to each position of the result, if there is one."""
    equation, side = contraction_of(node)
    shape, features = equation.outputs[0].shape, feature_axes(equation, 1 - side)
    size = [n if i in features else 1 for i, n in enumerate(shape)]
    outputs = np.arange(n_outputs).reshape(size)
    output_at = np.broadcast_to(outputs, shape)
    for index in node.after:
        step = node.flow.program.equations[index]
        if _is_layout(step):
            output_at = _moved(output_at, [step])
            continue
        if step.primitive is not p.add_p:
            return None
        sources = (_entries(graph, node, operand) for operand in step.inputs)
        leaf = next((s for s in sources if s is not None and s[0] in paths), None)
        if leaf is None:
            return None
        path, numbers = leaf
        numbers = np.broadcast_to(numbers, output_at.shape)
        by_output = np.full(n_outputs, -1)
        by_output[output_at.ravel()] = numbers.ravel()
        is_one_each = len(np.unique(by_output)) == n_outputs
        is_same = (by_output[output_at] == numbers).all()
        return (path, by_output) if is_one_each and is_same else None
    return None


# --- One run --------------------------------------------------------------------------


def probed(
    traced: Traced, sites: tuple[AffineSite, ...], changes: list[Any]
) -> tuple[Any, list[Any]]:
    """Returns the outputs of a model, and the $a_t$ of each site.

    Args:
        traced: a traced call of the model, for a batch of one example.
        sites: the affine sites of its graph.
        changes: for each site, an array like `zero_changes` that is added to its
            result.
    """
    nodes = [traced.graph.nodes[site.number] for site in sites]
    pairs = [contraction_of(node) for node in nodes]
    results = [equation.outputs[0] for equation, _ in pairs]
    values: list[Any] = [equation.inputs[side] for equation, side in pairs]
    captures = frozenset({*results, *values})
    probes: Mapping[Value, Any] = dict(zip(results, changes, strict=True))
    outputs, captured = traced.run(Changes(captures=captures), probes)
    inputs = [
        _positions_of_inputs(equation, side, captured[value])
        for (equation, side), value in zip(pairs, values, strict=True)
    ]
    with_ones = [
        rows
        if site.bias is None
        else jnp.pad(rows, ((0, 0), (0, 1)), constant_values=1)
        for site, rows in zip(sites, inputs, strict=True)
    ]
    return outputs, with_ones


def zero_changes(traced: Traced, sites: tuple[AffineSite, ...]) -> list[Any]:
    """Returns an array of zeros like the result of each site's contraction.

    Args:
        traced: a traced call of the model.
        sites: the affine sites of its graph.
    """
    nodes = [traced.graph.nodes[site.number] for site in sites]
    results = [contraction_of(node)[0].outputs[0] for node in nodes]
    return [jnp.zeros(value.shape, value.dtype) for value in results]


def positions_of_results(traced: Traced, site: AffineSite, result: Any) -> Any:
    """Returns an array like the result of a site as `(positions, outputs)`.

    Args:
        traced: a traced call of the model.
        site: one of its affine sites.
        result: an array like the result of its contraction, such as a cotangent.
    """
    equation, side = contraction_of(traced.graph.nodes[site.number])
    features = sorted(feature_axes(equation, 1 - side))
    rest = [i for i in range(result.ndim) if i not in features]
    return result.transpose(*rest, *features).reshape(-1, site.kernel_entries.shape[1])


def _positions_of_inputs(equation: Equation, side: int, x: Any) -> Any:
    """The activation at a site as `(positions, inputs)`; for a convolution patches."""
    params = equation.params
    if equation.primitive is not p.conv_general_dilated_p:
        contracting = params["dimension_numbers"][0][side]
        rest = [i for i in range(x.ndim) if i not in contracting]
        size = math.prod(x.shape[i] for i in contracting)
        return x.transpose(*rest, *contracting).reshape(-1, size)
    spec = params["dimension_numbers"]
    kernel = equation.inputs[1].shape
    patches = lax.conv_general_dilated_patches(
        x,
        [kernel[i] for i in spec.rhs_spec[2:]],
        params["window_strides"],
        params["padding"],
        lhs_dilation=params["lhs_dilation"],
        rhs_dilation=params["rhs_dilation"],
        dimension_numbers=spec,
        precision=lax.Precision.HIGHEST,
    )
    channels = spec.out_spec[1]
    rest = [i for i in range(patches.ndim) if i != channels]
    return patches.transpose(*rest, channels).reshape(-1, patches.shape[channels])
