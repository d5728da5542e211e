r"""What an attacker may do: changes of a bounded norm that keep inputs in their range.

$x$ is an input, $\delta$ its change and $r$ the radius: $\|\delta\| \le r$ and
$\mathrm{low} \le x + \delta \le \mathrm{high}$. Arrays have the examples on their first
axis, and norms are over all others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp.checks import is_real, is_traced, shown
from jaxinterp.keys import check_key, steady
from jaxinterp.pytree import pytree, static

Norm = Literal["linf", "l2", "l1"]
Bounds = tuple[Any, Any] | None


@pytree
class NormBall:
    """The changes of an input that an attacker may make.

    Attributes:
        radius: the largest norm of a change, in the units of the inputs: a number, or
            one for each example, `(batch,)`.
        bounds: the lowest and the highest value of an input, which broadcast against
            the inputs.
        norm: `"linf"` is the largest change of an entry, `"l2"` the root of the sum of
            squared changes, `"l1"` the sum of absolute changes.
    """

    radius: Any
    bounds: tuple[Any, Any]
    norm: Norm = static()

    def size(self, change: Any) -> Any:
        """Returns the norm of the change of each example, `(batch,)`.

        Args:
            change: the changed inputs minus the inputs, `(batch, ...)`.
        """
        rows = jnp.abs(_rows(change))
        if self.norm == "linf":
            return rows.max(axis=1, initial=0)
        if self.norm == "l1":
            return rows.sum(axis=1)
        largest = rows.max(axis=1, keepdims=True, initial=0)  # squares stay in range
        scale = jnp.where(largest > 0, largest, 1)
        return scale[:, 0] * jnp.sqrt(((rows / scale) ** 2).sum(axis=1))

    def project(self, inputs: Any, changed: Any) -> Any:
        r"""Returns the nearest inputs that the attacker may make.

        The Euclidean projection onto the ball and the range at once: each entry of the
        change becomes $\min(\max(|\delta_i| - t, 0), \mathrm{room}_i)$ for `"l1"` and
        $\min(s |\delta_i|, \mathrm{room}_i)$ for `"l2"`, with the one number $t$ or $s$
        that makes the norm $r$, found by bisection to the precision of the dtype.

        Args:
            inputs: the inputs, `(batch, ...)`.
            changed: changed inputs of the same shape, anywhere.

        References:
            Croce and Hein, 2021 [croce2021mind].
        """
        low, high = self.bounds
        if self.norm == "linf":
            radius = _beside(self.radius, inputs)
            near = jnp.clip(changed, inputs - radius, inputs + radius)
            return _within(near, low, high, inputs)
        change = changed - inputs
        room = jnp.where(change > 0, high - inputs, inputs - low)
        sizes, rooms = _rows(jnp.abs(change)), jnp.maximum(_rows(room), 0)
        kept = _shrunk(self.norm, sizes, rooms, _per_example(self.radius, inputs))
        nearest = inputs + jnp.sign(change) * kept.reshape(inputs.shape)
        return _within(nearest, low, high, inputs)

    def steepest(self, gradient: Any, share: Any = 0.0) -> Any:
        r"""Returns the change of norm 1 along which a gradient rises most.

        $\mathrm{sign}(g)$ for `"linf"`, $g / \|g\|_2$ for `"l2"`, and for `"l1"` the
        sign of the largest entry alone. So $\langle g, d \rangle$ is the dual norm of
        $g$. Where a gradient is 0 so is the step.

        Args:
            gradient: the gradient of what is to rise, `(batch, ...)`.
            share: for `"l1"` the share of the entries that move, all by the same
                amount: a number, or one for each example, `(batch,)`; by default a
                single entry. A step of several entries is not the steepest, but needs
                fewer steps to change many.

        References:
            Goodfellow et al., 2015 [goodfellow2015explaining]; Tramèr and Boneh, 2019
            [tramer2019adversarial] for `"l1"`.
        """
        if self.norm == "linf":
            return jnp.sign(gradient)
        if self.norm == "l2":
            size = _beside(self.size(gradient), gradient)
            return gradient / jnp.where(size > 0, size, 1)
        rows = _rows(gradient)
        moved = jnp.sign(rows) * _largest(jnp.abs(rows), share)
        count = jnp.abs(moved).sum(axis=1, keepdims=True)
        return (moved / jnp.maximum(count, 1)).reshape(gradient.shape)

    def movable(self, inputs: Any, gradient: Any) -> Any:
        """Returns a gradient that is 0 where the bounds stop an entry that follows it.

        Args:
            inputs: the inputs, which are within their bounds, `(batch, ...)`.
            gradient: the gradient of what is to rise, which broadcasts against them.
        """
        low, high = self.bounds
        is_stopped = jnp.where(gradient > 0, inputs >= high, inputs <= low)
        return jnp.where(is_stopped, 0, gradient)

    def random(self, key: Any, inputs: Any, *, on_surface: bool = False) -> Any:
        """Returns random inputs that the attacker may make, uniform in the ball.

        What leaves the range of the inputs is projected into it. All examples of a
        batch get the same change, so that a batch is a loop over its examples.

        Args:
            key: the random key of the change.
            inputs: the inputs, `(batch, ...)`.
            on_surface: whether the change has the norm of the radius, before it is
                projected.

        Raises:
            TypeError: if `key` is no random key.
        """
        check_key(f"{self.norm} start", key)
        change = _random_change(self.norm, steady(key), inputs, on_surface)
        return self.project(inputs, inputs + _beside(self.radius, inputs) * change)


def linf(radius: Any = math.inf, *, bounds: Bounds = (0.0, 1.0)) -> NormBall:
    """Returns the threat that each entry of an input changes by at most a radius.

    Args:
        radius: the largest change of an entry, such as `8 / 255`; a number, or one for
            each example. Unlimited by default, for attacks that look for the smallest
            change.
        bounds: the lowest and the highest value of an input: numbers, or arrays that
            broadcast against the inputs, as after a normalization of channels. `None`
            for inputs without limits.

    Raises:
        ValueError: if the radius is negative or no number, or bounds are not two values
            of which the first is lower.

    Example:
        >>> x = jnp.array([[0.5, 0.9]])
        >>> linf(0.25).project(x, jnp.array([[0.0, 2.0]])).tolist()
        [[0.25, 1.0]]
    """
    return _ball(radius, bounds, "linf")


def l2(radius: Any = math.inf, *, bounds: Bounds = (0.0, 1.0)) -> NormBall:
    """Returns the threat that an input moves by at most a Euclidean distance.

    Args:
        radius: the largest distance; a number, or one for each example. Unlimited by
            default, for attacks that look for the smallest change.
        bounds: the lowest and the highest value of an input, as for `linf`.

    Raises:
        ValueError: as for `linf`.

    Example:
        >>> x = jnp.zeros((1, 2))
        >>> moved = l2(1.0).project(x, jnp.array([[3.0, 4.0]]))
        >>> [round(value, 4) for value in moved[0].tolist()]
        [0.6, 0.8]
    """
    return _ball(radius, bounds, "l2")


def l1(radius: Any = math.inf, *, bounds: Bounds = (0.0, 1.0)) -> NormBall:
    """Returns the threat that the changes of all entries add up to at most a radius.

    Args:
        radius: the largest sum of absolute changes; a number, or one for each example.
            Unlimited by default, for attacks that look for the smallest change.
        bounds: the lowest and the highest value of an input, as for `linf`.

    Raises:
        ValueError: as for `linf`.

    Example:
        >>> x = jnp.zeros((1, 2))
        >>> moved = l1(0.5).project(x, jnp.array([[0.25, 0.75]]))
        >>> [round(value, 4) for value in moved[0].tolist()]
        [0.0, 0.5]
    """
    return _ball(radius, bounds, "l1")


def _ball(radius: Any, bounds: Bounds, norm: Norm) -> NormBall:
    if not is_traced(radius):
        values = np.asarray(radius)
        is_number = values.dtype.kind in "fiu" and values.ndim <= 1
        if not is_number or not (values >= 0).all():
            raise ValueError(
                f"{norm}: `radius` must be a number of at least 0, or one for each "
                f"example, and is {shown(radius)}."
            )
    low, high = _checked_bounds(bounds, norm)
    return NormBall(radius, (low, high), norm)


def _checked_bounds(bounds: Any, norm: str) -> tuple[Any, Any]:
    if bounds is None:
        return -math.inf, math.inf
    is_pair = isinstance(bounds, tuple | list) and len(bounds) == 2
    if not is_pair or any(isinstance(bound, str) or bound is None for bound in bounds):
        raise ValueError(
            f"{norm}: `bounds` must be the lowest and the highest value of an input, "
            f"`bounds=(0, 1)`, or `None`, and is {shown(bounds)}."
        )
    low, high = (b if is_real(b) else jnp.asarray(b) for b in bounds)
    if not is_traced(low, high) and not np.all(np.asarray(low) < np.asarray(high)):
        raise ValueError(
            f"{norm}: the first of `bounds` must be lower than the second: "
            f"{shown(bounds)}."
        )
    return low, high


# --- Arithmetic of rows ---------------------------------------------------------------


def _rows(array: Any) -> Any:
    """An array with an example a row, `(batch, entries)`."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def _per_example(value: Any, inputs: Any) -> Any:
    """A number, or one for each example, as `(batch, 1)` in the dtype of the inputs."""
    column = jnp.reshape(jnp.asarray(value, inputs.dtype), (-1, 1))
    return jnp.broadcast_to(column, (inputs.shape[0], 1))


