"""Transforms: random views of an image, so that it must score highly in all of them.

A transform is `(key, image) -> image`, for one image `(height, width, channels)`, or a
signal or a volume, with any number of axes beside that of the channels. Its sizes are
static; `jax.vmap` over keys and images gives every image of a batch a view of its own:
a batch itself would be taken for a volume. Affine transforms that follow one another
are one warp, with one gather.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.checks import shown
from jaxinterp.featurevis.transforms import warp
from jaxinterp.featurevis.transforms.warp import Move, Size
from jaxinterp.loop.static import hashable
from jaxinterp.types import Key

# What a view shows outside an image: a brightness, its nearest pixel, its mirror image,
# or a random color.
Fill = float | Literal["edge", "reflect", "random"]


class Transform:
    """A random view of one image.

    A batch would be taken for one image with more axes; of that write
    `jax.vmap(transform)(jax.random.split(key, len(images)), images)`.

    A transform of your own may be any function `(key, image) -> image` as well.
    """

    def __call__(self, key: Key, image: Any) -> Any:
        """Returns the view.

        Args:
            key: the random key of this view.
            image: one image of floats, `(*size, channels)`.
        """
        raise NotImplementedError

    def at(self, progress: Any) -> Transform:
        """Returns what the transform is after a part of the optimization.

        Args:
            progress: the share of the steps that are done, in [0, 1].
        """
        return self


class Affine(Transform):
    """A transform that moves pixels by an affine map, and adds what lies outside.

    Attributes:
        fill: what the view shows outside the image.
    """

    fill: Fill = 0.5

    @property
    def is_relative(self) -> bool:
        """Whether the size is that of the image given to the composition."""
        return False

    def size(self, size: Size, first_size: Size) -> Size:
        """Returns the size of the view.

        Args:
            size: the size of the image.
            first_size: the size of the image that was given to the composition.

        Raises:
            ValueError: if the image is too small.
        """
        return size

    def draw(self, key: Key, size: Size, out: Size, dtype: Any) -> Move:
        """Returns where each place of the view lies in the image.

        Args:
            key: the random key of this view.
            size: the size of the image.
            out: the size of the view.
            dtype: the dtype of the move.
        """
        return warp.stay(len(size), dtype)

    def stretch(self, size: Size, out: Size) -> float:
        """Returns a bound on how far apart neighboring pixels come to lie."""
        return 1.0

    def leaves(self, size: Size, out: Size) -> bool:
        """Returns whether the view may show what lies outside the image."""
        return False

    def __call__(self, key: Key, image: Any) -> Any:
        """Returns the view."""
        return _warp(image, [(self, key)], image.shape[:-1])


@dataclasses.dataclass(frozen=True)
class Compose(Transform):
    """Transforms one after another; fields as in `compose`."""

    transforms: tuple[Callable[[Any, Any], Any], ...]

    def at(self, progress: Any) -> Compose:
        """Returns the composition of what the transforms then are."""
        return Compose(
            tuple(
                t.at(progress) if isinstance(t, Transform) else t
                for t in self.transforms
            )
        )

    def __call__(self, key: Key, image: Any) -> Any:
        """Returns the view after the last transform."""
        first_size = image.shape[:-1]
        steps: list[tuple[Affine, Any]] = []
        for i, transform in enumerate(self.transforms):
            step_key = jax.random.fold_in(key, i)
            if isinstance(transform, Affine):
                steps.append((transform, step_key))
            else:
                image = transform(step_key, _warp(image, steps, first_size))
                steps = []
        return _warp(image, steps, first_size)


def compose(transforms: Iterable[Callable[[Any, Any], Any]]) -> Compose:
    """Applies transforms one after another, neighboring affine ones as one warp.

    The `i`-th gets the key `jax.random.fold_in(key, i)`. A composition among them
    counts as all its transforms, but for one that ends in the size that it was given,
    such as a recipe, and is not the first: it is a warp of its own. The view is that of
    the transforms one by one, but sharper: a warp interpolates once, however many move
    it.

    Args:
        transforms: transforms, or functions `(key, image) -> image`.

    Returns:
        A transform. Time and memory of the warp grow with the last size alone.

    Raises:
        TypeError: if something is no transform.

    Example:
        >>> from jaxinterp.featurevis import crop_or_pad, jitter, pad, rotate
        >>> shaken = compose([pad(4), jitter(4), rotate(-5.0, 5.0), crop_or_pad()])
        >>> shaken(jax.random.key(0), jnp.zeros((9, 7, 3))).shape
        (9, 7, 3)
    """
    parts = []
    if not isinstance(transforms, Iterable):
        raise TypeError(
            "compose() takes a list of transforms, `compose([pad(4), jitter(8)])`; "
            f"{shown(transforms)} was given."
        )
    for transform in transforms:
        if isinstance(transform, Compose) and not (parts and _is_relative(transform)):
            parts += transform.transforms
        elif callable(transform) and not isinstance(transform, type):
            parts.append(
                transform if isinstance(transform, Transform) else hashable(transform)
            )
        else:
            raise TypeError(
                "compose() takes transforms, such as `jitter(4)`, or functions "
                f"`(key, image) -> image`; {transform!r} was given."
            )
    return Compose(tuple(parts))


def _is_relative(nested: Compose) -> bool:
    """Whether a size depends on the image that is given to a composition."""
    return any(isinstance(t, Affine) and t.is_relative for t in nested.transforms)


class _Placement(NamedTuple):
    """The size before an affine transform, and the move and the fill that it draws.

    Attributes:
        size: the size of the image before the transform.
        move: the move from places of the view to places of that image.
        fill: what the view shows outside: `"edge"`, `"reflect"`, a brightness or color
            that broadcasts to the image, or `None` if nothing is.
    """

    size: Size
    move: Move
    fill: Any


def _warp(image: Any, steps: Sequence[tuple[Affine, Any]], first_size: Size) -> Any:
    """Returns the view of an image after affine transforms, each with its key."""
    if not steps:
        return image
    image = jnp.asarray(image)
    _check_image(image)
    dtype = image.dtype if image.dtype.itemsize > 4 else jnp.float32
    size, stretch, placements = image.shape[:-1], 1.0, []
    for transform, key in steps:
        out = transform.size(size, first_size)
        place, paint = jax.random.split(key)
        fill = transform.fill if transform.leaves(size, out) else None
        if fill == "random":
            fill = jax.random.uniform(paint, image.shape[-1:], jnp.float32)
            fill = fill.reshape((1,) * len(size) + (-1,))
        if fill is not None and not isinstance(fill, str):
            fill = jnp.asarray(fill, dtype)
        move = transform.draw(place, size, out, dtype)
        placements.append(_Placement(size, move, fill))
        stretch *= transform.stretch(size, out)
        size = out
    return _view(image.astype(dtype), placements, size, stretch).astype(image.dtype)


def _view(image: Any, placements: list[_Placement], size: Size, stretch: float) -> Any:
    """Returns the view of an image, with one gather.

    From the view back to the image, the moves are joined to one. What lies outside an
    image on the way is laid over the rest; only for edges and mirrors, the place is
    replaced by one inside, and the map is no longer affine.
    """
    dtype = image.dtype
    places, identity = warp.grid(size, dtype), warp.stay(len(size), dtype)
    move, is_affine, layers = identity, True, []
    for placement in reversed(placements):
        move = warp.after(placement.move, move)
        if isinstance(placement.fill, str):
            mode: Any = placement.fill
            places = warp.fold(warp.carry(move, places), placement.size, mode)
            move, is_affine = identity, False
        elif placement.fill is not None:
            cover = warp.coverage(warp.carry(move, places), placement.size)[..., None]
            layers.append((cover, placement.fill))
    if is_affine:
        view = warp.resample(image, move, size, stretch)
    else:
        view = warp.interpolate(image, warp.carry(move, places))
    if placements[0].fill is not None and not isinstance(placements[0].fill, str):
        cover, fill = layers.pop()
        view = view + (1 - cover) * fill  # the gather left it black already
    for cover, fill in reversed(layers):
        view = cover * view + (1 - cover) * fill
    return view


def _check_image(image: Any) -> None:
    is_float = jnp.issubdtype(image.dtype, jnp.floating)
    if image.ndim < 2 or not is_float or not image.size:
        raise ValueError(
            "Images are moved one at a time, floats of shape (height, width, "
            "channels), or with another number of axes before that of the channels, "
            f"none of length 0; {image.dtype}{list(image.shape)} was given.\nWrite "
            "`jax.vmap(transform)(jax.random.split(key, len(images)), images)` for "
            "several."
        )
