"""`summary`: a model as a table of its sites, from shapes alone."""

from __future__ import annotations

from typing import Any

import jax

from jaxinterp.tracing.call import trace
from jaxinterp.tracing.graph import Graph
from jaxinterp.types import Inputs, Variables

# The first fields of the tuple that `load` returns.
_LOADED_FIELDS = ("apply_fn", "variables")


def summary(model: Any, inputs: Inputs, *, variables: Variables = None) -> Graph:
    """Returns the graph of a model, which prints as a table of its sites.

    Only shapes are computed: a network of gigabytes takes no memory, and needs no
    weights.

    Args:
        model: a linen module, a pair `(apply_fn, variables)` as the adapters return it,
            the result of `load`, or an apply function.
        inputs: a batch, or its shapes and dtypes as `jax.ShapeDtypeStruct`.
        variables: the weights or their shapes, needed for an apply function. A linen
            module computes the shapes itself; a pair and the result of `load` have
            them.

    Returns:
        The same immutable graph as `trace` gives: address, role, output, FLOPs,
        parameters.

    Raises:
        TypeError: if `model` is none of these, such as an NNX or Equinox module without
            an adapter.
        ValueError: if variables are missing, or in the pair as well as in `variables`.

    Example:
        >>> import flax.linen as nn
        >>> model = nn.Sequential([nn.Dense(4), nn.relu])
        >>> graph = summary(model, jax.ShapeDtypeStruct((1, 3), jnp.float32))
        >>> [node.address for node in graph]
        ['Sequential/layers_0', 'Sequential/relu']
    """
    if isinstance(model, tuple):
        if variables is not None:
            raise ValueError(
                "A pair `(apply_fn, variables)` has its variables already."
            )
        if len(model) != 2 and getattr(model, "_fields", ())[:2] != _LOADED_FIELDS:
            raise TypeError(
                f"`model` is a tuple of {len(model)}, and a pair `(apply_fn, "
                "variables)` was expected, or what `load` returned. Write "
                "`summary((apply_fn, variables), inputs)`."
            )
        apply_fn, variables = model[:2]
        return trace(apply_fn, variables, inputs)
    if hasattr(model, "init") and hasattr(model, "apply"):
        if variables is None:
            variables = shapes(model, inputs)
        return trace(model.apply, variables, inputs)
    adapter = _adapter(model)
    # A function compiled by Equinox is a module too, and may be an apply function.
    if adapter == "from_nnx" or (adapter and variables is None):
        raise TypeError(
            f"`model` is a {type(model).__name__}, which holds its weights itself. "
            f"Write `summary({adapter}(model), inputs)`."
        )
    if not callable(model):
        raise TypeError(
            f"`model` is a linen module, a pair `(apply_fn, variables)` or an apply "
            f"function, and is a {type(model).__name__}."
        )
    if variables is None:
        raise ValueError(
            "An apply function does not know the shapes of its weights. Write "
            "`summary(apply_fn, inputs, variables=variables)`."
        )
    return trace(model, variables, inputs)


def _adapter(model: Any) -> str:
    """Returns the name of the adapter that a module needs, `""` if none."""
    classes = [cls for cls in type(model).__mro__ if cls.__name__ == "Module"]
    libraries = {cls.__module__.partition(".module")[0] for cls in classes}
    if "flax.nnx" in libraries:
        return "from_nnx"
    is_equinox = any(name.split(".")[0] == "equinox" for name in libraries)
    return "from_equinox" if is_equinox else ""


def shapes(module: Any, inputs: Inputs) -> Variables:
    """Returns the shapes and dtypes of the variables of a linen module.

    Args:
        module: the linen module.
        inputs: a batch, or its shapes and dtypes.

    Returns:
        What `module.init` returns, with a `jax.ShapeDtypeStruct` for each array.
    """
    # Shapes do not depend on the key.
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x), inputs)
