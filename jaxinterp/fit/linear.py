r"""Linear models: weighted ridge regression.

$Z$ is the design, one row for each sample and one column for each feature, $y$ the
values, $w$ the weights of the samples.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_real, is_traced


class Linear(NamedTuple):
    """A fitted linear model.

    Attributes:
        coefficients: the change of the value per unit of each feature, `(features,
            ...)`.
        intercept: the value where all features are 0, `(...)`.
    """

    coefficients: jax.Array
    intercept: jax.Array


def ridge(
    design: Any, values: Any, weights: Any = None, *, penalty: float = 1.0
) -> Linear:
    r"""Returns the linear model with the smallest weighted squares and coefficients.

    $$\min_{\beta, c} \sum_k w_k\,(y_k - c - z_k \cdot \beta)^2 + \lambda\,|\beta|^2$$

    The intercept $c$ is not penalized. Without a penalty, where several coefficients
    fit equally well, the smallest ones are returned. Cost: a singular value
    decomposition of the design, in single precision at least.

    Args:
        design: $Z$, `(samples, features)`.
        values: $y$, `(samples, ...)`; each further entry is a fit of its own.
        weights: $w$, `(samples,)`, not negative; all equal by default.
        penalty: $\lambda$, in units of the weights times the squared features.

    Returns:
        The coefficients and the intercept, in the dtype of the values.

    Raises:
        ValueError: if shapes disagree, if there is no sample, if a weight is negative
            or all are 0, or if the penalty is negative.

    Example:
        >>> design = jnp.array([[0.0], [1.0], [3.0]])
        >>> line = ridge(design, jnp.array([1.0, 3.0, 7.0]), penalty=0.0)
        >>> round(float(line.coefficients[0]), 4), round(float(line.intercept), 4)
        (2.0, 1.0)
    """
    penalty = checked_real("penalty", penalty, 0, call="ridge")
    values = jnp.asarray(values)
    wide = jnp.promote_types(values.dtype, jnp.float32)
    z, y = jnp.asarray(design, wide), values.astype(wide)
    w = jnp.ones(len(z), wide) if weights is None else jnp.asarray(weights, wide)
    _check(z, y, w, weights)
    shape, y = y.shape[1:], y.reshape(len(y), -1)
    share = (w / w.sum())[:, None]
    z_mean = (share * z).sum(0, keepdims=True)
    y_mean = (share * y).sum(0, keepdims=True)
    root = jnp.sqrt(w)[:, None]
    left, sizes, right = jnp.linalg.svd(root * (z - z_mean), full_matrices=False)
    # A direction in which samples do not differ says nothing.
    noise = jnp.finfo(wide).eps * max(z.shape) * sizes.max(initial=0)
    is_known = sizes > noise
    inverse = jnp.where(is_known, sizes, 0) / jnp.where(is_known, sizes**2 + penalty, 1)
    multiply = functools.partial(jnp.matmul, precision="highest")
    along = inverse[:, None] * multiply(left.T, root * (y - y_mean))
    beta = multiply(right.T, along)
    intercept = y_mean - multiply(z_mean, beta)
    dtype = values.dtype if jnp.issubdtype(values.dtype, jnp.inexact) else wide
    return Linear(
        beta.reshape(-1, *shape).astype(dtype), intercept.reshape(shape).astype(dtype)
    )


def _check(z: Any, y: Any, w: Any, weights: Any) -> None:
    """Raises if shapes disagree or the weights say nothing."""
    if z.ndim != 2 or y.ndim < 1 or w.shape != y.shape[:1] or len(z) != len(y):
        raise ValueError(
            "ridge takes a design (samples, features), values (samples, ...) and "
            f"weights (samples,), and was given the shapes {z.shape}, {y.shape} and "
            f"{w.shape}."
        )
    if not len(z):
        raise ValueError("ridge needs a sample, and was given none.")
    if weights is None or is_traced(weights):
        return
    known = np.asarray(weights)
    if known.min() < 0 or known.max() == 0:
        raise ValueError(
            "The weights of samples are not negative and not all 0, and reach from "
            f"{known.min()} to {known.max()}."
        )
