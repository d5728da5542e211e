"""A text whose tokens are colored by what each contributed."""

from __future__ import annotations

import dataclasses
import html
import unicodedata
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxinterp.checks import checked_positive
from jaxinterp.plot.checked_images import Names, checked_names, checked_numbers
from jaxinterp.plot.heatmap import Reduction, heatmap, reduce_channels
from jaxinterp.table import cell, format_table

_BAR = 20  # letters of the longest bar
_EDGE, _GAP, _LINE = 0.1, 0.1, 0.28  # inches around, between tokens, and of a line
_PAGE = "font: 15px/2 sans-serif; overflow-wrap: anywhere"


@dataclasses.dataclass(frozen=True, eq=False)
class ColoredText:
    """A text that a notebook shows in colors, and that prints as a table.

    Attributes:
        texts: the tokens.
        relevance: one number for each token, in the units of the attributions.
        colors: the color of each token, `(tokens, 3)`, in [0, 1].
    """

    texts: tuple[str, ...]
    relevance: np.ndarray
    colors: np.ndarray

    @property
    def html(self) -> str:
        """The colored tokens as HTML in ASCII, which needs no other file."""
        spans = map(_span, self.texts, self.relevance, self.colors)
        page = f'<div dir="auto" style="{_PAGE}">{" ".join(spans)}</div>'
        return page.encode("ascii", "xmlcharrefreplace").decode("ascii")

    def figure(self, width: float = 6.0) -> Figure:
        """Draws the colored tokens in lines, as a matplotlib figure.

        Args:
            width: the width of the figure in inches, where lines are broken.

        Returns:
            A matplotlib figure: `figure.savefig("text.pdf")`.

        Raises:
            ValueError: if a token is written from right to left, which matplotlib would
                draw in the wrong order; or if the width is not positive.
        """
        checked_positive("width", width, call="figure")
        for text in self.texts:
            if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text):
                raise ValueError(
                    f"figure: {text!r} is written from right to left, which matplotlib "
                    "does not draw.\nA browser does: write `colored.html` to a file."
                )
        figure = Figure(figsize=(width, 1))
        canvas = FigureCanvasAgg(figure)
        x, line, places = _EDGE, 0, []
        labels = [figure.text(0, 0, visible(t), parse_math=False) for t in self.texts]
        for label in labels:
            label.set_fontsize(10)
            box = label.get_window_extent(canvas.get_renderer())
            size = box.width / figure.dpi
            if x > _EDGE and x + size + _EDGE > width:
                x, line = _EDGE, line + 1
            places.append((x, line))
            x += size + _GAP
        height = _LINE * (line + 1) + 2 * _EDGE
        figure.set_size_inches(width, height)
        for label, (x, line), color in zip(labels, places, self.colors, strict=True):
            y = height - _EDGE - _LINE * (line + 0.7)
            label.set_position((x / width, y / height))
            label.set_color("white" if _is_dark(color) else "black")
            label.set_bbox({"facecolor": color, "edgecolor": "none", "pad": 2})
        return figure

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        largest = np.abs(self.relevance).max() or 1.0
        rows = []
        for text, value in zip(self.texts, self.relevance, strict=True):
            bar = ("+" if value > 0 else "-") * round(_BAR * abs(value) / largest)
            rows.append((visible(text), cell(value, "+.3g"), bar))
        return format_table(("token", "relevance", ""), rows, right=(1,))


def tokens(
    texts: Names,
    relevance: Any,
    *,
    reduction: Reduction = "sum",
    percentile: float = 100.0,
    colors: str = "RdBu_r",
) -> ColoredText:
    r"""Returns a text whose tokens are colored by their relevance.

    The range is $[-m, m]$, where $m$ is a percentile of the magnitudes in this text:
    color tells the sign, red raises the score and blue lowers it, and strength compares
    within one text but not between texts, as in `heatmap`. A notebook shows the colors;
    `print` writes a table; `pathlib.Path("text.html").write_text(colored.html)` saves a
    file for a browser.

    Args:
        texts: the tokens of one text, in their order, as the tokenizer spells them.
        relevance: the attributions of these tokens: `(tokens,)`, or `(tokens,
            features)` as attributions of an embedding are, `attributions[0]` for the
            first text of a batch.
        reduction: how the features of a token become one number, see
            `reduce_channels`.
        percentile: which percentile of the magnitudes is $m$; what exceeds it gets the
            full color, too.
        colors: the name of a diverging color map of matplotlib.

    Returns:
        The colored text.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the relevance.
        ValueError: if there is not one relevance for each token, it holds NaN or
            infinity, or a percentile is out of range.

    Example:
        >>> print(tokens(["a", "fine", "mess"], np.array([0.0, 2.0, -1.0])))
        token  relevance
        --------------------------------------
        a             +0
        fine          +2  ++++++++++++++++++++
        mess          -1  ----------
    """
    values = checked_numbers(relevance, "tokens", "relevance", np.float64)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(
            "tokens: `relevance` is that of one text, (tokens,) or (tokens, features), "
            f"and has shape {values.shape}.\nOf a batch choose a text, `relevance[0]`."
        )
    if isinstance(texts, str) and len(texts) != len(values):
        raise ValueError(
            f"tokens: `texts` is one text, {texts!r}. Write a list of its tokens, such "
            "as `texts.split()`."
        )
    names = checked_names("tokens", texts, len(values), "texts", "numbers")
    picture = values[None, None]
    shades = heatmap(
        picture, reduction=reduction, percentile=percentile, colors=colors
    )[0, 0]
    return ColoredText(tuple(names), reduce_channels(picture, reduction)[0, 0], shades)


def visible(text: str) -> str:
    """Returns a token in which line breaks can be seen.

    Args:
        text: the token.
    """
    return text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}")


def _span(text: str, value: float, color: np.ndarray) -> str:
    red, green, blue = (round(255 * float(part)) for part in color)
    is_dark = _is_dark(color)
    style = (
        f"background: rgb({red}, {green}, {blue}); color: "
        f"{'white' if is_dark else 'black'}; padding: 2px 3px; white-space: pre-wrap"
    )
    shown = html.escape(visible(text))
    return f'<span title="{value:+.3g}" style="{style}">{shown}</span>'


def _is_dark(color: np.ndarray) -> bool:
    return bool(color @ np.array([0.299, 0.587, 0.114]) < 0.5)
