"""A matrix of tokens by tokens in colors, to be read by pointing at its entries."""

from __future__ import annotations

import dataclasses
import html
import json
import string
from typing import Any

import numpy as np

from jaxinterp.plot.checked_images import Names, checked_names, checked_numbers
from jaxinterp.plot.heatmap import heatmap
from jaxinterp.plot.html_image import html_image
from jaxinterp.plot.tokens import visible

_CELL = 20  # pixels of the screen

# Numbers and texts lie in the element itself, and its handler finds them there, so that
# a notebook can show several matrices.
_PAGE = string.Template("""\
<div class="jaxinterp-matrix" data-values="$values" data-sources="$sources"
  data-targets="$targets" style="font: 13px sans-serif" onpointermove="
  const field = event.target.closest('[data-field]');
  if (!field) return;
  const box = field.getBoundingClientRect();
  const values = (this.values ??= JSON.parse(this.dataset.values));
  const sources = JSON.parse(this.dataset.sources);
  const targets = JSON.parse(this.dataset.targets);
  const at = (d, n) => Math.max(0, Math.min(n - 1, Math.floor(d / $cell)));
  const row = at(event.clientY - box.top, targets.length);
  const column = at(event.clientX - box.left, sources.length);
  const mark = field.querySelector('[data-mark]');
  mark.style.left = column * $cell + 'px';
  mark.style.top = row * $cell + 'px';
  mark.hidden = false;
  const text = [targets[row], sources[column], values[row][column]];
  this.querySelectorAll('[data-said]').forEach((e, i) => { e.textContent = text[i]; });
  " onpointerdown="this.onpointermove(event)">
<p style="margin: 4px 0; min-height: 1.5em"><bdi data-said>Row</bdi> &#8592;
<bdi data-said>column</bdi>: <b data-said>point at an entry</b></p>
<div style="overflow: auto; max-width: 100%; max-height: 85vh">
<div style="display: grid; grid-template-columns: max-content ${width}px; width:
  max-content; grid-template-rows: max-content ${height}px">
<div></div>
<div style="display: flex; align-items: flex-end">$columns</div>
<div>$rows</div>
<div data-field style="position: relative; width: ${width}px; height: ${height}px">
$image
<div data-mark hidden style="position: absolute; box-sizing: border-box; border: 2px
  solid black; pointer-events: none; width: ${cell}px; height: ${cell}px"></div>
</div></div></div></div>
""")


@dataclasses.dataclass(frozen=True, eq=False)
class TokenMatrix:
    """A matrix of tokens that a notebook shows in colors.

    Attributes:
        targets: the token of each row.
        sources: the token of each column.
        relevance: the numbers, `(target, source)`.
        colors: the color of each, `(target, source, 3)`, in [0, 1].
    """

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    relevance: np.ndarray
    colors: np.ndarray

    @property
    def html(self) -> str:
        """The matrix as HTML in ASCII, which needs no other file and no network."""
        n_rows, n_columns = self.relevance.shape
        image = html_image(self.colors, "matrix", "the matrix in colors", None)
        style = '<img style="width: 100%; height: 100%; image-rendering: pixelated" '
        values = [[float(f"{v:.3g}") for v in row] for row in self.relevance.tolist()]
        page = _PAGE.substitute(
            values=json.dumps(values, separators=(",", ":")),
            sources=_data(self.sources),
            targets=_data(self.targets),
            cell=_CELL,
            width=_CELL * n_columns,
            height=_CELL * n_rows,
            image=image.replace("<img ", style, 1),
            columns="".join(
                f'<div style="width: {_CELL}px; line-height: {_CELL}px; writing-mode: '
                f'vertical-rl; max-height: 9em; overflow: hidden; white-space: pre">'
                f"<bdi>{html.escape(visible(text))}</bdi></div>"
                for text in self.sources
            ),
            rows="".join(
                f'<div style="height: {_CELL}px; line-height: {_CELL}px; max-width: '
                f"9em; overflow: hidden; white-space: pre; padding-right: 4px; "
                f'text-align: right"><bdi>{html.escape(visible(text))}</bdi></div>'
                for text in self.targets
            ),
        )
        return page.encode("ascii", "xmlcharrefreplace").decode("ascii")

    def _repr_html_(self) -> str:
        return self.html


def token_matrix(
    targets: Names,
    sources: Names,
    relevance: Any,
    *,
    percentile: float = 100.0,
    colors: str = "RdBu_r",
) -> TokenMatrix:
    r"""Returns a matrix of targets by sources, colored by relevance.

    The range is $[-m, m]$, as that of `tokens`: red is above zero and blue below. Point
    at an entry to read its tokens and its number. A notebook shows the matrix;
    `pathlib.Path("matrix.html").write_text(matrix.html)` saves it.

    Args:
        targets: the token of each row: those that are explained, or that read.
        sources: the token of each column: those that contributed, or are read.
        relevance: the numbers, `(target, source)`, such as `matrix[0]` of
            `sequence_attribution` or `maps[0, head]` of `attention_maps`.
        percentile: which percentile of the magnitudes is $m$; what exceeds it gets the
            full color, too.
        colors: the name of a diverging color map of matplotlib.

    Returns:
        The colored matrix.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the relevance.
        ValueError: if it is no matrix with a row for each target and a column for each
            source, it holds NaN or infinity, or a percentile is out of range.

    Example:
        >>> matrix = token_matrix(["it"], ["a", "cat"], np.array([[0.1, 2.0]]))
        >>> matrix.html.count("<bdi>"), bool(matrix.colors[0, 1, 0] > 0.3)
        (3, True)
    """
    values = checked_numbers(relevance, "token_matrix", "relevance", np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(
            "token_matrix: `relevance` is one matrix, (target, source), and has shape "
            f"{values.shape}.\nOf a batch choose a text, `relevance[0]`, of maps of "
            "attention a head, `maps[0, head]`."
        )
    rows = checked_names("token_matrix", targets, len(values), "targets", "rows")
    names = checked_names(
        "token_matrix", sources, values.shape[1], "sources", "columns"
    )
    shades = heatmap(values[None, ..., None], percentile=percentile, colors=colors)[0]
    return TokenMatrix(tuple(rows), tuple(names), values, shades)


def _data(texts: tuple[str, ...]) -> str:
    """Texts as JSON that can stand in an attribute."""
    return html.escape(json.dumps([visible(text) for text in texts]))
