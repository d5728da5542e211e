"""Explanations side by side: inputs in rows, methods in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jaxinterp.plot.heatmap import Reduction, heatmap
from jaxinterp.types import Images

# Inches around the grid, for the names of methods, the labels and the color bar.
_TOP, _BOTTOM, _LEFT, _RIGHT, _GAP = 0.5, 0.5, 0.8, 0.1, 0.06
# Inches that a letter is wide and a line is high; long names take several lines.
_LETTER, _LINE = 0.07, 0.17


def gallery(
    inputs: Images,
    attributions: Mapping[str, Any],
    *,
    labels: Sequence[str] | None = None,
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
        attributions: for the name of each method, its attributions of these inputs.
        labels: what to write beside each row.
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
        ValueError: if the inputs are no images, an attribution is not of their shape,
            or there is not one label for each input.

    Example:
        >>> figure = gallery(np.zeros((2, 8, 8)), {"gradient": np.ones((2, 8, 8, 1))})
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['input', 'gradient']
    """
    images = _images(inputs, input_colors)
    _check(images, attributions, labels)
    columns = {"input": images}
    for name, values in attributions.items():
        columns[name] = heatmap(
            values, reduction=reduction, percentile=percentile, colors=colors
        )
    n_rows, tall, wide = images.shape[:3]
    left = _RIGHT if labels is None else _width_of(labels)
    width = left + size * len(columns) + _RIGHT
    titles = [textwrap.fill(name, max(int(size / _LETTER), 8)) for name in columns]
    top = max(_TOP, *(_LINE * (title.count("\n") + 1.5) for title in titles))
    height = top + size * n_rows * tall / wide + _BOTTOM
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=1 - _RIGHT / width,
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
    for row, label in enumerate(labels or ()):
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
    axes = figure.add_axes((0.5 - 1.2 / width, 0.3 / height, 2.4 / width, 0.1 / height))
    scale = ScalarMappable(Normalize(-1, 1), matplotlib.colormaps[colors])
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal")
    bar.set_ticks([-1, 0, 1], labels=["lowers the score", "0", "raises it"], fontsize=8)
    bar.outline.set_visible(False)
    axes.tick_params(length=0)


def _images(inputs: Images, colors: str) -> np.ndarray:
    """Returns inputs as images of three channels, from black to white."""
    images = np.asarray(inputs, np.float64)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise ValueError(
            "gallery: `inputs` must be images of shape (batch, height, width, channels)"
            f"\nwith one channel or three, and have shape {np.shape(inputs)}.\n"
            "Choose what to show, such as `inputs[..., :3]`."
        )
    low, high = np.nanmin(images), np.nanmax(images)
    images = (images - low) / (high - low if high > low else 1.0)
    if images.shape[-1] == 3:
        return images
    return matplotlib.colormaps[colors](images[..., 0])[..., :3]


def _check(
    images: np.ndarray,
    attributions: Mapping[str, Any],
    labels: Sequence[str] | None,
) -> None:
    if not attributions:
        raise ValueError(
            "gallery: `attributions` is empty. Pass a dict from the name of a method "
            "to its attributions, `{'gradient': attributions}`."
        )
    expected = images.shape[:3]
    for name, values in attributions.items():
        if np.shape(values)[:3] != expected:
            raise ValueError(
                f"gallery: the attributions of {name!r} have shape {np.shape(values)}, "
                f"and the inputs are {expected[0]} images of {expected[1]} x "
                f"{expected[2]} pixels."
            )
    if labels is not None and len(labels) != len(images):
        raise ValueError(
            f"gallery: there are {len(images)} inputs and {len(labels)} labels. Write "
            "a text for each input in `labels`."
        )
