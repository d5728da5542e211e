"""Functions as graphs: `trace`, and what `capture`, `intervene` and `split` do.

An apply function is `apply_fn(variables, inputs, *args, **kwargs) -> outputs`. Arrays
among the further arguments are traced; everything else (`train=False`, a method's name)
is static.
"""

from __future__ import annotations

import dataclasses
import functools
import reprlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxinterp.trace.build import build_graph
from jaxinterp.trace.control import flatten
from jaxinterp.trace.errors import AddressError, AmbiguousAddressError, EditError
from jaxinterp.trace.evaluate import Changes, evaluate
from jaxinterp.trace.graph import Graph, Site
from jaxinterp.trace.program import Value
from jaxinterp.trace.selectors import Selector, as_selector

ApplyFn = Callable[..., Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """A traced call: its graph, and how to run it on arrays.

    Attributes:
        graph: the network.
        operands: the arrays of this call, in the order of the program's inputs.
        out_tree: the structure of the outputs.
        inputs: the program's values of the explained inputs.
    """

    graph: Graph
    operands: tuple[Any, ...]
    out_tree: Any
    inputs: tuple[Value, ...]

    def run(
        self, changes: Changes, probes: Mapping[Value, Any] | None = None
    ) -> tuple[Any, dict[Value, Any]]:
        """Returns the outputs and what was captured.

        Args:
            changes: what to do otherwise.
            probes: arrays that are added to values.
        """
        results, captured = evaluate(self.graph.program, self.operands, changes, probes)
        return jax.tree.unflatten(self.out_tree, results), captured


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def trace_call(
    apply_fn: ApplyFn,
    variables: Any,
    inputs: Any,
    *args: Any,
    cuts: Callable[[Graph], frozenset[Value]] | None = None,
    **kwargs: Any,
) -> Traced:
    """Traces a call of an apply function and keeps its arrays.

    Args:
        apply_fn: the model.
        variables: its weights.
        inputs: what is explained.
        *args: further arguments.
        cuts: from a graph, the values that must not disappear inside a node.
        **kwargs: further named arguments.
    """
    check_arrays(inputs)
    leaves, tree = jax.tree.flatten((variables, inputs, args, kwargs))
    paths = [_leaf_path(path) for path, _ in jax.tree.leaves_with_path(variables)]
    n_variables, n_inputs = len(paths), len(jax.tree.leaves(inputs))
    explained = range(n_variables, n_variables + n_inputs)
    traced = [
        i
        for i, leaf in enumerate(leaves)
        if _is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct) or i in explained
    ]
    out_tree = None

    def flat(*arrays: Any) -> list[Any]:
        nonlocal out_tree
        filled = list(leaves)
        for i, array in zip(traced, arrays, strict=True):
            filled[i] = array
        variables, inputs, args, kwargs = jax.tree.unflatten(tree, filled)
        outputs, out_tree = jax.tree.flatten(
            apply_fn(variables, inputs, *args, **kwargs)
        )
        return outputs

    operands = tuple(leaves[i] for i in traced)
    program = flatten(jax.make_jaxpr(flat)(*operands))
    by_leaf = dict(zip(traced, program.inputs, strict=True))
    roots = tuple(by_leaf[i] for i in explained)
    parameters = {by_leaf[i]: paths[i] for i in range(n_variables) if i in by_leaf}
    graph = build_graph(program, roots, parameters)
    if cuts is not None and (values := cuts(graph)):
        graph = build_graph(program, roots, parameters, values)
    return Traced(graph, operands, out_tree, roots)


def _leaf_path(path: tuple[Any, ...]) -> str:
    names = [_key(key) for key in path]
    if names[-1:] in (["value"], ["raw_value"]):  # NNX wraps each leaf in a `Variable`
        names.pop()
    return "/".join(names)


def _key(key: Any) -> str:
    for name in ("key", "idx", "name"):
        if hasattr(key, name):
            return str(getattr(key, name))
    return str(key)


