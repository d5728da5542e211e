"""A learned prior: images are those that a generator draws.

The optimum is one of the images that the generator draws, so it looks like what that
was trained on, whatever the unit responds to: the stronger the prior, the less an image
tells of the unit alone.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import checked_dtype
from jaxinterp.featurevis.parametrizations.parametrization import (
    Parametrization,
    image_keys,
)
from jaxinterp.featurevis.parametrizations.to_image import checked_scale, clip_through
from jaxinterp.pytree import pytree, static
from jaxinterp.types import ApplyFn


@pytree
class Generator(Parametrization):
    """The latents of a generator.

    The other fields are the arguments of `generator`.

    Attributes:
        bounds: the bounds of the latents, two arrays, or `None`.
    """

    apply_fn: ApplyFn = static()
    variables: Any
    latent_shape: tuple[int, ...] = static()
    output_range: tuple[float, float] = static()
    bounds: Any
    scale: float = static()
    dtype: Any = static()
    shape: tuple[int, ...] = static()

    def init(self, key: Array, count: int) -> Any:
        """Returns normal latents, within the bounds."""

        def one(key: Array) -> Array:
            return self.scale * jax.random.normal(key, self.latent_shape, self.dtype)

        return self._bounded(jax.vmap(one)(image_keys(key, count)))

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns what the generator draws, in [0, 1]."""
        low, high = self.output_range
        output = self.apply_fn(self.variables, self._bounded(params))
        return clip_through((output - low) / (high - low), 0.0, 1.0).astype(self.dtype)

    def _bounded(self, latents: Any) -> Any:
        if self.bounds is None:
            return latents
        low, high = (jnp.broadcast_to(b, latents.shape) for b in self.bounds)
        return clip_through(latents, low, high)


def generator(
    apply_fn: ApplyFn,
    variables: Any,
    latent_shape: Iterable[int] | int,
    *,
    output_range: tuple[float, float] = (-1.0, 1.0),
    clip: Any = 3.0,
    scale: float = 1.0,
    dtype: Any = jnp.float32,
) -> Parametrization:
    """Parametrizes an image by the latent of a generator: that of a GAN or a VAE.

    Args:
        apply_fn: the generator, `apply_fn(variables, latents) -> images`, both with the
            axis of the batch in front. Its batch norms must use their stored
            statistics, else an image depends on those beside it.
        variables: the weights of the generator; they are not optimized.
        latent_shape: the shape of the latent of one image.
        output_range: the values that the generator draws for black and for white,
            `(-1, 1)` after a tanh, `(0, 1)` after a sigmoid.
        clip: the bounds of each latent, in which the generator was trained: one number
            for both sides or `(low, high)`; `None` for none. Each may be an array of
            the shape of a latent. The gradient passes through where it clips.
        scale: the standard deviation of the normal latents to start from.
        dtype: the dtype of latents and images.

    Returns:
        A parametrization without an inverse.

    Raises:
        ValueError: if the generator does not give one array of images, or `clip` or
            `output_range` is no interval.
        TypeError: if `dtype` is not one of floats.

    Example:
        >>> from jaxinterp.models import MLPGenerator
        >>> model = MLPGenerator(image_shape=(8, 8, 1), widths=(16,))
        >>> variables = model.init(jax.random.key(0), jnp.ones((1, 4)))
        >>> prior = generator(model.apply, variables, 4)
        >>> prior.images(prior.init(jax.random.key(1), 3)).shape
        (3, 8, 8, 1)

    References:
        Nguyen et al., 2016, section 2 [nguyen2016synthesizing]. They clip the code of
        each neuron at three standard deviations as well.
    """
    dtype = checked_dtype(dtype)
    is_shape = isinstance(latent_shape, Iterable)
    latent = tuple(latent_shape) if is_shape else (latent_shape,)
    bounds = clip if clip is None or isinstance(clip, tuple | list) else (-clip, clip)
    for name, interval in (("clip", bounds), ("output_range", output_range)):
        if interval is not None and not np.all(
            np.less(*np.broadcast_arrays(*map(np.asarray, interval)))
        ):
            raise ValueError(f"`{name}` goes from low to high, and is {interval}.")
    latents_like = jax.ShapeDtypeStruct((1, *latent), dtype)
    output = jax.eval_shape(apply_fn, variables, latents_like)
    leaves = jax.tree.leaves(output)
    if len(leaves) != 1 or leaves[0] is not output or output.shape[:1] != (1,):
        raise ValueError(
            "A generator gives one array of images, (batch, ...), for latents of shape "
            f"{latents_like.shape}, and this one gave {output}. Write a function "
            "around it, "
            "`lambda variables, latents: apply_fn(variables, latents).images`."
        )
    low, high = output_range
    return Generator(
        apply_fn,
        variables,
        latent,
        (float(low), float(high)),
        None if bounds is None else tuple(jnp.asarray(b, dtype) for b in bounds),
        checked_scale(scale),
        dtype,
        output.shape[1:],
    )
