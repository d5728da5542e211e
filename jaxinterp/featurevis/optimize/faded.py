"""Images faded to a background where the objective hardly depended on them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.images import check_range


def faded(
    images: Float[Array, "images *places channels"],
    importance: Float[Array, "images *places"],
    *,
    percentile: float = 80.0,
    background: float = 1.0,
    cut: float = 0.0,
) -> Float[Array, "images *places channels"]:
    r"""Fades images to a background where the objective hardly depended on them.

    $$y = \alpha\, x + (1 - \alpha)\, b, \qquad \alpha = \min(i / q, 1)$$

    where $i$ is the importance of a place and $q$ a percentile of the places of the
    image. An objective has no use for the whole of an image; what fills the rest is
    the parametrization's, and better not interpreted.

    Args:
        images: the images in [0, 1], such as `maximize(...).images`.
        importance: how much the objective depends on each place, not negative, such as
            `maximize(...).importance`.
        percentile: $q$; so many percent of the places fade.
        background: the brightness $b$, in [0, 1].
        cut: so many percent of the values of each image are cut off at the dark end,
            and as many at the bright end, and the rest is stretched to [0, 1]; 1 for
            MACO's images in the published code. By default they stay as they are.

    Returns:
        Images in the shape of `images`. One whose importance is zero everywhere is
        all background; one that is NaN, or whose importance is, stays NaN.

    Raises:
        ValueError: if the shapes do not fit, the images or the background are not in
            [0, 1], the percentile is none, or `cut` is not below 50.

    Example:
        >>> images = jnp.zeros((1, 2, 2, 3))
        >>> importance = jnp.array([[[0.0, 1.0], [2.0, 2.0]]])
        >>> faded(images, importance, percentile=100.0)[0, :, :, 0].tolist()
        [[1.0, 0.5], [0.0, 0.0]]

    References:
        Fel et al., 2023, section 3.3 (for MACO) [fel2023unlocking].
    """
    images, importance = jnp.asarray(images), jnp.asarray(importance)
    if images.shape[:-1] != importance.shape or images.ndim < 2:
        raise ValueError(
            f"faded: `importance` of images {images.shape} has shape "
            f"{images.shape[:-1]}, and the one that was given has {importance.shape}. "
            "Write `faded(result.images, result.importance)`."
        )
    if not 0 <= percentile <= 100 or not 0 <= background <= 1 or not 0 <= cut < 50:
        raise ValueError(
            "faded: `percentile` lies between 0 and 100, `background` between 0 and 1, "
            f"and `cut` between 0 and 50; they are {percentile!r}, {background!r} and "
            f"{cut!r}."
        )
    if not is_traced(images, importance):
        values, weights = np.asarray(images), np.asarray(importance)
        check_range(values[~np.isnan(values).any(tuple(range(1, values.ndim)))])
        if (weights < 0).any():
            raise ValueError("faded: importance must not be negative.")
    is_nan = jnp.isnan(images).any(tuple(range(1, images.ndim)))
    is_nan |= jnp.isnan(importance).any(tuple(range(1, importance.ndim)))

    def one(image: Any, weight: Any) -> Any:
        if cut:
            ends = jnp.array([cut, 100 - cut], image.dtype)
            dark, bright = jnp.percentile(image, ends)
            room = jnp.where(bright > dark, bright - dark, 1)
            image = jnp.clip((image - dark) / room, 0, 1)
        level = jnp.percentile(weight, percentile)
        # Where the level is zero, every place of any importance is opaque.
        level = jnp.maximum(level, jnp.finfo(level.dtype).tiny)
        opacity = jnp.minimum(weight / level, 1)[..., None]
        return (background + opacity * (image - background)).astype(image.dtype)

    blends = jax.vmap(one)(images, importance)
    return jnp.where(is_nan.reshape(-1, *(1,) * (images.ndim - 1)), jnp.nan, blends)
