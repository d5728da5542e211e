"""Explanations side by side: inputs in rows, methods in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jaxinterp.plot.checked_images import (
    Names,
    advice_on_shape,
    checked_names,
    checked_numbers,
)
from jaxinterp.plot.heatmap import Reduction, check_batch, heatmap
from jaxinterp.plot.image_axes import checked_size
from jaxinterp.types import Images

# Inches around the grid, for the names of methods, the labels and the color bar.
_TOP, _BOTTOM, _LEFT, _RIGHT, _GAP = 0.5, 0.5, 0.8, 0.1, 0.06
# Inches that a letter is wide and a line is high; long names take several lines.
_LETTER, _LINE = 0.075, 0.17
# Inches of the color bar: as wide as the figure allows, and at least as its words are.
_BAR, _SHORT_BAR = 2.4, 2.2


def gallery(
    inputs: Images,
    attributions: Mapping[str, Any] | np.ndarray | jax.Array,
    *,
    labels: Names | None = None,
    reduction: Reduction = "sum",
    percentile: float = 100.0,
    colors: str = "RdBu_r",
    input_colors: str = "gray",
    size: float = 1.0,
) -> Figure:
    """Draws inputs in rows and the heatmaps of each method in columns.

    Every heatmap has its own symmetric range around zero (see `heatmap`), since methods
    have different units; pixels are drawn as they are, without interpolation.

    Args:
        inputs: images of shape `(batch, height, width, channels)` with one channel or
            three, or without channels. They are scaled so that the smallest value of
            all is black and the largest white.
        attributions: a dictionary from the name of each method to its attributions of
            these inputs; or the attributions of one method alone.
        labels: what to write beside each row, texts or integers.
        reduction: how channels become one number, see `reduce_channels`.
        percentile: which percentile of the magnitudes of an example gets the full
            color, see `heatmap`.
        colors: the name of a diverging color map of matplotlib, for the heatmaps.
        input_colors: the name of a color map of matplotlib, for inputs of one channel.
        size: width of a column in inches.

    Returns:
        A matplotlib figure: `figure.savefig("gallery.png")`. In a notebook, which shows
        it as the value of a cell, put `%matplotlib inline` in front.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the arrays.
        ValueError: if the inputs are no batch of images, an attribution is not of their
            shape, or there is not one label for each input.

    Example:
        >>> figure = gallery(np.zeros((2, 8, 8)), {"gradient": np.ones((2, 8, 8, 1))})
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['input', 'gradient']
    """
    checked_size("gallery", size)
    images = _images(inputs, input_colors)
    columns = {"input": images}
    for name, values in _maps(attributions, images.shape[:3]).items():
        columns[name] = heatmap(
            values, reduction=reduction, percentile=percentile, colors=colors
        )
    n_rows, tall, wide = images.shape[:3]
    texts = []
    if labels is not None:
        texts = checked_names("gallery", labels, n_rows, "labels")
    left = _width_of(texts) if texts else _RIGHT
    grid_width = left + size * len(columns) + _RIGHT
    width = max(grid_width, _SHORT_BAR + 2 * _RIGHT)
    left += (width - grid_width) / 2
    titles = [textwrap.fill(name, max(int(size / _LETTER), 8)) for name in columns]
    top = max(_TOP, *(_LINE * (title.count("\n") + 1.5) for title in titles))
    height = top + size * n_rows * tall / wide + _BOTTOM
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=(left + size * len(columns)) / width,
        top=1 - top / height,
        bottom=_BOTTOM / height,
        wspace=_GAP,
        hspace=_GAP,
    )
    grid = figure.subplots(n_rows, len(columns), squeeze=False)
    for column, (title, cells) in enumerate(zip(titles, columns.values(), strict=True)):
        grid[0, column].set_title(title, fontsize=9)
        for row, image in enumerate(cells):
            _show(grid[row, column], image)
    for row, label in enumerate(texts):
        grid[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    _add_scale(figure, colors)
    return figure


def _width_of(labels: Sequence[str]) -> float:
    """Inches that the labels need."""
    lines = [line for label in labels for line in label.splitlines()]
    return max([_LEFT, *(_LETTER * len(line) + 2 * _RIGHT for line in lines)])


def _show(axes: Any, image: np.ndarray) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("0.8")


def _add_scale(figure: Figure, colors: str) -> None:
    width, height = figure.get_size_inches()
    long = min(_BAR, width - 2 * _RIGHT)
    left = (width - long) / 2
    axes = figure.add_axes((left / width, 0.3 / height, long / width, 0.1 / height))
    scale = ScalarMappable(Normalize(-1, 1), matplotlib.colormaps[colors])
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal")
    bar.set_ticks([-1, 0, 1], labels=["lowers the score", "0", "raises it"], fontsize=8)
    first, _, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    bar.outline.set_visible(False)
    axes.tick_params(length=0)


def _images(inputs: Images, colors: str) -> np.ndarray:
    """Returns inputs as images of three channels, from black to white."""
    images = checked_numbers(inputs, "gallery", "inputs", np.float64)
    check_batch(images, "gallery", "inputs")
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            "gallery: `inputs` must be images of shape (batch, height, width, channels)"
            f"\nwith one channel or three, and have shape {images.shape}.\n"
            f"{advice_on_shape('inputs', images.shape, 4)}"
        )
    low, high = np.nanmin(images), np.nanmax(images)
    images = (images - low) / (high - low if high > low else 1.0)
    if images.shape[-1] == 3:
        return images
    return matplotlib.colormaps[colors](images[..., 0])[..., :3]


def _maps(attributions: Any, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Returns the attributions of each method, if they are of images of this shape."""
    if isinstance(attributions, list | tuple):
        raise ValueError(
            f"gallery: `attributions` is a {type(attributions).__name__}, which does "
            "not say the names of the methods. Pass a dict from each name to its "
            "attributions, `dict(zip(names, attributions))`."
        )
    if not isinstance(attributions, Mapping):
        attributions = {"attributions": attributions}
    if not attributions:
        raise ValueError(
            "gallery: `attributions` is empty. Pass a dict from the name of a method "
            "to its attributions, `{'gradient': attributions}`."
        )
    maps = {}
    for name, values in attributions.items():
        numbers = checked_numbers(
            values, "gallery", f"attributions[{name!r}]", np.float64
        )
        if numbers.shape[:3] != shape:
            raise ValueError(
                f"gallery: the attributions of {name!r} have shape {numbers.shape}, "
                f"and the inputs are {shape[0]} images of {shape[1]} x {shape[2]} "
                "pixels."
            )
        maps[str(name)] = numbers
    return maps
