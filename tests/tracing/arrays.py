"""Random arrays and weights, and what a graph says in one list."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp import trace
from jaxinterp.tracing import Node


def normal(*shape: int, seed: int = 0) -> jax.Array:
    """Returns standard normal numbers in float64."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def weights(module: Any, x: Any) -> Any:
    """Returns random variables of a linen module in float64, variances positive."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    rng = np.random.default_rng(1)

    def draw(path: Any, leaf: Any) -> jax.Array:
        noise = rng.normal(size=leaf.shape)
        is_variance = jax.tree_util.keystr(path[-1:], simple=True) == "var"
        return jnp.asarray(np.exp(noise / 3) if is_variance else noise / 2)

    return jax.tree.map_with_path(draw, shapes)


def computing(apply_fn: Any, variables: Any, x: Any) -> list[Node]:
    """Returns the nodes that do more than move entries about."""
    nodes = trace(apply_fn, variables, x).nodes
    return [node for node in nodes if not node.is_structural]


def roles(apply_fn: Any, variables: Any, x: Any) -> list[str]:
    """Returns the roles of the nodes that do more than move entries about."""
    return [str(node.role) for node in computing(apply_fn, variables, x)]


def names(apply_fn: Any, variables: Any, x: Any) -> list[str]:
    """Returns the addresses of the nodes that do more than move entries about."""
    return [node.address for node in computing(apply_fn, variables, x)]
