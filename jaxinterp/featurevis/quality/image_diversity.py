"""How much the images of one unit differ: what the objective `diversity` looks for.

Notation: $a_i$ is the activation of a site for image $i$ of the $n$ of a unit.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.comparisons.style import gram
from jaxinterp.featurevis.images import by_unit
from jaxinterp.loop.chunks import chunk_size, over_units
from jaxinterp.objectives.reader import Reader, site_reader
from jaxinterp.types import ApplyFn, Images, Sites, Variables


def image_diversity(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    images: Images,
    *,
    count: int,
    batch_size: int | None = None,
) -> Any:
    r"""Returns how different the textures of the images of each unit are.

    $$1 - \frac{1}{n (n - 1)} \sum_{i \ne j} \langle \hat G_i, \hat G_j \rangle, \qquad
      \hat G_i = G_i / \|G_i\|, \quad G_i = \tfrac{1}{|X|} \sum_x a_{ix} a_{ix}^\top$$

    The sum is $\|\sum_i \hat G_i\|^2 - n$, so that no pair is visited: time and memory
    grow with $n$ and the square of the channels; memory with `batch_size`.

    Args:
        apply_fn: the model; of arrays that it holds itself, see `maximize`.
        site: the site whose activation is read, channels last; often that of the unit.
        variables: the weights of the model.
        images: the images, `(units * count, ...)`, in the order of the units.
        count: $n$, the number of images of each unit.
        batch_size: the largest number of images that are computed at once; all by
            default.

    Returns:
        `(units,)`, without unit: 0 if the images have one texture, 1 if no two
        have any channels in common. NaN for `count=1`, where there is nothing to
        compare, and where an activation is zero everywhere.

    Raises:
        AddressError: if the model has no such site.
        AmbiguousAddressError: if there are several.
        TypeError: if the images are not floats.
        ValueError: if the number of images does not fit, or the site has no channels.

    Example:
        >>> images = jnp.eye(3)[:, None]  # a red, a green and a blue image
        >>> model = lambda variables, x: jnp.tanh(x)
        >>> image_diversity(model, "tanh", None, images, count=3).tolist()
        [1.0]

    References:
        Olah et al., 2017, "Diversity" [olah2017feature]; Gatys et al., 2016, eq. 3
        [gatys2016image].
    """
    groups = by_unit(images, count)
    model = site_reader(apply_fn, variables, images, site, one=True)
    n_units = groups.shape[0]
    return over_units(
        lambda index: _diversities(model, variables, groups[index]),
        n_units,
        chunk_size(batch_size, count, n_units),
        is_inner=is_traced(variables, images),
    )


@functools.partial(jax.jit, static_argnums=0)
def _diversities(model: Reader, variables: Variables, images: Images) -> Any:
    n_units, count = images.shape[:2]
    flat = images.reshape(n_units * count, *images.shape[2:])
    activations, _ = model(variables, flat)
    ((address, activation),) = activations.items()
    if activation.ndim < 2:
        raise ValueError(
            f"{address!r} is one number for each image and has no channels, whose "
            "Gram matrix could be compared. Take another site."
        )
    g = gram(activation).reshape(n_units, count, -1)
    size = jnp.sqrt(jnp.sum(jnp.square(g), axis=-1, keepdims=True))
    unit = g / size  # NaN for what is zero
    pairs = jnp.sum(jnp.square(unit.sum(axis=1)), axis=-1) - count
    if count == 1:
        return jnp.full(pairs.shape, jnp.nan, pairs.dtype)
    # Rounding may take it below 0, where it cannot be.
    return jnp.maximum(1 - pairs / (count * (count - 1)), 0)
