"""A Gaussian blur along some axes of an array."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax import lax


def blurred(values: Any, sigma: Any, axes: Iterable[int]) -> Any:
    """Returns an array blurred by a Gaussian, which is cut off at the ends of an axis.

    Each value is a mean of those around it, so that what is constant stays as it is. A
    product of matrices is faster than a sum of shifts, and so is its transpose.

    Args:
        values: an array of real numbers.
        sigma: the standard deviation, in entries; by 0 nothing is blurred. It may be
            traced.
        axes: the axes along which it is blurred.

    Example:
        >>> step = jnp.array([0.0, 0.0, 1.0, 1.0])
        >>> [f"{value:.2f}" for value in blurred(step, 1.0, [0])]
        ['0.08', '0.32', '0.68', '0.92']
    """
    for axis in axes:
        # Accelerators round the factors of a product unless told not to.
        product = jnp.tensordot(
            _bell(values.shape[axis], jnp.asarray(sigma, values.dtype)),
            values,
            axes=(1, axis),
            precision=lax.Precision.HIGHEST,
        )
        values = jnp.moveaxis(product, 0, axis)
    return values


def _bell(size: int, sigma: Any) -> Any:
    """Returns the matrix of a Gaussian blur along an axis; each row adds up to 1."""
    place = jnp.arange(size, dtype=sigma.dtype)
    distance = place[:, None] - place[None, :]
    # A blur by nothing is allowed, and is then the identity.
    weights = jnp.exp(-((distance / jnp.maximum(sigma, 1e-6)) ** 2) / 2)
    return weights / weights.sum(1, keepdims=True)
