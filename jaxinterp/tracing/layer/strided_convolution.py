"""Strided convolutions of images, whose derivative is computed in blocks of pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxinterp.tracing.layer.contraction import Contraction


def strided_convolution(contraction: Contraction) -> Callable[[Any, Any], Any]:
    """Returns a convolution with a faster derivative in the activation.

    It is the transposed map of `Contraction.transpose`; that in the kernel is JAX's,
    and computed only where it is asked for.

    Args:
        contraction: a convolution with a faster transpose.

    Returns:
        A function of the activation and the kernel.
    """

    def compute(x: Any, kernel: Any) -> Any:
        return contraction(x, kernel)

    def forward(x: Any, kernel: Any) -> Any:
        needed = (x.value,) if kernel.perturbed else ()
        like = jnp.zeros(0, x.value.dtype)
        return compute(x.value, kernel.value), (kernel.value, needed, like)

    def backward(residuals: Any, cotangent: Any) -> Any:
        kernel, needed, like = residuals
        if isinstance(cotangent, SymbolicZero):
            return None, None
        in_kernel = None
        if needed:
            _, pull = jax.vjp(functools.partial(compute, *needed), kernel)
            (in_kernel,) = pull(cotangent)
        back = contraction.transpose(kernel.astype(cotangent.dtype), cotangent)
        return back.astype(like.dtype), in_kernel

    site = jax.custom_vjp(compute)
    site.defvjp(forward, backward, symbolic_zeros=True)
    return site
