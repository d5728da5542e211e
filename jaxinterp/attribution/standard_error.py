"""How far chance goes in an attribution that draws: its scatter over repetitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import (
    Attribution,
    as_arrays,
    check_inputs,
    check_target,
    checked_call,
)
from jaxinterp.checks import checked_integer
from jaxinterp.keys import check_key, each_folded, steady
from jaxinterp.loop.sums import evaluated
from jaxinterp.types import Inputs, Key, Target, Variables


class Estimate(NamedTuple):
    """A mean over repetitions, and how far chance goes in it.

    Attributes:
        mean: the mean attribution, in the structure, shapes and dtypes of one.
        standard_error: the standard error of the mean, likewise.
    """

    mean: Any
    standard_error: Any


def standard_error(
    attribution_fn: Attribution, *, repeats: int = 10, batch_size: int | None = 1
) -> Callable[..., Estimate]:
    r"""Repeats an attribution that draws, for its mean and the error by chance.

    $$\bar a = \frac1m \sum_k a_k, \qquad \mathrm{SE}^2 = \frac1{m (m - 1)} \sum_k (a_k
    - \bar a)^2$$

    $a_k$ are $m$ attributions whose keys are independent. So the error is right for any
    method, also where draws inside of one are paired (`shapley`), stratified
    (`expected_gradients`), weighted (`rise`) or fitted (`lime`, `kernel_shap`), of
    which no formula for independent draws holds. It is that of the mean, which has the
    precision of `repeats` times the samples. It tells nothing of a bias that all
    repetitions share, such as the penalty of `lime` or what `hsic` gives to nothing.
    Time is `repeats` times that of the method; memory grows with `repeats` attributions
    and `batch_size`.

    Args:
        attribution_fn: any attribution function that needs a key.
        repeats: the number $m$ of repetitions, two at least. With few the error is
            rough: of 10, about a quarter of it either way.
        batch_size: the number of repetitions computed at once; `None` for as many as
            make 16 MB of inputs of the whole batch together, at least one.

    Returns:
        A function `estimate(variables, inputs, target=None, key=None) -> Estimate`. Of
        a method that does not draw, the error is 0.

    Raises:
        ValueError: if `repeats` is less than 2 or `batch_size` not positive.
        TypeError: when called, if there is no key.

    Example:
        >>> from jaxinterp.attribution import shapley
        >>> attribute = shapley(lambda w, x: x.prod(1, keepdims=True), samples=1)
        >>> estimate = standard_error(attribute, repeats=50)
        >>> x, key = jnp.array([[2.0, 3.0]]), jax.random.key(0)
        >>> mean, error = estimate(None, x, 0, key)
        >>> bool((abs(mean - 3.0) < 3 * error).all())
        True
    """
    repeats = checked_integer("repeats", repeats, 2, call="standard_error")

    def step(context: tuple[Any, Any, Any], key: Key) -> Any:
        variables, inputs, target = context
        return attribution_fn(variables, inputs, target, key)

    values_at = evaluated(step, batch_size=batch_size, name="standard_error")

    def estimate(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Estimate:
        check_inputs(inputs, None, variables, needs_slopes=False)
        check_key("standard_error", key)
        check_target(
            lambda x: attribution_fn(variables, x, target, key), inputs, target
        )
        keys = each_folded(steady(key), jnp.arange(repeats))
        values = values_at((variables, inputs, as_arrays(target)), keys, inputs)
        return Estimate(jax.tree.map(_mean, values), jax.tree.map(_error, values))

    return checked_call(estimate)


def _mean(values: Any) -> Any:
    """The mean over the first axis, which is exact if all values are equal."""
    wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return (wide[0] + (wide - wide[:1]).mean(0)).astype(values.dtype)


def _error(values: Any) -> Any:
    """The standard error of the mean over the first axis."""
    wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    offsets = wide - wide[:1]
    centered = offsets - offsets.mean(0, keepdims=True)
    count = len(values)
    square = jnp.square(centered).sum(0) / (count * (count - 1))
    # The root has no slope at 0.
    root = jnp.sqrt(jnp.where(square == 0, 1, square))
    return jnp.where(square == 0, 0, root).astype(values.dtype)
