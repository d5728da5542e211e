"""Whether a model with weights of another library computes what the original does."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.models.weights.name_map import WeightsError
from jaxinterp.types import ApplyFn, Inputs, Variables

# How far outputs may be apart, as a share of the largest: libraries round differently.
_TOLERANCE = 1e-3
_TOLERANCE_OF_HALF = 5e-2

_CAUSES = (
    "Frequent causes: features that PyTorch flattens channels first "
    "(`convert=channels_last(height, width)`), inputs that are prepared otherwise, "
    "another padding, the epsilon of a norm, or an original that was not in "
    "evaluation mode."
)


def check_outputs(
    apply_fn: ApplyFn,
    variables: Variables,
    inputs: Inputs,
    outputs: Any,
    *,
    source: str,
) -> None:
    r"""Raises if a model does not compute the outputs of the original.

    $$\max_i |y_i - o_i| \le \tau \max_i |o_i|$$

    Here $y$ are the outputs of the model, $o$ those of the original, and $\tau$ is
    0.001, or 0.05 if the weights have half precision. Products are computed in full
    precision.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        variables: the weights of the model.
        inputs: a batch as the model takes it: preprocessed, with the channels last.
        outputs: what the original computes of the same batch.
        source: the name of the checkpoint, for the error message.

    Raises:
        ValueError: if the outputs are not of the shapes that the model computes, or
            are not finite.
        WeightsError: if the outputs differ.

    Example:
        >>> inputs = jnp.ones((1, 2))
        >>> weight = jnp.array(3.0)
        >>> check_outputs(jnp.multiply, weight, inputs, 3 * inputs, source="example")
    """
    with jax.default_matmul_precision("highest"):
        computed = jax.tree.leaves(apply_fn(variables, inputs))
    originals = [np.asarray(leaf) for leaf in jax.tree.leaves(outputs)]
    shapes = [leaf.shape for leaf in originals]
    if shapes != [leaf.shape for leaf in computed]:
        raise ValueError(
            f"The outputs in `check=(inputs, outputs)` have the shapes {shapes}, and "
            f"those of the model {[leaf.shape for leaf in computed]}."
        )
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(variables)}
    is_half = any(jnp.issubdtype(d, jnp.floating) and d.itemsize < 4 for d in dtypes)
    tolerance = _TOLERANCE_OF_HALF if is_half else _TOLERANCE
    for ours, original in zip(map(np.asarray, computed), originals, strict=True):
        _compare(ours.astype(float), original.astype(float), tolerance, source)


def _compare(
    ours: np.ndarray, original: np.ndarray, tolerance: float, source: str
) -> None:
    if not np.isfinite(original).all():
        raise ValueError(
            "The outputs in `check=(inputs, outputs)` are not finite, so nothing can "
            "be compared with them."
        )
    difference = np.nan_to_num(np.abs(ours - original), nan=np.inf, posinf=np.inf)
    allowed = tolerance * np.abs(original).max(initial=0.0)
    if (difference <= allowed).all():
        return
    index = np.unravel_index(difference.argmax(), difference.shape)
    raise WeightsError(
        f"With the weights of {source} the model computes other outputs than the "
        f"original.\n    largest difference {difference[index]:.3g}, at "
        f"{tuple(map(int, index))}: {ours[index]:.6g} instead of "
        f"{original[index]:.6g}\n    allowed {allowed:.3g}, {tolerance:g} of the "
        f"largest output\n{_CAUSES}"
    )
