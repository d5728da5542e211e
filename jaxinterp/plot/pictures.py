"""Pictures in a grid, and what a unit looks for beside what excites it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from jaxinterp.checks import checked_integer, is_real

# Inches: around a grid, between its cells, and of a line above a cell.
_EDGE, _GAP, _LINE = 0.08, 0.06, 0.12
_POINTS = 7  # of a letter


def picture_grid(
    images: Any,
    *,
    columns: int | None = None,
    titles: Sequence[str] | np.ndarray | None = None,
    size: float = 1.2,
) -> Figure:
    """Draws pictures in rows and columns, pixel by pixel.

    Args:
        images: `(batch, height, width, channels)` with one channel or three, in [0, 1];
            a fourth is opacity, and white is seen behind. Of a picture that is NaN only
            the frame is drawn.
        columns: how many pictures a row has, from 1; about as many as there are rows
            by default.
        titles: what to write above each picture, in a sequence or an array; long ones
            take several lines.
        size: width of a picture in inches.

    Returns:
        A matplotlib figure: `figure.savefig("features.png")`.

    Raises:
        ValueError: if the images are not of that shape and range, or there is not a
            title for each.

    Example:
        >>> figure = picture_grid(np.zeros((5, 8, 8, 3)), columns=3)
        >>> len(figure.axes)
        5
    """
    shown = checked_pictures(images, "picture_grid", "images", 4)
    count, tall, wide = shown.shape[:3]
    if titles is not None:
        titles = checked_names("picture_grid", titles, count, "titles")
    _check_size(size, "picture_grid")
    columns = _columns(columns, count, "picture_grid")
    rows = -(-count // columns)
    lines, top = _wrapped(() if titles is None else titles, size)
    cell = (size + _GAP, size * tall / wide + _GAP + top)
    figure = _figure(columns * cell[0], rows * cell[1])
    for i, picture in enumerate(shown):
        row, column = divmod(i, columns)
        corner = (column * cell[0], row * cell[1] + top)
        axes = _place(figure, corner, (size, size * tall / wide))
        _show(axes, picture)
        if titles is not None:
            axes.set_title(lines[i], fontsize=_POINTS, pad=2, parse_math=False)
    return figure


def feature_sheet(
    images: Any,
    examples: Any,
    *,
    names: Sequence[str] | np.ndarray,
    columns: int = 2,
    size: float = 1.4,
) -> Figure:
    """Draws for each unit its optimized picture and, beside it, real examples.

    Args:
        images: one picture for each unit, `(units, height, width, channels)` in [0, 1].
        examples: what excites each unit, `(units, k, height, width, channels)` in [0,
            1]; they are set in a square as wide as the picture, each in its own
            proportions.
        names: of the units, written above; `Scorecard.captions` say how good their
            pictures are, too.
        columns: how many units a row has.
        size: width of a picture in inches.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if the images are not of that shape and range, or there are not as
            many of one as of the others.

    Example:
        >>> figure = feature_sheet(
        ...     np.zeros((2, 8, 8, 3)), np.zeros((2, 4, 6, 6, 3)), names=["a", "b"])
        >>> len(figure.axes)
        10
    """
    shown = checked_pictures(images, "feature_sheet", "images", 4)
    beside = checked_pictures(examples, "feature_sheet", "examples", 5)
    names = checked_names("feature_sheet", names, len(shown), "names")
    if len(shown) != len(beside):
        raise ValueError(
            f"feature_sheet: there are {len(shown)} pictures, and examples of "
            f"{len(beside)} units."
        )
    columns = _columns(columns, len(shown), "feature_sheet")
    _check_size(size, "feature_sheet")
    side = int(np.ceil(np.sqrt(beside.shape[1])))
    tall = size * shown.shape[1] / shown.shape[2]
    titles, above = _wrapped(names, 2 * size)
    cell = (2 * size + 3 * _GAP, max(size, tall) + _GAP + above)
    rows = -(-len(shown) // columns)
    figure = _figure(columns * cell[0], rows * cell[1])
    for i, (picture, group) in enumerate(zip(shown, beside, strict=True)):
        row, column = divmod(i, columns)
        left, top = column * cell[0], row * cell[1] + above
        axes = _place(figure, (left, top), (size, tall))
        _show(axes, picture)
        axes.set_title(titles[i], fontsize=_POINTS, pad=2, loc="left", parse_math=False)
        small = (size - (side - 1) * _GAP / 3) / side
        shape = small * np.array(beside.shape[3:1:-1]) / max(beside.shape[2:4])
        for j, example in enumerate(group):
            down, right = divmod(j, side)
            step = small + _GAP / 3
            corner = (left + size + _GAP + right * step, top + down * step)
            place = tuple(np.array(corner) + (small - shape) / 2)
            _show(_place(figure, place, tuple(shape)), example)
    return figure


def spritemap(images: Any, *, columns: int | None = None) -> np.ndarray:
    """Returns pictures side by side in one array, without any margin.

    Picture `i` is `sheet[r * height : (r + 1) * height, c * width : (c + 1) * width]`
    with `r, c = divmod(i, columns)`.

    Args:
        images: `(batch, height, width, channels)` with one channel or three, in [0, 1];
            a fourth is opacity, and white is seen behind.
        columns: how many pictures a row has, from 1; by default about as many as there
            are rows, the square root of their number rounded up.

    Returns:
        `(rows * height, columns * width, channels)`, float32; cells without a picture
        are white, and NaN stays NaN.

    Raises:
        ValueError: if the images are not of that shape and range, or `columns` is none.

    Example:
        >>> spritemap(np.zeros((5, 8, 6, 3)), columns=3).shape
        (16, 18, 3)
    """
    shown = checked_pictures(images, "spritemap", "images", 4)
    count, tall, wide, channels = shown.shape
    columns = _columns(columns, count, "spritemap")
    rows = -(-count // columns)
    empty = np.ones((rows * columns - count, tall, wide, channels), np.float32)
    cells = np.concatenate([shown, empty]).reshape(rows, columns, tall, wide, channels)
    return cells.swapaxes(1, 2).reshape(rows * tall, columns * wide, channels)


def false_colors(images: Any) -> np.ndarray:
    r"""Returns pictures of any number of channels in colors: each channel has a hue.

    $$y_k = \sum_c x_c h_{ck} \Big/ \sum_c h_{ck}$$

    where $h_c$ is the pure color of hue $c / C$. Where all channels are 1 it is white,
    and red, green and blue stay what they are.

    Args:
        images: `(..., channels)`, in [0, 1].

    Returns:
        Pictures `(..., 3)`, in [0, 1], float32.

    Raises:
        ValueError: if there is no channel, or they are not in [0, 1].

    Example:
        >>> false_colors(np.array([[0.0, 1.0], [1.0, 1.0]])).tolist()
        [[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    shown = np.asarray(images, np.float32)
    if not shown.ndim or not shown.shape[-1]:
        raise ValueError(
            "false_colors: `images` must have channels, (..., channels), and the shape "
            f"is {shown.shape}."
        )
    # Half precision leaves the range by rounding.
    if ((shown < -1e-2) | (shown > 1.01)).any():
        raise ValueError(
            "false_colors: `images` must be in [0, 1], and are in "
            f"[{np.nanmin(shown):g}, {np.nanmax(shown):g}]."
        )
    channels = shown.shape[-1]
    if channels == 1:
        return np.repeat(shown, 3, axis=-1)
    hue = np.arange(channels) / channels
    hues = hsv_to_rgb(np.stack([hue, np.ones(channels), np.ones(channels)], axis=-1))
    return shown @ (hues / hues.sum(axis=0)).astype(np.float32)


def checked_pictures(images: Any, call: str, name: str, axes: int) -> np.ndarray:
    """Returns pictures that can be shown, clipped to [0, 1], opaque.

    Args:
        images: `(units, height, width, channels)`, or with `k` of each unit.
        call: the function that was called, for the error.
        name: of the argument.
        axes: how many it has.

    Raises:
        ValueError: if the images are not of that shape and range.
    """
    shown = np.asarray(images, np.float32)
    wanted = ("units", *("k",) * (axes - 4), "height", "width", "channels")
    if shown.ndim == axes and not shown.size:
        raise ValueError(
            f"{call}: `{name}` holds no picture; its shape is {shown.shape}."
        )
    if shown.ndim != axes or shown.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"{call}: `{name}` must be pictures ({', '.join(wanted)}) with one channel "
            f"or three, or four with the opacity last, and has shape {shown.shape}.\n"
            f"Choose what to show, such as `{name}[..., :3]`, or all in false colors, "
            f"`jaxinterp.plot.false_colors({name})`."
        )
    numbers = shown[~np.isnan(shown)]
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    # Resized and half-precision pictures leave the range by rounding.
    if not (low >= -1e-2 and high <= 1 + 1e-2):
        raise ValueError(
            f"{call}: `{name}` must be in [0, 1], and is in [{low:g}, {high:g}].\n"
            "Undo what the model's preprocessing did, `preprocess.inverse(inputs)`; of "
            f"8 bits write `{name} / 255`."
        )
    shown = np.clip(shown, 0, 1)
    if shown.shape[-1] < 4:
        return shown
    colors, opacity = shown[..., :3], shown[..., 3:]
    return opacity * colors + (1 - opacity)


def _columns(columns: int | None, count: int, call: str) -> int:
    if columns is None:
        return int(np.ceil(np.sqrt(count)))
    return checked_integer("columns", columns, 1, call=call)


def _wrapped(titles: Sequence[str], inches: float) -> tuple[list[str], float]:
    """Returns titles in lines as wide as there is room, and how high they are."""
    wrapped = [
        "\n".join(part for line in title.splitlines() for part in _lines(line, inches))
        for title in titles
    ]
    lines = max((title.count("\n") + 1 for title in wrapped), default=0)
    return wrapped, _LINE * lines + 0.08 if lines else 0.0


def _lines(line: str, inches: float) -> list[str]:
    """Breaks a line between words, and within a word that has no room by itself."""
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if _width(longer) <= inches:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and _width(lines[-1] + letter) > inches:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _width(text: str) -> float:
    """Inches of a line; on a screen it may be a twentieth wider."""
    font = FontProperties(size=_POINTS)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.05 * width / 72


def checked_names(call: str, names: Any, count: int, what: str) -> list[str]:
    """Returns a text for each picture.

    Args:
        call: the function that was called.
        names: the texts, in a sequence or an array.
        count: of the pictures.
        what: the texts are called.

    Raises:
        ValueError: if there are more or fewer, or one is no text.
    """
    many = isinstance(names, Sequence) or (isinstance(names, np.ndarray) and names.ndim)
    if not many or len(names) != count:
        given = f"{len(names)} {what}" if many else repr(names)
        raise ValueError(
            f"{call}: there are {count} pictures and {given}. Write a text for each in "
            f"`{what}`."
        )
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"{call}: `{what}` are texts, and one is {name!r}. Write "
                f"`{what}=[str(name) for name in {what}]`."
            )
    return [str(name) for name in names]


def _check_size(size: Any, call: str) -> None:
    if not is_real(size) or size <= 0:
        raise ValueError(f"{call}: `size` is a number of inches, and is {size!r}.")


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width + 2 * _EDGE - _GAP, height + 2 * _EDGE - _GAP))


def _place(
    figure: Figure, corner: tuple[float, float], size: tuple[float, float]
) -> Any:
    """Adds axes at inches from the upper left corner."""
    width, height = figure.get_size_inches()
    left, top = corner[0] + _EDGE, corner[1] + _EDGE
    return figure.add_axes(
        (
            left / width,
            1 - (top + size[1]) / height,
            size[0] / width,
            size[1] / height,
        )
    )


def _show(axes: Any, picture: np.ndarray) -> None:
    if np.isnan(picture).any():
        axes.text(0.5, 0.5, "NaN", ha="center", va="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    colors = "gray" if picture.shape[-1] == 1 else None
    shown = picture[..., 0] if picture.shape[-1] == 1 else picture
    axes.imshow(
        shown, interpolation="nearest", cmap=colors, vmin=0, vmax=1, aspect="auto"
    )
    axes.set_axis_off()
