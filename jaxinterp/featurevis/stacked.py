"""Pictures of one unit that are parametrized in different ways."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.featurevis.parametrization import Parametrization, checked_images


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Stacked(Parametrization):
    """One parametrization for each picture of a group.

    Attributes:
        parts: of the pictures, in their order.
        shape: of one picture.
    """

    parts: tuple[Any, ...]
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def init(self, key: Array, count: int) -> Any:
        """Returns the parameters of each part, if there are as many as pictures."""
        if count != len(self.parts):
            raise ValueError(
                f"stacked() has parametrizations of {len(self.parts)} pictures, and "
                f"count={count} was asked for. Write `count={len(self.parts)}`."
            )
        keys = [jax.random.fold_in(key, j) for j in range(count)]
        return tuple(p.init(k, 1) for p, k in zip(self.parts, keys, strict=True))

    def images(self, params: Any) -> Float[Array, "count *shape"]:
        """Returns the picture of each part, in [0, 1]."""
        pairs = zip(self.parts, params, strict=True)
        return jnp.concatenate([part.images(p) for part, p in pairs])

    def inverse(self, images: Float[Array, "count *shape"]) -> Any:
        """Returns the parameters of each part."""
        images = checked_images(images, self.shape)
        pairs = zip(self.parts, images[:, None], strict=True)
        return tuple(part.inverse(image) for part, image in pairs)


def stacked(parametrizations: Iterable[Parametrization]) -> Parametrization:
    """Parametrizes each picture of a unit in a way of its own, to compare the ways.

    Args:
        parametrizations: one for each of the `count` pictures of a unit, for pictures
            of one shape and dtype.

    Returns:
        A parametrization of so many pictures. It has an inverse if all have.

    Raises:
        TypeError: if something else is given.
        ValueError: if there are none, or their pictures differ in shape.

    Example:
        >>> from jaxinterp.featurevis import fourier, pixels
        >>> ways = stacked([pixels((8, 8, 3)), fourier((8, 8, 3))])
        >>> ways.images(ways.init(jax.random.key(0), 2)).shape
        (2, 8, 8, 3)
    """
    parts = tuple(parametrizations)
    for part in parts:
        if not isinstance(part, Parametrization):
            raise TypeError(
                "stacked() takes parametrizations, `stacked([pixels(shape), "
                f"fourier(shape)])`, and one of them was {part!r}."
            )
    shapes = {part.shape for part in parts}
    if len(shapes) != 1:
        raise ValueError(
            "stacked() takes parametrizations of pictures of one shape, and was given "
            f"those of {sorted(shapes)}."
        )
    return Stacked(parts, shapes.pop())
