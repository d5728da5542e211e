"""An optimizer that samples: gradient steps, a pull to the plausible, and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxinterp.checks import checked_real


class LangevinState(NamedTuple):
    """What a step of `langevin` changes.

    Attributes:
        key: the random key of the noise, as integers.
    """

    key: Any


def langevin(
    denoise: Callable[[Any], Any] | None = None,
    *,
    step_size: float = 1.0,
    prior_weight: float = 1e-5,
    noise: float = 1e-17,
) -> optax.GradientTransformation:
    r"""Samples parameters instead of ascending to an optimum: plug-and-play generation.

    $$h \leftarrow h + \epsilon_1 (R(h) - h)
      + \epsilon_2 \frac{g}{\mathrm{mean} |g|} + \epsilon_3 \eta,
      \qquad \eta \sim \mathcal N(0, 1)$$

    with the parameters $h$ of an image, such as the latent of a `generator`, and the
    gradient $g$ of its score. A denoising autoencoder $R$ of latents points to where
    these are more likely; without one it is a walk of steps of one mean length. The
    noise of an image is the same whatever is computed beside it.

    Args:
        denoise: $R$, a function from parameters `(images, ...)` to more likely ones;
            `None` for no prior.
        step_size: $\epsilon_2$, in the units of the parameters.
        prior_weight: $\epsilon_1$, the share of the way to the more likely parameters.
        noise: $\epsilon_3$, a standard deviation in the units of the parameters.

    Returns:
        An optimizer for `maximize(..., optimizer=)`. Make it once.

    Raises:
        TypeError: if a number is none, or `denoise` is no function.
        ValueError: where it is used, if `denoise` gives another shape.

    Example:
        >>> from jaxinterp import featurevis as fv
        >>> sampler = fv.langevin(lambda h: 0.9 * h, step_size=0.1, noise=0.01)
        >>> result = fv.maximize(
        ...     lambda w, x: jnp.tanh(x), "tanh:0", None, key=jax.random.key(0),
        ...     parametrization=fv.pixels((3, 2)), optimizer=sampler, steps=5)
        >>> bool(result.history[-1, 0] > result.history[0, 0])
        True

    References:
        Nguyen et al., 2017, eq. 5 [nguyen2017plug]; the defaults and the mean of the
        absolute gradient are those of the published code.
    """
    if denoise is not None and not callable(denoise):
        raise TypeError(
            f"langevin() takes a function of parameters, and was given {denoise!r}."
        )
    numbers = {"step_size": step_size, "prior_weight": prior_weight, "noise": noise}
    sizes = [checked_real(name, n, call="langevin") for name, n in numbers.items()]

    def init(params: Any) -> LangevinState:
        # Every unit starts elsewhere, and so do its random numbers.
        total = jnp.uint32(0)
        for leaf in jax.tree.leaves(params):
            bits = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
            total += bits.sum(dtype=jnp.uint32)
        key = jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), total)
        return LangevinState(jax.random.key_data(key))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        key = jax.random.wrap_key_data(state.key, impl="threefry2x32")
        key, now = jax.random.split(key)
        likely = params if denoise is None else denoise(params)
        before, after = (jax.tree.map(jnp.shape, tree) for tree in (params, likely))
        if before != after:
            raise ValueError(
                f"langevin: `denoise` goes from parameters {before} to such, and gave "
                f"{after}."
            )
        leaves, treedef = jax.tree.flatten(updates)
        keys = treedef.unflatten(jax.random.split(now, len(leaves)))

        def one(slope: Any, param: Any, target: Any, key: Any) -> Any:
            dtype = jnp.promote_types(param.dtype, jnp.float32)
            slope, param, target = (x.astype(dtype) for x in (slope, param, target))
            mean = jnp.abs(slope).mean(tuple(range(1, slope.ndim)), keepdims=True)
            ascent = -slope / jnp.where(mean > 0, mean, 1)
            eta = jax.random.normal(key, slope.shape, dtype)
            return sizes[0] * ascent + sizes[1] * (target - param) + sizes[2] * eta

        updates = jax.tree.map(one, updates, params, likely, keys)
        return updates, LangevinState(jax.random.key_data(key))

    return optax.GradientTransformation(init, update)
