"""`trace`: a call of a model as a graph, which every other transformation runs again.

An apply function is `apply_fn(variables, inputs, *args, **kwargs) -> outputs`. Arrays
among the further arguments are traced; everything else (`train=False`, a method's name)
is static.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np

from jaxinterp.checks import shown
from jaxinterp.tracing.facts.curve import is_gate, source_of
from jaxinterp.tracing.graph import Graph, Node
from jaxinterp.tracing.mistakes import call_model, misplaced
from jaxinterp.tracing.narrow import narrowed
from jaxinterp.tracing.program.evaluate import Changes, evaluate
from jaxinterp.tracing.program.flatten import flatten
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.recognition.build import build_graph
from jaxinterp.types import ApplyFn, Inputs, Variables


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """A traced call: its graph, and how to run it on arrays.

    Attributes:
        graph: the nodes and sites of the model.
        operands: the arrays of this call, in the order of the program's inputs.
        out_tree: the pytree structure of the outputs.
        inputs: the values of the program that are the explained inputs.
    """

    graph: Graph
    operands: tuple[Any, ...]
    out_tree: Any
    inputs: tuple[Value, ...]

    def run(
        self, changes: Changes, probes: Mapping[Value, Any] | None = None
    ) -> tuple[Any, dict[Value, Any]]:
        """Returns the outputs, and the arrays of the values to be captured.

        Args:
            changes: what to do differently than the model does.
            probes: for each of some values, an array that is added to it.
        """
        results, captured = evaluate(self.graph.program, self.operands, changes, probes)
        return jax.tree.unflatten(self.out_tree, results), captured

    def narrowed(self, whole: Collection[Value] = ()) -> Traced:
        """Returns the same call, which computes only what the outputs read.

        If a node would be another one, since a slice came between its steps or hides
        what it reads, the call is returned as it is.

        Args:
            whole: values that are to be computed, and whole.
        """
        active = self.graph.flows[self.graph.program].active
        program = narrowed(self.graph.program, active, whole)
        if program is self.graph.program:
            return self
        cuts = frozenset(whole)
        graph = build_graph(program, self.inputs, self.graph.parameters, cuts)
        is_same = _operations(graph) == _operations(self.graph)
        return dataclasses.replace(self, graph=graph) if is_same else self


def _operations(graph: Graph) -> list[tuple[Any, ...]]:
    """What rules ask of each node that does not only move entries."""

    def facts(node: Node) -> tuple[Any, ...]:
        sources = [source_of(node.flow, value) for value in node.inputs]
        return (
            *(node.address, node.role, len(node.equations), node.hides_activation),
            *(node.twin is not None, len(node.statistics), len(node.outputs)),
            tuple(map(sources.index, sources)),
            tuple(value in node.softmaxes for value in node.inputs),
            tuple(is_gate(node.flow, value) for value in node.inputs),
            tuple(value in node.flow.nonnegative for value in node.inputs),
        )

    return [facts(node) for node in graph.nodes if not node.is_structural]


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def trace_call(
    apply_fn: ApplyFn,
    variables: Variables,
    inputs: Inputs,
    *args: Any,
    cuts: Callable[[Graph], frozenset[Value]] | None = None,
    **kwargs: Any,
) -> Traced:
    """Traces a call of an apply function and keeps its arrays.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        variables: the weights of the model, any pytree of arrays.
        inputs: a batch, an array or a pytree of arrays, whose influence is traced.
        *args: further arguments of the model.
        cuts: a function from the graph to values that must stay visible: each is to be
            an input or the result of a node, never a step inside one.
        **kwargs: further named arguments of the model.

    Raises:
        TypeError: if `inputs` holds something that is not an array.
        Exception: what the model raises, with a note that says what it was given.
    """
    check_arrays(inputs)
    leaves, tree = jax.tree.flatten((variables, inputs, args, kwargs))
    paths = [leaf_path(path) for path, _ in jax.tree.leaves_with_path(variables)]
    n_variables, n_inputs = len(paths), len(jax.tree.leaves(inputs))
    explained = range(n_variables, n_variables + n_inputs)
    positions = [
        i
        for i, leaf in enumerate(leaves)
        if _is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct) or i in explained
    ]
    out_tree = None

    def flat(*arrays: Any) -> list[Any]:
        nonlocal out_tree
        replaced = dict(enumerate(leaves)) | dict(zip(positions, arrays, strict=True))
        parts = jax.tree.unflatten(tree, [replaced[i] for i in range(len(leaves))])
        variables, inputs, args, kwargs = parts
        outputs, out_tree = jax.tree.flatten(
            call_model(apply_fn, variables, inputs, *args, **kwargs)
        )
        return outputs

    operands = tuple(leaves[i] for i in positions)
    program = flatten(jax.make_jaxpr(flat)(*operands))
    by_leaf = dict(zip(positions, program.inputs, strict=True))
    roots = tuple(by_leaf[i] for i in explained)
    parameters = {by_leaf[i]: paths[i] for i in range(n_variables) if i in by_leaf}
    graph = build_graph(program, roots, parameters)
    if cuts is not None and (values := cuts(graph)):
        graph = build_graph(program, roots, parameters, values)
    return Traced(graph, operands, out_tree, roots)


def leaf_path(path: tuple[Any, ...]) -> str:
    """Returns the path of a leaf with slashes, `layers/0/w`.

    Args:
        path: the path of a leaf, as `jax.tree.leaves_with_path` returns it.
    """
    names = [_key(key) for key in path]
    if names[-1:] in (["value"], ["raw_value"]):  # NNX wraps each leaf in a `Variable`
        names.pop()
    return "/".join(names)


def _key(key: Any) -> str:
    for name in ("key", "idx", "name"):
        if hasattr(key, name):
            return str(getattr(key, name))
    return str(key)


def check_arrays(inputs: Inputs) -> None:
    """Raises if the inputs are not arrays.

    Args:
        inputs: an array or a pytree of arrays.

    Raises:
        TypeError: if a leaf is not an array; the message names it.
    """
    leaves = jax.tree.leaves_with_path(inputs)
    if not leaves:
        raise TypeError("`inputs` holds no array. Pass the batch to be explained.")
    for path, leaf in leaves:
        if not _is_array(leaf) and not isinstance(leaf, jax.ShapeDtypeStruct):
            where = f"inputs{jax.tree_util.keystr(path)}"
            raise TypeError(
                f"`{where}` must be an array with the batch on its first axis, and is\n"
                f"{type(leaf).__name__} {leaf!r}. Write `jnp.asarray(...)` around it."
            )


def check_batch(inputs: Inputs, variables: Variables = None) -> None:
    """Raises unless all inputs are arrays with the same examples on their first axis.

    Args:
        inputs: an array or a pytree of arrays.
        variables: the weights of the model, which tell whether the two were swapped.

    Raises:
        TypeError: if a leaf is not an array.
        ValueError: if a leaf is a scalar, or leaves disagree on the size of the batch.
    """
    check_arrays(inputs)
    sizes = {}
    for path, leaf in jax.tree.leaves_with_path(inputs):
        name = f"inputs{jax.tree_util.keystr(path)}"
        if leaf.ndim == 0:
            raise ValueError(
                f"`{name}` is a scalar; its first axis must be the batch.\n"
                "Write `inputs[None]` for a single example."
            )
        sizes[name] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        hint = misplaced(variables, inputs)
        raise ValueError(
            f"All inputs must have the same batch size, and have {shown(sizes)}."
            + (f"\nLikely cause: {hint}" if hint else "")
        )


def trace(
    apply_fn: ApplyFn, variables: Variables, inputs: Inputs, *args: Any, **kwargs: Any
) -> Graph:
    """Returns the graph of a model: what it computes, under which addresses.

    Nothing is computed; `jax.ShapeDtypeStruct`s serve as well as arrays. The graph
    prints as a table of address, role, output, FLOPs and parameters.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        variables: the weights of the model, any pytree of arrays.
        inputs: a batch, an array or a pytree of arrays.
        *args: further arguments of the model.
        **kwargs: further named arguments of the model; what is not an array is static.

    Returns:
        An immutable `Graph`.

    Raises:
        TypeError: if `inputs` holds something that is not an array.
        Exception: what the model raises, with a note that says what it was given and
            what the likely cause is.

    Example:
        >>> graph = trace(lambda w, x: jnp.tanh(x @ w["out"]["w"]),
        ...               {"out": {"w": jnp.ones((3, 2))}}, jnp.ones((1, 3)))
        >>> [(node.address, str(node.role)) for node in graph]
        [('out', 'dense'), ('tanh', 'activation')]
    """
    return trace_call(apply_fn, variables, inputs, *args, **kwargs).graph