def _beside(value: Any, inputs: Any) -> Any:
    """A number, or one for each example, with the axes of the inputs."""
    return jnp.reshape(jnp.asarray(value, inputs.dtype), (-1, *[1] * (inputs.ndim - 1)))


def _within(changed: Any, low: Any, high: Any, inputs: Any) -> Any:
    """Changed inputs in their range; what is outside of it itself may stay there."""
    return jnp.clip(changed, jnp.minimum(low, inputs), jnp.maximum(high, inputs))


def _shrunk(norm: Norm, sizes: Any, rooms: Any, radius: Any) -> Any:
    """Absolute changes `(batch, entries)` as large as rooms and the radius allow."""
    whole = jnp.minimum(sizes, rooms)
    largest = sizes.max(axis=1, keepdims=True, initial=0)

    def at(amount: Any) -> Any:  # 0 keeps everything, 1 nothing
        if norm == "l1":
            return jnp.clip(sizes - amount * largest, 0, rooms)
        return jnp.minimum(sizes * (1 - amount), rooms)

    power = 2 if norm == "l2" else 1
    unit = jnp.where(largest > 0, largest, 1)
    limit = radius / unit

    def fits(changes: Any) -> Any:
        return ((changes / unit) ** power).sum(axis=1, keepdims=True) <= limit**power

    def halved(_: int, interval: Any) -> Any:
        low, high = interval
        middle = (low + high) / 2
        is_enough = fits(at(middle))
        return jnp.where(is_enough, low, middle), jnp.where(is_enough, middle, high)

    steps = jnp.finfo(sizes.dtype).nmant + 2
    interval = jnp.zeros_like(largest), jnp.ones_like(largest)
    _, amount = lax.fori_loop(0, steps, halved, interval)
    return jnp.where(fits(whole), whole, at(amount))


