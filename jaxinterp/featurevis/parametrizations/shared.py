"""Images of one unit that share coarse layers, and so resemble one another."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import checked_integer
from jaxinterp.featurevis.images import checked_images
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.parametrizations.pyramid import (
    checked_factors,
    resized_layer,
    smaller_shape,
)
from jaxinterp.featurevis.parametrizations.to_image import Unbounded, checked_scale
from jaxinterp.pytree import pytree, static

# Folded into the key of a unit for what its images share; no image has this number.
_UNIT_NUMBER = np.uint32(2**32 - 1)


@pytree
class Shared(Parametrization):
    """A parametrization, and layers that the images of a unit have in common.

    The other fields are the arguments of `shared`.

    Attributes:
        inner: the parametrization of what each image has of its own, an `Unbounded`.
    """

    inner: Any
    factors: tuple[int, ...] = static()
    anchors: int = static()
    is_offset: bool = static()
    scale: float = static()
    shape: tuple[int, ...] = static()

    def init(self, key: Array, count: int) -> Any:
        """Returns `own` parameters of each image, and `shared` layers."""
        dtype = self.inner.to_image.dtype
        unit_key = jax.random.fold_in(key, _UNIT_NUMBER)
        keys = jax.random.split(unit_key, len(self.factors))
        shared = [
            self.scale * jax.random.normal(k, (self.anchors, *self._layer(f)), dtype)
            for k, f in zip(keys, self.factors, strict=True)
        ]
        return {"own": self.inner.init(key, count), "shared": shared}

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the images, in [0, 1]."""
        own = jax.vmap(self.inner.values)(params["own"])
        weights = jnp.asarray(_anchor_weights(self.anchors, len(own)), own.dtype)
        for layer, factor in zip(params["shared"], self.factors, strict=True):
            at_full_size = functools.partial(self._at_full_size, factor=factor)
            common = jax.vmap(at_full_size)(layer)
            own += jnp.einsum("ja,a...->j...", weights, common, precision="highest")
        return jax.vmap(self.inner.to_image)(own)

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns parameters that share nothing."""
        images = checked_images(images, self.shape)
        own, dtype = self.inner.inverse(images), self.inner.to_image.dtype
        shapes = [(self.anchors, *self._layer(f)) for f in self.factors]
        return {"own": own, "shared": [jnp.zeros(shape, dtype) for shape in shapes]}

    def _layer(self, factor: int) -> tuple[int, ...]:
        """The shape of a shared layer; with an offset there is one entry more."""
        *spatial, channels = smaller_shape(self.shape, factor)
        return (*(n + self.is_offset for n in spatial), channels)

    def _at_full_size(self, layer: Any, factor: int) -> Any:
        if not self.is_offset:
            return resized_layer(layer, self.inner)
        *spatial, channels = layer.shape
        full = (*(n * factor for n in spatial), channels)
        large = jax.image.resize(
            layer.astype(self.inner.to_image.computed), full, "linear"
        )
        start = factor // 2
        window = (*(slice(start, start + n) for n in self.shape[:-1]), slice(None))
        return large[window]


def shared(
    parametrization: Parametrization,
    *,
    factors: Iterable[int] = (1, 2, 4, 8),
    anchors: int = 1,
    is_offset: bool = False,
    scale: float = 0.01,
) -> Parametrization:
    r"""Adds to the images of a unit layers that all of them have in common.

    $$x_j = \sigma\Bigl(M \bigl(c_j
    + \sum_k \mathrm{up}(z_k(j))\bigr)\Bigr)$$

    $c_j$ is what image $j$ has of its own, $M$ the color matrix and $\sigma$ the squash
    of the given parametrization. $z_k$ is a layer `factors[k]` times smaller than the
    image, which $\mathrm{up}$ enlarges. It is the same for all images of a unit, or,
    with several anchors, changes linearly from one anchor to the next; anchors are
    spread evenly from the first image to the last. With `interpolate` and `alignment`
    this makes a row of images that lead from one unit to another.

    Args:
        parametrization: the parametrization of what each image has of its own, made
            by `fourier`, `pixels` or `pyramid`.
        factors: the factor of each shared layer: by how much it is smaller than the
            image along each spatial axis.
        anchors: the number of places along the row of images at which the shared
            layers have values of their own; 1 makes them the same for all images.
        is_offset: whether the grid of a shared layer begins half one of its entries
            (in whole pixels) before the image, so that it does not coincide with the
            grids of the images' own layers.
        scale: the standard deviation of the shared layers at the start.

    Returns:
        A parametrization with parameters `own` and `shared`. With several anchors an
        image depends on its place in the row and so on the number of images. The
        inverse puts an image into `own` and leaves `shared` zero.

    Raises:
        ValueError: if `anchors` or a factor is not a positive integer.
        TypeError: if the parametrization does not describe unbounded values.

    Example:
        >>> from jaxinterp.featurevis.parametrizations.pixels import pixels
        >>> row = shared(pixels((16, 16, 3), scale=0.0), factors=(4,))
        >>> params = row.init(jax.random.key(0), 5)
        >>> params["shared"][0].shape
        (1, 4, 4, 3)
        >>> images = row.images(params)
        >>> bool((images[0] == images[4]).all())
        True

    References:
        Mordvintsev et al., 2018, "Aligned Feature Visualization Interpolation"
        [mordvintsev2018differentiable].
    """
    if not isinstance(parametrization, Unbounded):
        raise TypeError(
            "shared() adds to an image before its colors and its squash, which "
            f"{type(parametrization).__name__} does not let it. Give `fourier`, "
            "`pixels` or `pyramid`; wrap the result in others."
        )
    return Shared(
        parametrization,
        checked_factors(factors),
        checked_integer("anchors", anchors, 1, call="shared"),
        bool(is_offset),
        checked_scale(scale),
        parametrization.shape,
    )


def _anchor_weights(anchors: int, count: int) -> np.ndarray:
    """Returns how much of each anchor each image has, `(count, anchors)`."""
    if anchors == 1:
        return np.ones((count, 1))
    places = np.linspace(0, anchors - 1, count)
    distances = np.abs(places[:, None] - np.arange(anchors)[None, :])
    return np.maximum(0, 1 - distances)
