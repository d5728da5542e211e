"""What each unit looks for, beside what excites it, on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxinterp.plot.checked_images import Names, checked_columns
from jaxinterp.plot.example_images import checked_units
from jaxinterp.plot.image_axes import (
    GAP,
    add_image,
    add_title,
    checked_size,
    new_figure,
    wrapped_titles,
)
from jaxinterp.types import Images


def feature_sheet(
    images: Images,
    examples: Images | Any,
    *,
    dataset: Images | Any | None = None,
    names: Names | None = None,
    columns: int = 2,
    size: float = 1.4,
) -> Figure:
    """Draws for each unit its optimized image and, beside it, real examples.

    Args:
        images: one image for each unit, `(units, height, width, channels)` in [0, 1].
        examples: what excites each unit: what `dataset_examples` returned, of which the
            `top` is shown, or another sort of it, such as its `bottom`; or images
            `(units, k, height, width, channels)` in [0, 1]. They are set in a square as
            wide as the image, each in its own proportions.
        dataset: the images that `dataset_examples` had, in [0, 1]: one array or an
            iterable of batches, which is read once.
        names: the name of each unit, a text or an integer, written above its image;
            `Scorecard.captions` also say how good the images are. By default those of
            the examples, such as `"Conv_1:3"`, or numbers.
        columns: how many units a row has.
        size: width of an image in inches.

    Returns:
        A matplotlib figure.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the images.
        ValueError: if the images are not of that shape and range; if `images`,
            `examples` and `names` are not of equally many units; or if examples that
            are numbers of images lack their `dataset`.

    Example:
        >>> figure = feature_sheet(
        ...     np.zeros((2, 8, 8, 3)), np.zeros((2, 4, 6, 6, 3)), names=["a", "b"])
        >>> len(figure.axes)
        10
    """
    if examples is None:
        raise ValueError(
            "feature_sheet: `examples` is None. Without examples write "
            "`image_grid(images, titles=names)`."
        )
    units = checked_units("feature_sheet", images, examples, dataset, names)
    pixels, groups, names = units
    assert groups is not None, "there are examples"
    columns = checked_columns("feature_sheet", columns, len(pixels))
    checked_size("feature_sheet", size)
    height = size * pixels.shape[1] / pixels.shape[2]
    titles, title_height = wrapped_titles(names, 2 * size)
    cell = (2 * size + 3 * GAP, max(size, height) + GAP + title_height)
    rows = -(-len(pixels) // columns)
    figure = new_figure(columns * cell[0], rows * cell[1])
    for i, (image, group) in enumerate(zip(pixels, groups, strict=True)):
        row, column = divmod(i, columns)
        left, top = column * cell[0], row * cell[1] + title_height
        axes = add_image(figure, image, (left, top), (size, height))
        add_title(axes, titles[i], loc="left")
        _add_square(figure, group, (left + size + GAP, top), size)
    return figure


def _add_square(
    figure: Figure, images: np.ndarray, corner: tuple[float, float], size: float
) -> None:
    """Adds images as a square of `size` inches, each in its own proportions."""
    side = int(np.ceil(np.sqrt(len(images))))
    gap = GAP / 3
    cell = (size - (side - 1) * gap) / side
    shape = cell * np.array(images.shape[2:0:-1]) / max(images.shape[1:3])
    for i, image in enumerate(images):
        row, column = divmod(i, side)
        middle = np.array([column, row]) * (cell + gap) + (cell - shape) / 2
        left, top = np.array(corner) + middle
        add_image(figure, image, (left, top), tuple(shape))
