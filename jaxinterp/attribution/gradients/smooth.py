r"""Attribution under noise: SmoothGrad, its square, and VarGrad, of any attribution.

$a(x)$ is the attribution of an example, $\xi_k$ the noise of sample $k$. Noise is drawn
once for each sample and is the same for all examples of a batch, so that an
example's result does not depend on its neighbors.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import (
    Attribution,
    as_arrays,
    check_inputs,
    check_target,
    method,
)
from jaxinterp.checks import check_choice, checked_integer, checked_real
from jaxinterp.keys import check_key
from jaxinterp.loop.sums import summed
from jaxinterp.perturbation.noise import Scale, with_noise
from jaxinterp.tracing.mistakes import misplaced

Statistic = Literal["mean", "square", "variance"]


@method
def smooth(
    attribution_fn: Attribution,
    *,
    samples: int = 25,
    noise_level: float = 0.15,
    scale: Scale = "range",
    statistic: Statistic = "mean",
    batch_size: int | None = None,
) -> Attribution:
    r"""Attributes by an attribution's mean, mean square or variance under input noise.

    $$\bar a(x) = \frac1n \sum_k a(x + \xi_k), \; \xi_k \sim \mathcal{N}(0, \sigma^2)$$

    `statistic="mean"` is SmoothGrad, `"square"` the mean of $a^2$ (SmoothGrad-squared),
    `"variance"` VarGrad, $\frac1n \sum_k (a_k - \bar a)^2$. Cost: `samples` times that
    method. Memory grows with `batch_size`.

    Args:
        attribution_fn: any attribution function of real-valued inputs.
        samples: the number $n$ of noisy copies.
        noise_level: $\sigma$; with `scale="range"` as a fraction of the range (maximum
            minus minimum) of each example, with `scale="absolute"` in the units of the
            inputs.
        scale: the unit of `noise_level`, `"range"` or `"absolute"`.
        statistic: the statistic over the samples, `"mean"`, `"square"` or
            `"variance"`.
        batch_size: the number of samples computed at once; by default as many as make
            16 MB of noisy inputs of the whole batch together, at least one. Memory
            grows with it, not with `samples`.

    Returns:
        An attribution function that needs a `key`; its values have the units of
        `attribution_fn`, or their square.

    Raises:
        ValueError: if a hyperparameter is out of range.
        TypeError: when called, if there is no key, or the inputs are not real numbers,
            such as tokens.

    References:
        Smilkov et al., 2017, section 2.3 [smilkov2017smoothgrad]; Hooker et al., 2019,
        section 3.2 (squared) [hooker2019benchmark]; Adebayo et al., 2018, section 2
        (VarGrad) [adebayo2018sanity].

    Example:
        >>> from jaxinterp.attribution import gradient
        >>> from jaxinterp.objectives import total
        >>> attribute = smooth(gradient(lambda w, x: w * x, score=total), samples=4)
        >>> attribute(2.0, jnp.array([[1.0, 3.0]]), key=jax.random.key(0)).tolist()
        [[2.0, 2.0]]
    """
    samples = checked_integer("samples", samples, 1, call="smooth")
    noise_level = checked_real("noise_level", noise_level, 0, call="smooth")
    check_choice("scale", scale, get_args(Scale), call="smooth")
    check_choice("statistic", statistic, get_args(Statistic), call="smooth")

    def step(context: Any, sample: Any) -> Any:
        variables, inputs, target, key, center = context
        noise_key, inner_key = jax.random.split(jax.random.fold_in(key, sample))
        noisy = with_noise(noise_key, inputs, noise_level, scale)
        value = attribution_fn(variables, noisy, target, inner_key)
        if statistic == "variance":
            value = jax.tree.map(jnp.subtract, value, center)
        first = jax.tree.map(lambda a: a / samples, value)
        if statistic == "mean":
            return first
        second = jax.tree.map(lambda a: a * a / samples, value)
        return second if statistic == "square" else (first, second)

    sum_over = summed(step, batch_size=batch_size, name="smooth")

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        _check_noisy(variables, inputs)
        check_key("smooth", key)
        check_target(
            lambda x: attribution_fn(variables, x, target, key), inputs, target
        )
        target = as_arrays(target)
        if statistic != "variance":
            context = (variables, inputs, target, key, None)
            return sum_over(context, jnp.arange(samples), inputs)
        # Around the attribution without noise, the squares hardly cancel.
        center = attribution_fn(variables, inputs, target, key)
        context = (variables, inputs, target, key, center)
        result = sum_over(context, jnp.arange(samples), inputs)
        return jax.tree.map(lambda m, s: jnp.maximum(s - m * m, 0), *result)

    return attribute


def _check_noisy(variables: Any, inputs: Any) -> None:
    hint = misplaced(variables, inputs)
    likely = f"Likely cause: {hint}\n" if hint else ""
    for path, leaf in jax.tree.leaves_with_path(inputs):
        if hasattr(leaf, "dtype") and not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise TypeError(
                f"smooth() adds noise, and `inputs{jax.tree_util.keystr(path)}` has "
                f"dtype {leaf.dtype}.\n{likely}For tokens start at their embedding:\n"
                "    encode, decode = jaxinterp.split(apply_fn, 'Model/Embed_0')\n"
                "    def model(variables, activation):\n"
                "        return decode(variables, activation, tokens)\n"
                "and give `smooth(gradient(model))` what `encode(variables, tokens)` "
                "returns."
            )
    check_inputs(inputs, None)
