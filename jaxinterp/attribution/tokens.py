"""Tokens have no gradient: they are explained at their embedding."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.types import ApplyFn, Inputs, Sites, Variables


def explained_at(
    apply_fn: ApplyFn, variables: Variables, inputs: Inputs, at: Sites | None
) -> Sites | None:
    """Returns the site that is explained: `at`, or of tokens their only embedding.

    Args:
        apply_fn: the model.
        variables: the weights of the model.
        inputs: the batch to be explained; its arrays are tokens if all are of integers
            with one axis or none beside that of the batch, as images are not.
        at: the site that was asked for, if any.

    Returns:
        A site; `None` for the inputs themselves, also if no embedding reads them.

    Raises:
        ValueError: if the inputs are tokens that several embeddings read.
    """
    leaves = jax.tree.leaves(inputs)
    are_tokens = all(
        jnp.issubdtype(getattr(leaf, "dtype", float), jnp.integer) and leaf.ndim < 3
        for leaf in leaves
    )
    if at is not None or not leaves or not are_tokens:
        return at
    graph = trace_call(apply_fn, variables, inputs).graph
    found = [
        node.address
        for node in graph.nodes
        if node.role is Role.EMBEDDING and not node.is_dead
    ]
    if len(found) > 1:
        raise ValueError(
            f"The inputs are tokens, and {len(found)} embeddings read them: "
            f"{', '.join(found)}.\nName the one that is to be explained, such as "
            f"`at={found[0]!r}`."
        )
    return found[0] if found else None
