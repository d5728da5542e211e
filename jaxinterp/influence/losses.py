"""Losses of a single example: what the model was trained to make small."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.objectives.score import log_probability


def cross_entropy(
    outputs: Float[Array, "batch classes"], labels: Any
) -> Float[Array, " batch"]:
    """Returns minus the logarithm of the label's softmax probability, in nats.

    Args:
        outputs: the logits, `(batch, classes)`.
        labels: class indices, `(batch,)`.

    Raises:
        ValueError: if labels are missing, of another shape, or out of range.
        TypeError: if labels are not integers.

    Example:
        >>> round(float(cross_entropy(jnp.zeros((1, 4)), jnp.array([1]))[0]), 4)
        1.3863
    """
    if hasattr(outputs, "dtype"):  # what has none is none, and is told below
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    return -log_probability(outputs, labels)


def squared_error(outputs: Any, labels: Any) -> Float[Array, " batch"]:
    r"""Returns half the squared distance of outputs and labels.

    $$L(z, y) = \tfrac12 \lVert z - y \rVert^2$$

    Args:
        outputs: what the model returns, one row of any shape for each example.
        labels: numbers of the same shape.

    Raises:
        TypeError: if the outputs are no array.
        ValueError: if the shapes differ, or have no axis of examples.

    Example:
        >>> squared_error(jnp.array([[1.0, 3.0]]), jnp.array([[1.0, 1.0]])).tolist()
        [2.0]
    """
    if not hasattr(outputs, "dtype"):
        raise TypeError(
            "squared_error: the model returns one array, and returned "
            f"{type(outputs).__name__}. Say which part is meant, "
            "`lambda variables, inputs: apply_fn(variables, inputs)[0]`."
        )
    if jnp.shape(outputs) != jnp.shape(labels) or not outputs.ndim:
        raise ValueError(
            f"squared_error: the model returns {jnp.shape(outputs)}, and the labels "
            f"have {jnp.shape(labels)}. Both have one row for each example."
        )
    wide = jnp.promote_types(outputs.dtype, jnp.float32)
    differences = outputs.astype(wide) - jnp.asarray(labels).astype(wide)
    size = math.prod(differences.shape[1:])
    return 0.5 * (differences**2).reshape(len(differences), size).sum(axis=1)
