r"""Stabilizers: keep a denominator away from zero, without changing its sign.

$\mathrm{sign}(0) = 1$ throughout, so that a denominator of zero is stabilized too.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxinterp.checks import checked_real, is_real
from jaxinterp.tracing.layer.layer import Layer


@dataclasses.dataclass(frozen=True)
class Stabilizer:
    r"""Makes a denominator safe to divide by.

    $$s(z) = z + \epsilon\,\mathrm{sign}(z)$$

    or, with `clip`, $\mathrm{sign}(z) \max(|z|, \epsilon)$. With `norm_scale`,
    $\epsilon$ is in units of the root mean square of $z$ over an example. With
    `only_zeros`, only entries that are exactly zero change (iNNvestigate's
    `SafeDivide`).

    Tracing follows the axis of the batch from the first axis of the inputs to the site.
    If it cannot be told, in loops or where it is merged with other axes, `norm_scale`
    is an error.

    Attributes:
        epsilon: smallest size of a denominator, in the units of $z$.
        clip: whether denominators that are larger than `epsilon` stay as they are.
        norm_scale: whether `epsilon` is scaled by the size of each example's $z$.
        only_zeros: whether all numbers but zeros stay as they are.

    Raises:
        ValueError: if `epsilon` is negative, or `only_zeros` is combined with `clip`.

    Example:
        >>> Stabilizer(0.5)(jnp.array([[2.0, -1.0, 0.0]])).tolist()
        [[2.5, -1.5, 0.5]]
    """

    epsilon: float = 1e-6
    clip: bool = False
    norm_scale: bool = False
    only_zeros: bool = False

    def __post_init__(self) -> None:
        checked_real("epsilon", self.epsilon, 0, call="Stabilizer")
        if self.only_zeros and self.clip:
            raise ValueError(
                "Stabilizer: `only_zeros` changes zeros alone, and `clip` all small "
                "numbers.\nGive one of them."
            )

    def at(self, layer: Layer) -> Callable[[Any], Any]:
        """Returns the stabilizer of denominators in the layout of a site's output.

        Args:
            layer: the site in this pass.

        Raises:
            BatchAxisError: with `norm_scale`, if the axis of the batch cannot be told.
        """
        if not self.norm_scale:
            return self
        axis = layer.batch_axis(layer.node.outputs[0], "Stabilizer(norm_scale=True)")
        return functools.partial(self, batch_axis=axis)

    def __call__(
        self, z: Inexact[Array, "*shape"], batch_axis: int = 0
    ) -> Inexact[Array, "*shape"]:
        """Returns the safe denominator.

        Args:
            z: the denominator.
            batch_axis: the axis of the denominator along which examples lie.
        """
        epsilon = jnp.asarray(self.epsilon, z.dtype)
        if self.norm_scale:
            axes = tuple(i for i in range(z.ndim) if i != batch_axis)
            epsilon = epsilon * jnp.sqrt(jnp.mean(z**2, axis=axes, keepdims=True))
        if self.only_zeros:
            return jnp.where(z == 0, epsilon, z)
        if jnp.iscomplexobj(z):  # two numbers
            return jax.lax.complex(self(z.real, batch_axis), self(z.imag, batch_axis))
        sign = jnp.where(z >= 0, 1.0, -1.0).astype(z.dtype)
        if self.clip:
            return sign * jnp.maximum(jnp.abs(z), epsilon)
        return jnp.where(z >= 0, z + epsilon, z - epsilon)


def stabilizer(epsilon: float | Stabilizer) -> Stabilizer:
    """Returns a stabilizer as it is, and a number as the size of the default one.

    Args:
        epsilon: a stabilizer, or the smallest size of a denominator.

    Raises:
        TypeError: if the argument is neither.

    Example:
        >>> stabilizer(0.1)
        Stabilizer(epsilon=0.1, clip=False, norm_scale=False, only_zeros=False)
    """
    if isinstance(epsilon, Stabilizer):
        return epsilon
    if is_real(epsilon):
        return Stabilizer(float(epsilon))
    raise TypeError(
        f"`epsilon` is a number or a Stabilizer, and {epsilon!r} is neither.\n"
        "Write for example `Epsilon(epsilon=0.25)` or "
        "`Epsilon(epsilon=Stabilizer(0.25, norm_scale=True))`."
    )


def or_zero(dividend: Any, divisor: Any) -> Any:
    """Returns a quotient that is zero where its divisor is.

    Args:
        dividend: an array.
        divisor: an array that broadcasts against it.

    Example:
        >>> or_zero(jnp.ones(2), jnp.array([0.0, 4.0])).tolist()
        [0.0, 0.25]
    """
    return jnp.where(divisor == 0, 0, dividend / jnp.where(divisor == 0, 1, divisor))
