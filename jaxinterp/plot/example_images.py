"""Real images that excite units, taken from the data set in which they were found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxinterp.plot.checked_images import checked_images, checked_names, checked_numbers

_IMAGES = (
    "Give images (batch, height, width, channels), in one array or in batches of them."
)


class Units(NamedTuple):
    """What is shown of each unit.

    Attributes:
        images: one image for each unit, `(units, height, width, channels)`.
        examples: real images for each unit, `(units, k, height, width, channels)`; NaN
            where there were too few; `None` if there are none at all.
        names: the name of each unit.
    """

    images: np.ndarray
    examples: np.ndarray | None
    names: list[str]


def checked_units(
    call: str, images: Any, examples: Any, dataset: Any, names: Any
) -> Units:
    """Returns images, examples and names of equally many units.

    Args:
        call: the name of the public function, for the error message.
        images: one image for each unit.
        examples: real images of each unit, or what says their numbers in a data set:
            an object with `indices`, or one whose `top` has them and that may have
            `names`, as `dataset_examples` returns it; or `None`.
        dataset: the images of that data set, in an array or an iterable of batches.
        names: the names of the units, or `None` for those of the examples; if these
            have none, the units are numbered.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the images.
        ValueError: if there are not equally many of all, or these are no images.
    """
    pixels = checked_images(images, call, "images", 4)
    groups = None
    if examples is not None:
        indices = getattr(getattr(examples, "top", examples), "indices", None)
        if indices is not None:
            groups = _images_of(call, np.asarray(indices), dataset)
        elif dataset is not None:
            raise ValueError(
                f"{call}: `dataset` is for examples that `dataset_examples` returned. "
                "Leave it out where `examples` are images."
            )
        else:
            groups = checked_images(examples, call, "examples", 5)
        if len(pixels) != len(groups):
            raise ValueError(
                f"{call}: there are {len(pixels)} images, and examples of "
                f"{len(groups)} units."
            )
    if names is None:
        names = getattr(examples, "names", range(len(pixels)))
    return Units(pixels, groups, checked_names(call, names, len(pixels), "names"))


def _images_of(call: str, indices: np.ndarray, dataset: Any) -> np.ndarray:
    """The images of these numbers, `(units, k, height, width, channels)`."""
    if dataset is None:
        raise ValueError(
            f"{call}: `examples` says the numbers of images and not what is in them. "
            "Give the images too, `dataset=images`, as `dataset_examples` had them and "
            "in that order."
        )
    batches = [dataset] if getattr(dataset, "ndim", None) == 4 else dataset
    if not isinstance(batches, Iterable):
        raise ValueError(f"{call}: `dataset` is {type(dataset).__name__}. {_IMAGES}")
    groups, start = None, 0
    for batch in batches:
        stop = start + len(batch)
        is_here = (indices >= start) & (indices < stop)
        numbers = np.unique(indices[is_here])
        if groups is None:
            one = checked_numbers(batch[:1], call, "dataset")
            if one.ndim != 4:
                shape = np.shape(batch)
                raise ValueError(
                    f"{call}: a batch of `dataset` has shape {shape}. {_IMAGES}"
                )
            groups = np.full((*indices.shape, *one.shape[1:]), np.nan, np.float32)
        if numbers.size:
            chosen = np.stack([np.asarray(batch[n - start]) for n in numbers])
            pixels = checked_numbers(chosen, call, "dataset")
            groups[is_here] = pixels[np.searchsorted(numbers, indices[is_here])]
        start = stop
    largest = indices.max(initial=-1)
    if groups is None or largest >= start:
        raise ValueError(
            f"{call}: `dataset` has {start} images, and an example is number {largest}."
            " Give the images that `dataset_examples` had; a generator is empty after "
            "it was read once."
        )
    return checked_images(groups, call, "dataset", 5)