def _largest(sizes: Any, share: Any) -> Any:
    """Which entries are among the largest of their row, `(batch, entries)`."""
    entries = sizes.shape[1]
    if is_real(share):
        count = min(max(math.ceil(share * entries), 1), entries)
        order = lax.top_k(sizes, count)[1]
    else:
        order = jnp.argsort(-sizes, axis=1)
        count = jnp.clip(jnp.ceil(share * entries), 1, entries)[:, None]
    ranks = jnp.arange(order.shape[1])[None]
    return jax.vmap(lambda row, at, ok: row.at[at].set(ok))(
        jnp.zeros(sizes.shape, bool),
        order,
        jnp.broadcast_to(ranks < count, order.shape),
    )


def _random_change(norm: Norm, key: Any, inputs: Any, on_surface: bool) -> Any:
    """A random change of norm 1 or less, `(1, ...)`."""
    shape = (1, *inputs.shape[1:])
    entries = math.prod(shape)
    direction_key, length_key = jax.random.split(key)
    draw: Callable[..., Any] = functools.partial(
        {
            "linf": functools.partial(jax.random.uniform, minval=-1.0),
            "l2": jax.random.normal,
            "l1": jax.random.laplace,
        }[norm],
        direction_key,
        shape,
        inputs.dtype,
    )
    change = draw()
    if norm == "linf" and not on_surface:
        return change
    size = NormBall(1.0, (0.0, 1.0), norm).size(change)
    change = change / jnp.maximum(size, jnp.finfo(inputs.dtype).tiny).reshape(
        (1,) * inputs.ndim
    )
    if on_surface:
        return change
    return change * jax.random.uniform(length_key, (), inputs.dtype) ** (1 / entries)
