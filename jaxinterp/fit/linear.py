r"""Linear models: weighted ridge and logistic regression.

$Z$ is the design, one row for each sample and one column for each feature, $y$ the
values, $w$ the weights of the samples.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_positive, checked_real, is_traced


class Linear(NamedTuple):
    """A fitted linear model.

    Attributes:
        coefficients: the change of the value per unit of each feature, `(features,
            ...)`.
        intercept: the value where all features are 0, `(...)`.
    """

    coefficients: jax.Array
    intercept: jax.Array

    def __call__(self, design: Any) -> Any:
        """Returns the values of the model, `(samples, ...)`.

        Args:
            design: the features of each sample, `(samples, features)`.
        """
        coefficients = jnp.asarray(self.coefficients)
        values = jnp.tensordot(design, coefficients, axes=1, precision="highest")
        return values + jnp.asarray(self.intercept)[None]


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
    _check(z, y, w, weights, "ridge")
    shape, y = y.shape[1:], y.reshape(len(y), math.prod(y.shape[1:]))
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
        beta.reshape(z.shape[1], *shape).astype(dtype),
        intercept.reshape(shape).astype(dtype),
    )


# Newton's method halves what is left of the error in far fewer steps than these.
_STEPS, _HALVINGS = 30, 12


def logistic(
    design: Any, labels: Any, weights: Any = None, *, penalty: float = 1.0
) -> Linear:
    r"""Returns the logistic regression of two classes with a penalty on coefficients.

    $$\min_{\beta, c} \sum_k w_k \log(1 + e^{-t_k (c + z_k \cdot \beta)})
      + \tfrac{\lambda}{2}\,|\beta|^2, \qquad t_k = \pm 1$$

    The intercept $c$ is not penalized. The minimum is found by Newton's method, with a
    step that is halved until it descends, in the space that the samples span. Cost: a
    singular value decomposition of the design, and 30 solutions of a system of at most
    as many equations as there are samples.

    Args:
        design: $Z$, `(samples, features)`.
        labels: whether a sample is of the class whose logit is fitted, booleans
            `(samples,)`.
        weights: $w$, `(samples,)`, not negative; all equal by default.
        penalty: $\lambda$, in units of the weights times the squared features. It is
            positive: classes that a plane separates have no finite fit without it.

    Returns:
        The coefficients and the intercept of the logit, in single precision at least.

    Raises:
        TypeError: if labels are no booleans.
        ValueError: if shapes disagree, if there is no sample, if a weight is negative
            or all are 0, or if the penalty is not positive.

    Example:
        >>> design = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        >>> fit = logistic(design, jnp.array([False, True, False, True]))
        >>> bool(fit.coefficients[0] > 0), bool(abs(fit(jnp.array([[1.5]]))[0]) < 1e-5)
        (True, True)
    """
    penalty = checked_positive("penalty", penalty, call="logistic")
    labels = jnp.asarray(labels)
    if labels.dtype != bool or labels.ndim != 1:
        raise TypeError(
            "logistic takes one boolean for each sample, (samples,), and was given "
            f"{labels.dtype}{list(labels.shape)}. Write `labels > 0`."
        )
    wide = jnp.promote_types(jnp.asarray(design).dtype, jnp.float32)
    z, t = jnp.asarray(design, wide), jnp.where(labels, 1, -1).astype(wide)
    w = jnp.ones(len(z), wide) if weights is None else jnp.asarray(weights, wide)
    _check(z, t, w, weights, "logistic")
    mean = ((w / w.sum())[:, None] * z).sum(0)
    left, sizes, right = jnp.linalg.svd(z - mean[None], full_matrices=False)
    rows = jnp.concatenate([left * sizes[None], jnp.ones((len(z), 1), wide)], axis=1)
    ridges = jnp.full(rows.shape[1], penalty, wide).at[-1].set(0)
    multiply = functools.partial(jnp.matmul, precision="highest")

    def loss(gamma: Any) -> Any:
        losses = jax.nn.softplus(-t * multiply(rows, gamma))
        return (w * losses).sum() + (ridges * gamma**2).sum() / 2

    def newton(_: Any, gamma: Any) -> Any:
        p = jax.nn.sigmoid(multiply(rows, gamma))
        slope = multiply(rows.T, w * (p - (t > 0))) + ridges * gamma
        curved = multiply(rows.T, (w * p * (1 - p))[:, None] * rows)
        # Where all samples are certain, the intercept alone has no curvature.
        tiny = jnp.finfo(wide).eps * (1 + jnp.trace(curved))
        step = jnp.linalg.solve(curved + jnp.diag(ridges + tiny), slope)
        scales = 0.5 ** jnp.arange(_HALVINGS, dtype=wide)
        tries = gamma[None] - scales[:, None] * step[None]
        losses = jax.vmap(loss)(tries)
        best = jnp.argmin(losses)
        return jnp.where(losses[best] < loss(gamma), tries[best], gamma)

    gamma = jax.lax.fori_loop(0, _STEPS, newton, jnp.zeros(rows.shape[1], wide))
    beta = multiply(right.T, gamma[:-1])
    return Linear(beta, gamma[-1] - multiply(mean, beta))


def _check(z: Any, y: Any, w: Any, weights: Any, call: str) -> None:
    """Raises if shapes disagree or the weights say nothing."""
    if z.ndim != 2 or y.ndim < 1 or w.shape != y.shape[:1] or len(z) != len(y):
        raise ValueError(
            f"{call} takes a design (samples, features), values (samples, ...) and "
            f"weights (samples,), and was given the shapes {z.shape}, {y.shape} and "
            f"{w.shape}."
        )
    if not len(z):
        raise ValueError(f"{call} needs a sample, and was given none.")
    if weights is None or is_traced(weights):
        return
    known = np.asarray(weights)
    if not known.min() >= 0 or known.max() == 0:  # which NaN is not either
        raise ValueError(
            "The weights of samples are not negative and not all 0, and reach from "
            f"{known.min()} to {known.max()}."
        )
