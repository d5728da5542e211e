"""Axes with one image each, placed in inches, and titles that fit above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from jaxinterp.checks import is_real

# Inches: between images, around all of them, and of a line of a title.
GAP = 0.06
_EDGE, _LINE = 0.08, 0.12
_FONT_SIZE = 7  # points


def checked_size(call: str, size: Any) -> None:
    """Raises `ValueError` unless the width of an image is a positive number of inches.

    Args:
        call: the name of the public function, for the error message.
        size: the width of an image.
    """
    if not is_real(size) or size <= 0:
        raise ValueError(f"{call}: `size` is a number of inches, and is {size!r}.")


def new_figure(width: float, height: float) -> Figure:
    """Returns a figure without axes, with room around its images.

    Args:
        width: inches of all columns, each with the gap after it.
        height: inches of all rows, each with the gap after it.
    """
    return Figure(figsize=(width + 2 * _EDGE - GAP, height + 2 * _EDGE - GAP))


def add_image(
    figure: Figure,
    image: np.ndarray,
    corner: tuple[float, float],
    size: tuple[float, float],
) -> Any:
    """Adds axes that show an image, pixel by pixel, and returns them.

    Args:
        figure: the figure to which the axes are added.
        image: `(height, width, channels)` with one channel or three, in [0, 1]. If it
            holds NaN, only a frame is drawn, with "NaN" in its middle.
        corner: where the image begins, in inches from the left and from the top.
        size: width and height of the image in inches.
    """
    width, height = figure.get_size_inches()
    left, top = corner[0] + _EDGE, corner[1] + _EDGE
    axes = figure.add_axes(
        (
            left / width,
            1 - (top + size[1]) / height,
            size[0] / width,
            size[1] / height,
        )
    )
    if np.isnan(image).any():
        axes.text(0.5, 0.5, "NaN", ha="center", va="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return axes
    is_gray = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if is_gray else image,
        interpolation="nearest",
        cmap="gray" if is_gray else None,
        vmin=0,
        vmax=1,
        aspect="auto",
    )
    axes.set_axis_off()
    return axes


def add_title(axes: Any, title: str, loc: str = "center") -> None:
    """Writes a title above axes, in the letters that `wrapped_titles` measures.

    Args:
        axes: the axes of an image.
        title: the text, in lines that fit.
        loc: `"left"` or `"center"`.
    """
    axes.set_title(title, fontsize=_FONT_SIZE, pad=2, loc=loc, parse_math=False)


def wrapped_titles(titles: Sequence[str], width: float) -> tuple[list[str], float]:
    """Returns titles broken into lines that fit, and how high the highest one is.

    Args:
        titles: one text for each image, or none at all.
        width: inches that a line may take.

    Returns:
        The titles, and inches: 0 if there is no title.
    """
    wrapped = [
        "\n".join(part for line in title.splitlines() for part in _lines(line, width))
        for title in titles
    ]
    n_lines = max((title.count("\n") + 1 for title in wrapped), default=0)
    return wrapped, _LINE * n_lines + 0.08 if n_lines else 0.0


def _lines(line: str, width: float) -> list[str]:
    """Breaks a line between words, and within a word that has no room by itself."""
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if _text_width(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and _text_width(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _text_width(text: str) -> float:
    """Inches of a line; on a screen it may be a twentieth wider."""
    font = FontProperties(size=_FONT_SIZE)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.05 * width / 72
