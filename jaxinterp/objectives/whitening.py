r"""Directions in whitened activation space, where what is common counts less.

Channels are correlated and of different sizes, so that a direction is dominated by what
all activations share. Measured by $h^\top \Sigma^{-1} v$, with $\Sigma$ the second
moment of the activations $h$, only what is special in $v$ remains.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.objectives.direction import as_floats


def whitened(vector: Any, activations: Any, *, ridge: float = 1e-3) -> Any:
    r"""Returns directions whose dot product with an activation is that of white ones.

    $$v' = (\Sigma + \lambda\, \overline{\sigma}\, I)^{-1} v, \qquad
      \Sigma = \tfrac{1}{n} \sum_i h_i h_i^\top, \quad
      \overline{\sigma} = \operatorname{tr} \Sigma / C$$

    Give it to `direction`, with which
    $h \cdot v' = h^\top \Sigma^{-1} v$.

    Args:
        vector: the directions $v$, `(channels,)` or `(units, channels)`, such as a mean
            of activations.
        activations: the activations $h$ of many places of many images, `(...,
            channels)`, as `capture` returns them.
        ridge: the share $\lambda$ of the mean size of the channels, which keeps those
            that hardly ever are active from counting for everything. Carter et al. have
            none.

    Returns:
        Directions in the shape of `vector`, in its units divided by those of the
        activations, squared; float32 at least.

    Raises:
        TypeError: if something is not of real numbers.
        ValueError: if the numbers of channels differ, `ridge` is negative, something is
            not finite, there are fewer activations than channels and no ridge, or
            all activations are zero.

    Example:
        >>> activations = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> whitened(jnp.array([1.0, 1.0]), activations, ridge=0.0).round(3).tolist()
        [0.5, 2.0]

    References:
        Carter et al., 2019, "Activation Atlas", on whitening
        [carter2019activation].
    """
    vector, activations = (
        as_floats(vector, "direction"),
        as_floats(activations, "`activations` of whitened()"),
    )
    is_fitting = activations.ndim > 1 and vector.shape[-1:] == activations.shape[-1:]
    if vector.ndim not in (1, 2) or not is_fitting:
        raise ValueError(
            "whitened() takes directions (channels,) or (units, channels) and "
            f"activations (..., channels); they have shapes {vector.shape} and "
            f"{activations.shape}."
        )
    if not is_traced(ridge) and not ridge >= 0:
        raise ValueError(f"whitened: `ridge` must not be negative, and is {ridge!r}.")
    channels = activations.shape[-1]
    h = activations.reshape(-1, channels)
    if not is_traced(ridge) and not ridge and len(h) < channels:
        raise ValueError(
            f"whitened: {len(h)} activations do not tell how {channels} channels vary "
            "together. Give more, or a `ridge` such as 1e-3."
        )
    h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    moment = jnp.einsum("nc,nd->cd", h, h, precision="highest") / max(len(h), 1)
    moment += ridge * jnp.trace(moment) / channels * jnp.eye(channels, dtype=h.dtype)
    right = vector.T.astype(h.dtype)
    directions = jax.scipy.linalg.solve(moment, right, assume_a="pos").T
    if not is_traced(directions):
        _check_finite(directions, vector, h)
    return directions


def _check_finite(directions: Any, vector: Any, activations: Any) -> None:
    if np.isfinite(np.asarray(directions)).all():
        return
    for name, array in (("direction", vector), ("activations", activations)):
        if not np.isfinite(np.asarray(array, np.float32)).all():
            raise ValueError(f"whitened: the {name} must be finite, and some are not.")
    if not np.asarray(activations, np.float32).any():
        raise ValueError("whitened: there are no activations other than zero.")
    raise ValueError(
        "whitened: the second moment of the activations has no inverse: some channels "
        "are always zero or always together. Give a `ridge` such as 1e-3."
    )
