r"""Attention of several kinds of positions, rolled out: an encoder and its decoder.

Notation: $t$ and $s$ are kinds of positions, $\bar A^{ts}$ what a method makes of a
layer in which $t$ reads $s$, and $R^{ts}$ how much of $s$ is in the features of $t$.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxinterp.tracing.attention import AttentionMatrix
from jaxinterp.tracing.facts.axis_names import Name


def rolled_streams(
    layers: Iterable[tuple[AttentionMatrix, Any]],
) -> dict[tuple[Name, Name], Any]:
    r"""Returns for two kinds of positions how much of the second is in the first.

    It starts at $R^{tt} = I$. Self-attention adds $\bar A^{tt} R^{ts}$ to each
    $R^{ts}$. Where $t$ reads other positions,

    $$R^{ts} \mathrel{+}= (\hat R^{tt})^\top \bar A^{ts} \hat R^{ss}, \quad
    R^{tu} \mathrel{+}= \bar A^{ts} R^{su} \text{ for } u \ne s, \quad
    \hat R^{tt} = I + D^{-1} (R^{tt} - I)$$

    with the sums of rows of $R^{tt} - I$ in the diagonal matrix $D$.

    Args:
        layers: the matrices of attention in network order, each with the array
            $\bar A^{ts}$ of shape `(batch, target, source)`.

    References:
        Chefer et al., 2021, eqs. 1, 2 and 6 to 11 [chefer2021generic].
    """
    rolled: dict[tuple[Name, Name], Any] = {}
    for matrix, layer in layers:
        target, source = matrix.targets, matrix.sources
        for kind, size in ((target, layer.shape[1]), (source, layer.shape[2])):
            shape = (layer.shape[0], size, size)
            one = jnp.broadcast_to(jnp.eye(size, dtype=layer.dtype)[None], shape)
            rolled.setdefault((kind, kind), one)
        read = {far: r for (near, far), r in rolled.items() if near == source}
        added = {far: multiplied(layer, r) for far, r in read.items()}
        if target != source:
            back = jnp.swapaxes(_normalized(rolled[target, target]), 1, 2)
            whole = multiplied(layer, _normalized(rolled[source, source]))
            added[source] = multiplied(back, whole)
        for far, part in added.items():
            rolled[target, far] = rolled.get((target, far), 0) + part
    return rolled


def _normalized(rolled: Any) -> Any:
    """The identity, and the rest of the matrix of one kind with rows of sum one."""
    one = jnp.eye(rolled.shape[-1], dtype=rolled.dtype)[None]
    rest = rolled - one
    total = rest.sum(-1, keepdims=True)
    return one + rest / jnp.where(total > 0, total, 1.0)


def multiplied(left: Any, right: Any) -> Any:
    """Returns the product of matrices in full precision, also on accelerators.

    Args:
        left: matrices.
        right: as many matrices.
    """
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)
