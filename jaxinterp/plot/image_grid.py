"""Images in rows and columns."""

from __future__ import annotations

from matplotlib.figure import Figure

from jaxinterp.plot.checked_images import (
    Names,
    checked_columns,
    checked_images,
    checked_names,
)
from jaxinterp.plot.image_axes import (
    GAP,
    add_image,
    add_title,
    checked_size,
    new_figure,
    wrapped_titles,
)
from jaxinterp.types import Images


def image_grid(
    images: Images,
    *,
    columns: int | None = None,
    titles: Names | None = None,
    size: float = 1.2,
) -> Figure:
    """Draws images in rows and columns, pixel by pixel.

    Args:
        images: `(batch, height, width, channels)` with one channel or three, in [0, 1];
            a fourth is opacity, over white. Of an image that holds NaN only the frame
            is drawn.
        columns: how many images a row has, from 1; about as many as there are rows
            by default.
        titles: what to write above each image, texts or integers; long titles take
            several lines.
        size: width of an image in inches.

    Returns:
        A matplotlib figure: `figure.savefig("features.png")`.

    Raises:
        ValueError: if the images are not of that shape and range, or there is not one
            title for each image.

    Example:
        >>> figure = image_grid(np.zeros((5, 8, 8, 3)), columns=3)
        >>> len(figure.axes)
        5
    """
    pixels = checked_images(images, "image_grid", "images", 4)
    n_images, tall, wide = pixels.shape[:3]
    if titles is not None:
        titles = checked_names("image_grid", titles, n_images, "titles")
    checked_size("image_grid", size)
    columns = checked_columns("image_grid", columns, n_images)
    rows = -(-n_images // columns)
    lines, top = wrapped_titles(() if titles is None else titles, size)
    height = size * tall / wide
    cell = (size + GAP, height + GAP + top)
    figure = new_figure(columns * cell[0], rows * cell[1])
    for i, image in enumerate(pixels):
        row, column = divmod(i, columns)
        corner = (column * cell[0], row * cell[1] + top)
        axes = add_image(figure, image, corner, (size, height))
        if titles is not None:
            add_title(axes, lines[i])
    return figure
