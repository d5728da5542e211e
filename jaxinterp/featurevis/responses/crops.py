"""What of a data set's images lies in the receptive field of a unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from jaxinterp.featurevis.responses.dataset_examples import Examples
from jaxinterp.featurevis.responses.receptive_field import ReceptiveField
from jaxinterp.loop.stream import check_stream


def crops(
    batches: Iterable[Any],
    examples: Examples,
    field: ReceptiveField | None = None,
    *,
    resize: Callable[[Any], Any] | None = None,
    fill: float = 0.5,
) -> np.ndarray:
    """Returns the example images, or what of them a unit sees at its best place.

    The stream is read once more and no model is run; memory is that of the result. At a
    border, the window is shifted into the image. Take only some units with
    `jax.tree.map(lambda leaf: leaf[:16], examples.top)`.

    Args:
        batches: the same images as before, in the same order.
        examples: examples of one sort, such as `dataset_examples(...).top`.
        field: the receptive field of the site, from `receptive_field`; the whole
            image by default.
        resize: a function from images `(batch, ...)` to ones of the model's input size,
            if its preprocessing changes the size: the field is in pixels of the model's
            input. Crops are cut from what it returns.
        fill: the brightness where there were too few images, of which 1 is the largest
            value that integers can have.

    Returns:
        Images in their own dtype, or that of `resize`, `(*examples.indices.shape,
        height, width, channels)` with the size of the field, or of the image where
        that is smaller.

    Raises:
        TypeError: if `examples` is not one sort of examples, or `batches` is one array.
        ValueError: if `examples` has no positions for the field, or images that the
            stream has not.

    Example:
        >>> from jaxinterp.featurevis import Examples, ReceptiveField
        >>> images = jnp.arange(8.0).reshape(2, 4, 1)
        >>> second = Examples(np.array([[1]]), np.array([[3.0]]), np.array([[[2]]]))
        >>> crops([images], second, ReceptiveField((2,), (1,), (0,))).tolist()
        [[[[6.0], [7.0]]]]
    """
    check_stream(batches)
    if not isinstance(examples, Examples):
        raise TypeError(
            "crops() takes one sort of examples, and was given "
            f"{type(examples).__name__}. Write `crops(batches, examples.top)`."
        )
    indices, positions = np.asarray(examples.indices), np.asarray(examples.positions)
    if field is not None and positions.shape[-1] != len(field.size):
        raise ValueError(
            f"The receptive field has {len(field.size)} axes, and the positions "
            f"{positions.shape[-1]}.\nPositions are there if the objective is a mean "
            "over places, as `channel` is; without them write "
            "`crops(batches, examples.top)`."
        )
    resize = resize or (lambda images: images)
    result, start, missing = None, 0, {int(i) for i in indices.ravel() if i >= 0}
    for batch in batches:
        stop = start + len(batch)
        where = np.argwhere((indices >= start) & (indices < stop))
        if result is None:
            one = np.asarray(resize(batch[:1]))
            sizes = _window_sizes(one.shape[1:], field)
            result = np.full((*indices.shape, *sizes), _level(fill, one.dtype))
        for at in map(tuple, where):
            number = int(indices[at]) - start
            image = np.asarray(resize(batch[number : number + 1])[0])
            result[at] = _cropped(image, field, positions[at])
        missing -= set(range(start, stop))
        start = stop
    if result is None or missing:
        raise ValueError(
            f"The stream has {start} images, and {len(missing)} of the examples "
            f"are not among them: {sorted(missing)[:5]}.\n"
            "Give the same batches as to `dataset_examples`; a generator is empty "
            "after it was read once."
        )
    return result


def _level(fill: float, dtype: Any) -> Any:
    """A brightness as a value of a dtype."""
    if np.issubdtype(dtype, np.integer):
        fill = round(fill * np.iinfo(dtype).max)
    return np.asarray(fill, dtype)


def _window_sizes(
    shape: tuple[int, ...], field: ReceptiveField | None
) -> tuple[int, ...]:
    if field is None:
        return shape
    axes = zip(field.size, shape[: len(field.size)], strict=True)
    return (*(min(pair) for pair in axes), *shape[len(field.size) :])


def _cropped(
    image: np.ndarray, field: ReceptiveField | None, position: np.ndarray
) -> np.ndarray:
    if field is None:
        return image
    window = []
    for axis, (low, stop) in enumerate(field.window(position.tolist())):
        size = min(stop - low, image.shape[axis])
        low = min(max(low, 0), image.shape[axis] - size)
        window.append(slice(low, low + size))
    return image[tuple(window)]
