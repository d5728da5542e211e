"""The first convolution's kernels as images: what its filters respond to."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.graph import Graph, Node
from jaxinterp.tracing.layer.contraction import Contraction
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.program.program import Constant, Value
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.types import ApplyFn, Sites


def first_layer_filters(
    apply_fn: ApplyFn,
    variables: Any,
    inputs: Any,
    *,
    site: Sites | None = None,
) -> Float[Array, "filters *window channels"]:
    r"""Returns the kernels of the first convolution as images.

    $$\tfrac12 + \frac{w}{2 \max |w|}$$

    for each filter $w$: a weight of zero is gray, the one of the largest magnitude
    black or white. The kernels are those that the model convolves with: weights that
    it normalizes or casts first are shown after that, and a batch norm behind the
    convolution is not included. Deeper kernels have as many channels as the layer
    before and are seldom worth a look.

    Args:
        apply_fn: the model.
        variables: the weights of the model.
        inputs: a batch of inputs, or their shapes and dtypes as
            `jax.ShapeDtypeStruct`, since the model is not run.
        site: the address of the convolution; by default the first one, of which there
            has to be exactly one.

    Returns:
        Images in [0, 1], `(filters, *window, channels)`; three channels are the color
        to which a filter responds. Where features are convolved in groups, the channels
        are those of a group. A filter of zeros is gray.

    Raises:
        ValueError: if there is no such convolution, or several.

    Example:
        >>> weights = jnp.array([[[1.0, -2.0]]])
        >>> def model(w, x):
        ...     return jax.lax.conv_general_dilated(
        ...         x, w, (1,), "VALID", dimension_numbers=("NWC", "OIW", "NWC"))
        >>> first_layer_filters(model, weights, jnp.zeros((1, 4, 1))).tolist()
        [[[0.75], [0.0]]]

    References:
        Krizhevsky et al., 2012, figure 3 [krizhevsky2012imagenet].
    """
    traced = trace_call(apply_fn, variables, inputs)
    node = _first(traced.graph, site)
    assert node.kernel is not None, "a convolution has a kernel"
    equation = node.flow.program.equations[node.kernel]
    atom = Contraction(equation, 0).kernel
    if isinstance(atom, Constant):
        kernel = jnp.asarray(atom.value)
    else:
        kernel = _value(apply_fn, variables, inputs, node.address)
    spec = equation.params["dimension_numbers"].rhs_spec
    filters = jnp.transpose(kernel, (spec[0], *spec[2:], spec[1]))
    filters = filters.astype(jnp.promote_types(filters.dtype, jnp.float32))
    largest = jnp.abs(filters).max(axis=range(1, filters.ndim), keepdims=True)
    return 0.5 + filters / (2 * jnp.where(largest == 0, 1, largest))


def _value(apply_fn: ApplyFn, variables: Any, inputs: Any, address: str) -> Any:
    """Computes a kernel from the weights, and nothing else of the model."""

    @jax.jit
    def kernel(variables: Any, inputs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs)
        (node,) = (n for n in traced.graph.nodes if n.address == address)
        assert node.kernel is not None, "the graph is the same"
        value = node.flow.program.equations[node.kernel].inputs[1]
        assert isinstance(value, Value), "a constant was taken before"
        arrays = dict(zip(traced.graph.program.inputs, traced.operands, strict=True))
        if value in arrays:
            return arrays[value]
        if value in traced.graph.program.constants:
            return traced.graph.program.constants[value]
        _, values = traced.run(Changes(captures=frozenset({value})))
        return values[value]

    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), inputs)
    return kernel(variables, zeros)


def _first(graph: Graph, site: Sites | None) -> Node:
    convolutions = [n for n in graph.nodes if _has_filters(n)]
    matches = [n for n in convolutions if n.is_first]
    place = "first"
    if site is not None:
        selector = as_selector(site)
        matches = [n for n in convolutions if selector(n)]
        place = f"at {site!s}"
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(repr(node.address) for node in matches)
        raise ValueError(
            f"Several convolutions are {place}: {names}.\n"
            f"Write `first_layer_filters(..., site={matches[0].address!r})`."
        )
    names = ", ".join(repr(node.address) for node in convolutions[:8]) or "none"
    others = ", ".join(
        f"{node.address!r}, {node.role}" for node in graph.nodes if node.is_first
    )
    raise ValueError(
        f"No convolution is {place}. The convolutions are: {names}; what comes first: "
        f"{others or 'no affine map'}."
    )


def _has_filters(node: Node) -> bool:
    """Whether weights slide over an activation, and not an activation over weights."""
    if node.role is not Role.CONVOLUTION or node.kernel is None:
        return False
    return node.flow.program.equations[node.kernel].inputs[0] in node.flow.active
