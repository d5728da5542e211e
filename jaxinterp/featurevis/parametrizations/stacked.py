"""Images of one unit that are parametrized in different ways."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import checked_images
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.pytree import pytree, static


@pytree
class Stacked(Parametrization):
    """One parametrization after the other, for the images of a group.

    Attributes:
        parts: the parametrizations of the images, in their order; after the last comes
            the first.
    """

    parts: tuple[Any, ...]
    shape: tuple[int, ...] = static()

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of each image."""
        keys = [jax.random.fold_in(key, j) for j in range(count)]
        return tuple(part.init(k, 1) for part, k in self._with(keys))

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the images, in [0, 1]."""
        return jnp.concatenate([part.images(p) for part, p in self._with(params)])

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns the parameters of each image."""
        images = checked_images(images, self.shape)
        return tuple(part.inverse(i) for part, i in self._with(images[:, None]))

    def _with(self, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        return zip(itertools.cycle(self.parts), items, strict=False)


def stacked(parametrizations: Iterable[Parametrization]) -> Parametrization:
    """Parametrizes each image of a unit in a way of its own, to compare the ways.

    Args:
        parametrizations: the parametrizations of the first, the second, ... image of
            each unit, of one shape and dtype. If there are more images, it begins
            again.

    Returns:
        A parametrization; give as many images as there are parts, `count=`. It has an
        inverse if all have.

    Raises:
        TypeError: if one is no parametrization.
        ValueError: if there are none, or their images differ in shape or dtype.

    Example:
        >>> from jaxinterp.featurevis import fourier, pixels
        >>> ways = stacked([pixels((8, 8, 3)), fourier((8, 8, 3))])
        >>> ways.images(ways.init(jax.random.key(0), 2)).shape
        (2, 8, 8, 3)
    """
    if isinstance(parametrizations, Parametrization):
        parametrizations = [parametrizations]
    parts = tuple(parametrizations)
    for part in parts:
        if not isinstance(part, Parametrization):
            raise TypeError(
                "stacked() takes parametrizations, `stacked([pixels(shape), "
                f"fourier(shape)])`, and one of them was {part!r}."
            )
    kinds = {(part.shape, _dtype(part)) for part in parts}
    if len(kinds) != 1:
        names = sorted(f"{dtype}{list(shape)}" for shape, dtype in kinds)
        raise ValueError(
            "stacked() takes parametrizations of images of one shape and dtype, and "
            f"was given those of {', '.join(names) or 'none'}."
        )
    return Stacked(parts, parts[0].shape)


def _dtype(part: Parametrization) -> str:
    def one(part: Parametrization) -> Any:
        return part.images(part.init(jax.random.key(0), 1))

    return jax.eval_shape(one, part).dtype.name