def check_arrays(inputs: Any) -> None:
    """Raises if the inputs are not arrays.

    Args:
        inputs: an array or a pytree of arrays.

    Raises:
        TypeError: naming the leaf that is not.
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


def trace(
    apply_fn: ApplyFn, variables: Any, inputs: Any, *args: Any, **kwargs: Any
) -> Graph:
    """Returns the graph of a model: what it computes, under which addresses.

    Nothing is computed; `jax.ShapeDtypeStruct`s serve as well as arrays. The graph
    prints as a table of address, role, output, FLOPs and parameters.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        variables: its weights, any pytree.
        inputs: a batch, an array or a pytree of arrays.
        *args: passed on to `apply_fn`.
        **kwargs: passed on to `apply_fn`; what is not an array is static.

    Returns:
        An immutable `Graph`.

    Raises:
        TypeError: if `inputs` holds something that is not an array.

    Example:
        >>> graph = trace(lambda w, x: jnp.tanh(x @ w["out"]["w"]),
        ...               {"out": {"w": jnp.ones((3, 2))}}, jnp.ones((1, 3)))
        >>> [(node.address, str(node.role)) for node in graph]
        [('out', 'dense'), ('tanh', 'activation')]
    """
    return trace_call(apply_fn, variables, inputs, *args, **kwargs).graph


def select(graph: Graph, selector: Selector | str) -> dict[str, Site]:
    """Returns the sites that a selector means, in network order.

    Args:
        graph: a traced model.
        selector: an address, a glob or a selector.

    Raises:
        AddressError: if there is none; the message lists the nearest addresses.

    Example:
        >>> graph = trace(lambda w, x: jnp.tanh(x), None, jnp.ones((1, 3)))
        >>> list(select(graph, "t*"))
        ['tanh']
    """
    chosen = as_selector(selector)
    sites = graph.sites
    if isinstance(selector, str):
        for address, site in sites.items():
            if selector in site.names:
                return {address: site}
    found = {address: site for address, site in sites.items() if chosen(site)}
    if not found:
        raise AddressError(chosen, sites)
    return found


def select_one(graph: Graph, selector: Selector | str) -> Site:
    """Returns the one site that a selector means.

    Args:
        graph: a traced model.
        selector: an address, or anything that matches a single site.

    Raises:
        AddressError: if nothing matches.
        AmbiguousAddressError: if several sites match.
    """
    found = select(graph, selector)
    if len(found) > 1:
        raise AmbiguousAddressError(selector, found)
    return next(iter(found.values()))


def capture(apply_fn: ApplyFn, sites: Selector | str) -> ApplyFn:
    """Also returns the activations at some sites.

    What the returned function does not need for the activations it is asked for, XLA
    drops: capture an early site, discard the outputs, and no later layer is computed.

    Inside a `scan` the activations of all steps are stacked on axis 0; inside a `while`
    the last step's is returned; an arm of a `cond` that is not taken gives NaN.

    Args:
        apply_fn: the model.
        sites: an address, a glob (`"*"` is every site) or a selector.

    Returns:
        A function `(variables, inputs, *args, **kwargs) -> (outputs, activations)`
        where `activations` is a dict from address to array in network order.

    Raises:
        AddressError: when called, if no site matches.

    Example:
        >>> model = capture(lambda w, x: jnp.tanh(w * x).sum(-1), "tanh")
        >>> outputs, activations = model(0.0, jnp.ones((1, 2)))
        >>> activations["tanh"].tolist()
        [[0.0, 0.0]]
    """
    as_selector(sites)

    @functools.wraps(apply_fn)
    def captured(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        chosen = select(traced.graph, sites)
        wanted = frozenset(site.value for site in chosen.values())
        outputs, values = traced.run(Changes(wanted=wanted))
        # JAX sorts the keys of a plain dict that leaves `jit`, and keeps these.
        found = ((a, values[site.value]) for a, site in chosen.items())
        return outputs, OrderedDict(found)

    return captured


def intervene(
    apply_fn: ApplyFn, edits: Mapping[Selector | str, Callable[[Any], Any]]
) -> ApplyFn:
    """Replaces activations while the model runs.

    Args:
        apply_fn: the model.
        edits: for each site, a function from its activation to what takes its place. It
            may close over traced values. In a loop it is applied at every step.

    Returns:
        A function like `apply_fn`. Later sites see the edited activation.

    Raises:
        AddressError: when called, if a site does not exist.
        EditError: if an edit changes the shape or dtype.
        TypeError: if `edits` is no mapping from sites to functions.

    Example:
        >>> ablated = intervene(lambda w, x: jnp.tanh(w * x), {"tanh": jnp.zeros_like})
        >>> ablated(1.0, jnp.ones((1, 2))).tolist()
        [[0.0, 0.0]]
    """
    if not isinstance(edits, Mapping):
        raise TypeError(
            f"`edits` maps sites to functions, and {reprlib.repr(edits)} was given.\n"
            "Write for example `intervene(apply_fn, {'Block_0/add': jnp.zeros_like})`."
        )
    for selector, edit in edits.items():
        as_selector(selector)
        if not callable(edit):
            raise TypeError(
                f"The edit at {str(selector)!r} must be a function of the activation, "
                f"and is {edit!r}.\n"
                f"Write for example `{{{str(selector)!r}: jnp.zeros_like}}`."
            )

    @functools.wraps(apply_fn)
    def intervened(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        by_value: dict[Value, Callable[[Any], Any]] = {}
        for selector, edit in edits.items():
            for address, site in select(traced.graph, selector).items():
                checked = _checked(edit, address)
                before = by_value.get(site.value)
                by_value[site.value] = _then(before, checked) if before else checked
        outputs, _ = traced.run(Changes(edits=by_value))
        return outputs

    return intervened


def _then(first: Callable, second: Callable) -> Callable:
    return lambda activation: second(first(activation))


def _checked(edit: Callable[[Any], Any], address: str) -> Callable[[Any], Any]:
    def checked(activation: Any) -> Any:
        edited = edit(activation)
        shape, dtype = np.shape(edited), getattr(edited, "dtype", None)
        if shape != activation.shape or dtype != activation.dtype:
            raise EditError(
                address,
                f"{activation.dtype}{list(activation.shape)}",
                f"{dtype or type(edited).__name__}{list(shape)}",
            )
        return edited

    return checked


def split(apply_fn: ApplyFn, site: Selector | str) -> tuple[ApplyFn, ApplyFn]:
    """Splits a model in two at a site.

    Args:
        apply_fn: the model.
        site: where; it must be one site.

    Returns:
        `encode(variables, inputs) -> activation`, the model up to the site, and
        `decode(variables, activation, inputs) -> outputs`, the model from the site on.
        `decode` takes the inputs too, since paths around the site may exist; so
        `decode(variables, encode(variables, inputs), inputs)` is the model.

    Raises:
        AddressError: when called, if the site does not exist.
        AmbiguousAddressError: when called, if there are several such sites.
        ValueError: when `decode` is called, if the site is in a loop.

    Example:
        >>> encode, decode = split(lambda w, x: 3 * jnp.tanh(w * x), "tanh")
        >>> x = jnp.zeros((1, 1))
        >>> decode(1.0, encode(1.0, x) + 1, x).tolist()
        [[3.0]]
    """
    as_selector(site)

    @functools.wraps(apply_fn)
    def encode(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        value = select_one(traced.graph, site).value
        _, values = traced.run(Changes(wanted=frozenset({value})))
        return values[value]

    @functools.wraps(apply_fn)
    def decode(
        variables: Any, activation: Any, inputs: Any, *args: Any, **kwargs: Any
    ) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        found = select_one(traced.graph, site)
        if found.node.flow.program is not traced.graph.program:
            raise ValueError(
                f"{found.address!r} ({found.node.line})\nis inside a loop or branch "
                "and has no single value that the model could start from.\n"
                "Take a site outside of it; or use `intervene`, whose edit is applied "
                "at every step, or\n`gradient` or `lrp` with `at`, which give one "
                "attribution for each step."
            )
        edit = _checked(lambda _: activation, found.address)
        outputs, _ = traced.run(Changes(edits={found.value: edit}))
        return outputs

    return encode, decode
