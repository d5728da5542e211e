"""A penalty on how far an image is from a constant, by a norm of any order."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxinterp.checks import checked_real
from jaxinterp.featurevis.regularizers.neighbors import in_full, total
from jaxinterp.objectives.objective import Objective, View
from jaxinterp.pytree import pytree, static

_TINY = 1e-12  # a largest departure below it counts as none


@pytree
class Norm(Objective):
    """The penalty that `norm` makes, whose arguments are its fields."""

    order: float = static()
    constant: float = static()
    epsilon: float = static()

    def __call__(self, view: View) -> Any:
        """Returns the norm of each image."""
        difference = in_full(view) - self.constant
        if self.order == 1:
            return total(jnp.abs(difference))
        if self.order == 2:
            return jnp.sqrt(self.epsilon + total(difference**2))
        if self.order == math.inf:
            return jnp.abs(difference).max(range(1, difference.ndim))
        # In units of the largest, so that high powers neither vanish nor overflow.
        size = jnp.abs(difference)
        largest = lax.stop_gradient(size.max(range(1, size.ndim), keepdims=True))
        largest = jnp.maximum(largest, _TINY)
        powers = total((size / largest) ** self.order)
        root = jnp.where(powers > 0, powers, 1) ** (1 / self.order)
        return jnp.where(powers > 0, largest.reshape(-1) * root, 0)


def norm(
    order: float = 2.0, constant: float = 0.5, *, epsilon: float = 1e-6
) -> Objective:
    r"""Penalizes departures from a constant by a norm.

    $$\Bigl(\sum |x - c|^p\Bigr)^{1/p}, \qquad
    \sqrt{\epsilon + \sum (x - c)^2} \text{ at } p = 2, \qquad
    \max |x - c| \text{ at } p = \infty$$

    At order 1 every departure counts alike; the higher the order, the more the largest
    ones do.

    Args:
        order: $p$, from 1 to `math.inf`.
        constant: the brightness $c$ that costs nothing.
        epsilon: the number $\epsilon$ that at order 2 keeps the gradient finite where
            the distance is zero.

    Returns:
        A penalty in units of brightness, at order 1 times pixels; lucid's weight there
        is 0.05. Where an image is the constant everywhere, the gradient counts as zero.

    Raises:
        ValueError: if an argument is no number, the order is below 1, `epsilon` is not
            positive, or the constant is not finite.

    Example:
        >>> from jaxinterp.featurevis import View
        >>> view = View({}, None, jnp.ones((1, 4, 4, 4)), 0)
        >>> for order in (1, 2, 3, math.inf):
        ...     print(norm(order)(view).round(3).item())
        32.0
        4.0
        2.0
        0.5

    References:
        Olah et al., 2017, section on regularization [olah2017feature].
    """
    if not (isinstance(order, float) and order == math.inf):
        order = checked_real("order", order, 1, call="norm")
    epsilon = checked_real("epsilon", epsilon, 0, call="norm")
    if not epsilon:
        raise ValueError("norm: `epsilon` is 0, and must be positive, such as 1e-6.")
    return Norm(order, checked_real("constant", constant, call="norm"), epsilon)
