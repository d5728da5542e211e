"""The image as the texture of an object in space, from a random side."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Key


@pytree
class TextureViews(Transform):
    """One of several views of an object, painted with the image.

    The fields are the arguments of `texture_views`.
    """

    coordinates: Any
    fill: float = static()

    def __call__(self, key: Key, image: Any) -> Any:
        """Returns the view."""
        if jnp.ndim(image) != 3 or not jnp.issubdtype(image.dtype, jnp.floating):
            raise ValueError(
                "A texture is an image of floats, (height, width, channels); "
                f"{image.dtype}{list(jnp.shape(image))} was given."
            )
        index = jax.random.randint(key, (), 0, self.coordinates.shape[0], jnp.int32)
        places = self.coordinates[index]
        is_object = ~jnp.isnan(places).any(axis=-1, keepdims=True)
        texture = _sampled(image, jnp.where(is_object, places, 0))
        return jnp.where(is_object, texture, self.fill).astype(image.dtype)


def texture_views(coordinates: Any, *, fill: float = 0.5) -> Transform:
    r"""Shows the image as the texture of an object, from one of several sides.

    $$z(p) = \sum_q \Lambda\big((w u_p - \tfrac12,\; h (1 - v_p) - \tfrac12) - q\big)
      \, x(q), \qquad \Lambda(d) = \prod_i \max(1 - |d_i|, 0)$$

    with pixels $q$ (column, row) of the $h \times w$ texture $x$, which repeats
    beyond its borders: bilinear sampling as graphics hardware does it. The coordinates
    are what a renderer draws of the object where its colors are $(u, v)$.

    Args:
        coordinates: $(u, v)$ of each pixel, `(views, height, width, 2)`, with $u$ to
            the right and $v$ upwards, 1 being the length of the texture; NaN where a
            pixel shows no object.
        fill: the brightness where there is no object.

    Returns:
        A transform from a texture to a view of the size of the coordinates. Put it
        before others.

    Raises:
        ValueError: if the coordinates have another shape, or some are infinite.

    Example:
        >>> u, v = jnp.meshgrid(jnp.array([0.25, 0.75]), jnp.array([0.75, 0.25]))
        >>> front = jnp.stack([u, v], axis=-1)[None]
        >>> texture = jnp.arange(4.0).reshape(2, 2, 1)
        >>> texture_views(front)(jax.random.key(0), texture)[..., 0].tolist()
        [[0.0, 1.0], [2.0, 3.0]]

    References:
        Mordvintsev et al., 2018, "Efficient Texture Optimization
        through 3D Rendering" [mordvintsev2018differentiable].
    """
    coordinates = jnp.asarray(coordinates)
    is_float = jnp.issubdtype(coordinates.dtype, jnp.floating)
    shape = coordinates.shape
    if len(shape) != 4 or shape[-1] != 2 or not coordinates.size or not is_float:
        raise ValueError(
            "texture_views() takes floats, coordinates (views, height, width, 2), and "
            f"was given {coordinates.dtype}{list(shape)}. One view is `uv[None]`."
        )
    if not is_traced(coordinates) and np.isinf(coordinates).any():
        raise ValueError(
            "texture_views: some coordinates are infinite. Write NaN where a pixel "
            "shows no object."
        )
    return TextureViews(coordinates, float(fill))


def _sampled(texture: Any, places: Any) -> Any:
    """A repeated texture between its pixels, `(*places.shape[:-1], channels)`."""
    height, width = texture.shape[:2]
    dtype = jnp.promote_types(texture.dtype, jnp.float32)
    places = places.astype(dtype)
    column = places[..., 0] * width - 0.5
    row = (1 - places[..., 1]) * height - 0.5
    left, top = jnp.floor(column), jnp.floor(row)
    right, below = (column - left)[..., None], (row - top)[..., None]
    x, y = left.astype(jnp.int32), top.astype(jnp.int32)

    def pixel(y: Any, x: Any) -> Any:
        return texture[y % height, x % width].astype(dtype)

    upper = (1 - right) * pixel(y, x) + right * pixel(y, x + 1)
    lower = (1 - right) * pixel(y + 1, x) + right * pixel(y + 1, x + 1)
    return (1 - below) * upper + below * lower
