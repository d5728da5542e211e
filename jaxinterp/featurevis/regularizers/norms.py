"""Penalties on how far a picture is from a constant, by several norms."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinterp.checks import checked_real
from jaxinterp.objectives.objective import Objective, View

_TINY = 1e-12


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Distance(Objective):
    """A norm of what a picture has beyond a constant.

    Attributes:
        order: from 1 to infinity.
        constant: the brightness that costs nothing.
        epsilon: added to the sum of squares of order 2; below it, the largest
            departure of another order counts as none.
    """

    order: float = dataclasses.field(metadata={"static": True})
    constant: float = dataclasses.field(metadata={"static": True})
    epsilon: float = dataclasses.field(default=0.0, metadata={"static": True})

    def __call__(self, view: View) -> Any:
        """Returns the norm."""
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
        largest = jnp.maximum(largest, self.epsilon)
        powers = total((size / largest) ** self.order)
        norm = jnp.where(powers > 0, powers, 1) ** (1 / self.order)
        return jnp.where(powers > 0, largest.reshape(-1) * norm, 0)


def l1(constant: float = 0.5) -> Objective:
    r"""Penalizes every departure from a constant alike: $\sum |x - c|$.

    Args:
        constant: the brightness that costs nothing.

    Returns:
        A penalty in units of brightness times pixels; lucid's weight is 0.05.

    Raises:
        ValueError: if the constant is no finite number.

    Example:
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
        >>> view = View({}, None, jnp.ones((1, 1, 4, 4, 3)), 0)
        >>> evaluate(l1(), view, 1).tolist()
        [[24.0]]

    References:
        Olah et al., 2017, section on regularization [olah2017feature].
    """
    return Distance(1.0, checked_real("constant", constant, call="l1"))


def l2(constant: float = 0.5, *, epsilon: float = 1e-6) -> Objective:
    r"""Penalizes the distance from a constant: $\sqrt{\epsilon + \sum (x - c)^2}$.

    Args:
        constant: the brightness that costs nothing.
        epsilon: keeps the gradient finite where the distance is zero.

    Returns:
        A penalty in units of brightness.

    Raises:
        ValueError: if an argument is no finite number, or `epsilon` is not positive.

    Example:
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
        >>> view = View({}, None, jnp.ones((1, 1, 4, 4, 4)), 0)
        >>> evaluate(l2(), view, 1).round(3).tolist()
        [[4.0]]
    """
    epsilon = checked_real("epsilon", epsilon, 0, call="l2")
    if not epsilon:
        raise ValueError("l2: `epsilon` is 0, and must be positive, such as 1e-6.")
    return Distance(2.0, checked_real("constant", constant, call="l2"), epsilon)


def lp(order: float, constant: float = 0.5) -> Objective:
    r"""Penalizes departures from a constant by a norm of any order.

    $$\Bigl(\sum |x - c|^p\Bigr)^{1/p}$$

    The higher the order, the more the largest departures count.

    Args:
        order: $p$, at least 1.
        constant: the brightness $c$ that costs nothing.

    Returns:
        A penalty in units of brightness. Where a picture is the constant everywhere,
        its gradient counts as zero.

    Raises:
        ValueError: if an argument is no finite number, or the order is below 1.

    Example:
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
        >>> view = View({}, None, jnp.ones((1, 1, 2, 2, 2)), 0)
        >>> evaluate(lp(3.0), view, 1).round(3).tolist()
        [[1.0]]
    """
    if order == math.inf:
        raise ValueError("The norm of order infinity is `linf()`.")
    order = checked_real("order", order, 1, call="lp")
    return Distance(order, checked_real("constant", constant, call="lp"), _TINY)


def linf(constant: float = 0.5) -> Objective:
    r"""Penalizes the largest departure from a constant: $\max |x - c|$.

    Args:
        constant: the brightness that costs nothing.

    Returns:
        A penalty in units of brightness.

    Raises:
        ValueError: if the constant is no finite number.

    Example:
        >>> from jaxinterp.objectives.objective import View
        >>> from jaxinterp.objectives.evaluate import evaluate
        >>> view = View({}, None, jnp.ones((1, 1, 4, 4, 3)), 0)
        >>> evaluate(linf(), view, 1).tolist()
        [[0.5]]
    """
    return Distance(math.inf, checked_real("constant", constant, call="linf"))


def in_full(view: View) -> Any:
    """Returns the pictures, in enough precision to add up many pixels.

    Args:
        view: of them.
    """
    dtype = view.images.dtype if view.images.dtype.itemsize > 4 else jnp.float32
    return view.images.astype(dtype)


def total(cost: Any) -> Any:
    """Returns the sum over all entries of each picture.

    Args:
        cost: of each entry, `(pictures, ...)`.
    """
    return cost.sum(range(1, cost.ndim))
