"""A page of HTML that shows what a layer sees in an image, position by position."""

from __future__ import annotations

import html
import json
import string
from typing import Any, NamedTuple

import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.plot.checked_images import (
    Names,
    checked_images,
    checked_names,
    checked_numbers,
)
from jaxinterp.plot.html_image import html_image, rendering
from jaxinterp.types import Images

# Numbers lie in the element itself, and its handler finds them there, so that a
# notebook can show several pages.
_PAGE = string.Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>
.jaxinterp-activations { font: 13px sans-serif; }
.jaxinterp-activations .panels { display: flex; flex-wrap: wrap; gap: 16px; }
.jaxinterp-activations .panel { position: relative; height: var(--side);
  aspect-ratio: var(--ratio); }
.jaxinterp-activations .input { width: 100%; height: 100%;
  image-rendering: var(--input); }
.jaxinterp-activations .grid { position: absolute; inset: 0; display: grid;
  grid-template: repeat($rows, 1fr) / repeat($columns, 1fr); }
.jaxinterp-activations .place { display: grid; place-items: center; min-width: 0;
  min-height: 0; outline: 1px solid #8884; outline-offset: -1px; }
.jaxinterp-activations .place.chosen { outline: 2px solid #000; z-index: 1; }
.jaxinterp-activations .cell { image-rendering: var(--cell); width: 100%;
  display: block; }
.jaxinterp-activations .parts { display: flex; flex-wrap: wrap; gap: 8px; flex: 1;
  align-content: flex-start; }
.jaxinterp-activations figure { margin: 0; width: 112px; }
.jaxinterp-activations figure.shown { outline: 2px solid #000; }
.jaxinterp-activations .icon { width: 100%; image-rendering: var(--icon); }
.jaxinterp-activations .bar { height: 6px; }
.jaxinterp-activations .nan { background: #eee; width: 100%; }
</style>
</head>
<body>
<div class="jaxinterp-activations" data-maps="$maps" data-largest="$largest"
  data-top="$top" style="--side: ${side}px; --ratio: $ratio; --input: $input;
  --cell: $cell; --icon: $icon" onmouseover="
  const maps = (this.maps ??= JSON.parse(this.dataset.maps));
  const largest = +this.dataset.largest, top = +this.dataset.top;
  const color = (v, size) =>
    (v < 0 ? 'rgba(33, 102, 172, ' : 'rgba(178, 24, 43, ') + size + ')';
  const parts = [...this.querySelectorAll('figure')];
  const place = event.target.closest('.place'), part = event.target.closest('figure');
  if (part) {
    const map = maps[part.dataset.part];
    parts.forEach(f => f.classList.toggle('shown', f === part));
    this.querySelector('.input').style.filter = 'grayscale(1)';
    for (const p of this.querySelectorAll('.overlay .place')) {
      const v = map[p.dataset.place];
      p.style.background = color(v, 0.8 * Math.min(Math.abs(v) / largest, 1));
    }
  }
  if (place) {
    this.querySelector('.input').style.filter = '';
    for (const other of this.querySelectorAll('.place')) other.style.background = '';
    parts.forEach(f => f.classList.remove('shown'));
    const p = place.dataset.place, size = f => Math.abs(maps[f.dataset.part][p] ?? 0);
    for (const other of this.querySelectorAll('.place'))
      other.classList.toggle('chosen', other.dataset.place === p);
    parts.sort((a, b) => size(b) - size(a)).forEach((f, rank) => {
      const v = maps[f.dataset.part][p];
      f.style.order = rank;
      f.hidden = rank >= top;
      f.querySelector('.value').textContent = v === null ? 'NaN' : v;
      const bar = f.querySelector('.bar');
      bar.style.width = 100 * Math.min(size(f) / largest, 1) + '%';
      bar.style.background = color(v, 1);
    });
  }">
<h3>$title</h3>
<p>Point at a place: the $top strongest of $count at that place come first. Point at one
of them: it colors the places, red above 0 and blue below. All bars and colors have one
scale, and end at $largest.</p>
<div class="panels">
<div class="panel">$image<div class="grid overlay">$places</div></div>
$cells
<div class="parts">
$parts
</div>
</div>
</div>
</body>
</html>
""")


class _Layer(NamedTuple):
    """What is known of the parts and places of a layer.

    Attributes:
        names: the name of each part.
        values: for each part the number at each place; `None` where it is NaN.
        columns: how many places are in a row.
        peak: the number of the place that is shown first.
    """

    names: list[str]
    values: list[list[float | None]]
    columns: int
    peak: int

    def ranked(self, place: int) -> list[int]:
        """Returns the numbers of the parts, those with the largest values first."""
        numbers = range(len(self.names))
        return sorted(numbers, key=lambda i: -abs(self.values[i][place] or 0))


def activation_page(
    image: Images,
    maps: Any,
    icons: Images | None = None,
    *,
    cells: Images | None = None,
    sizes: Any = None,
    names: Names | None = None,
    top: int = 8,
    title: str = "Activations",
    side: int = 384,
    quality: int | None = 90,
) -> str:
    """Returns a page of HTML with the parts of a layer, and where each is active.

    Parts are what a layer is divided into: channels, groups of neurons, directions. The
    page names the strongest parts of the place that one points at, and the places of
    the part that one points at. So it shows a semantic dictionary (`maps` are
    activations), neuron groups (`maps` are their places), or an attribution (`maps` are
    contributions). It needs no network and no other file, shows the place of the
    largest number where nothing can be pointed at, and can be saved with
    `pathlib.Path("page.html").write_text(page)`.

    Args:
        image: the image that the model saw, `(height, width, channels)` with one
            channel or three, in [0, 1].
        maps: a number for each part and place, `(parts, rows, columns)`: of activations
            `(rows, columns, channels)` write `numpy.moveaxis(activations, -1, 0)`.
        icons: what each part looks for, `(parts, height, width, channels)` in [0, 1].
        cells: an image of each place, beside the image, `(rows, columns, height, width,
            channels)` in [0, 1], such as those of `activation_grid`.
        sizes: how much each cell has to say, `(rows, columns)`, not negative: the area
            of its image, relative to the largest. All are equal by default.
        names: the name of each part, a text or an integer; numbers by default.
        top: how many parts are shown at once.
        title: the heading of the page: model, layer, and what the numbers are.
        side: the height of the image in pixels of the screen.
        quality: the quality of JPEG files, from 1 to 95; `None` for PNG.

    Returns:
        The text of the page, in ASCII. Numbers are rounded to four digits.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the arrays.
        ValueError: if shapes or ranges are not those above, there are not equally many
            parts or places of all, or a number is not in its range.

    Example:
        >>> maps = np.array([[[0.0, 1.0]], [[3.0, 0.0]]])
        >>> page = activation_page(np.zeros((8, 16, 3)), maps, names=["eye", "fur"])
        >>> page.count("<figure"), page.index(">fur") < page.index(">eye")
        (2, True)
    """
    call = "activation_page"
    if np.ndim(image) != 3:
        raise ValueError(
            f"{call} shows one image, (height, width, channels), and `image` has shape "
            f"{np.shape(image)}. Write `image[0]` of a batch."
        )
    (pixels,) = checked_images(np.asarray(image)[None], call, "image", 4)
    numbers = checked_numbers(maps, call, "maps", np.float64)
    if numbers.ndim != 3 or not numbers.size:
        raise ValueError(
            f"{call}: `maps` are (parts, rows, columns), and have shape "
            f"{numbers.shape}.\nOf activations (rows, columns, channels) write "
            "`numpy.moveaxis(activations, -1, 0)`."
        )
    count, rows, columns = numbers.shape
    pictures = _checked_icons(icons, count)
    words = checked_names(
        call, range(count) if names is None else names, count, "names", "parts"
    )
    top = checked_integer("top", top, 1, call=call)
    side = checked_integer("side", side, 1, call=call)
    magnitudes = np.where(np.isfinite(numbers), np.abs(numbers), 0)
    peak = int(magnitudes.max(axis=0).argmax())
    largest = float(f"{magnitudes.max() or 1.0:.4g}")
    flat = [[_rounded(v) for v in row] for row in numbers.reshape(count, -1)]
    layer = _Layer(words, flat, columns, peak)
    height, width = pixels.shape[:2]
    text = _PAGE.substitute(
        title=html.escape(title),
        maps=json.dumps(layer.values, separators=(",", ":")),
        largest=largest,
        top=min(top, count),
        count=count,
        side=side,
        ratio=f"{width} / {height}",
        rows=rows,
        columns=columns,
        input=rendering(height, side),
        cell=rendering(1 if cells is None else np.shape(cells)[-3], side // rows),
        icon=rendering(1 if pictures is None else pictures.shape[1], 112),
        image=html_image(pixels, "input", "the image", quality),
        places=_places(layer, [""] * rows * columns),
        cells=_cells(layer, cells, sizes, (rows, columns), quality),
        parts=_parts(layer, pictures, largest, top, quality),
    )
    # So it can be written in any encoding.
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _checked_icons(icons: Any, count: int) -> np.ndarray | None:
    """The image of each part, if there are any."""
    if icons is None:
        return None
    pictures = checked_images(icons, "activation_page", "icons", 4)
    if len(pictures) != count:
        raise ValueError(
            f"activation_page: there are {count} maps and {len(pictures)} icons. Give "
            "one for each part."
        )
    return pictures


def _rounded(value: float) -> float | None:
    """A number of four digits; `None`, which JSON has, for NaN and infinity."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _places(layer: _Layer, contents: list[str]) -> str:
    """The fields of all places, each with the names of what is strongest there."""
    fields = []
    for place, content in enumerate(contents):
        strongest = ", ".join(
            f"{layer.names[i]} {layer.values[i][place]}"
            for i in layer.ranked(place)[:3]
        )
        row, column = divmod(place, layer.columns)
        label = html.escape(f"row {row}, column {column}: {strongest}")
        chosen = " chosen" if place == layer.peak else ""
        fields.append(
            f'<div class="place{chosen}" data-place="{place}" title="{label}">'
            f"{content}</div>"
        )
    return "".join(fields)


def _cells(
    layer: _Layer, cells: Any, sizes: Any, shape: tuple[int, int], quality: int | None
) -> str:
    """The panel with an image of each place, if there are any."""
    if cells is None:
        return ""
    images = checked_images(cells, "activation_page", "cells", 5)
    areas = np.ones(shape) if sizes is None else np.asarray(sizes, np.float64)
    if images.shape[:2] != shape or areas.shape != shape or not areas.min() >= 0:
        raise ValueError(
            f"activation_page: there are {shape} places, `cells` of {images.shape[:2]} "
            f"and `sizes` of {areas.shape}, which are not negative. Give one for each."
        )
    sides = 100 * np.sqrt(areas / (areas.max() or 1.0)).ravel()
    pixels = images.reshape(-1, *images.shape[2:])
    contents = [
        f'<div style="width: {side:.1f}%">'
        f"{html_image(image, 'cell', f'what is seen at place {i}', quality)}</div>"
        for i, (image, side) in enumerate(zip(pixels, sides, strict=True))
    ]
    grid = _places(layer, contents)
    return f'<div class="panel"><div class="grid">{grid}</div></div>'


def _parts(
    layer: _Layer,
    pictures: np.ndarray | None,
    largest: float,
    top: int,
    quality: int | None,
) -> str:
    """The parts, those that are strongest at the place shown first in front."""
    figures = []
    for rank, i in enumerate(layer.ranked(layer.peak)):
        name, value = layer.names[i], layer.values[i][layer.peak]
        width = 100 * min(abs(value or 0) / largest, 1)
        color = "33, 102, 172" if (value or 0) < 0 else "178, 24, 43"
        icon = ""
        if pictures is not None:
            icon = html_image(pictures[i], "icon", name, quality)
        figures.append(
            f'<figure data-part="{i}"{" hidden" if rank >= top else ""}>'
            f"<figcaption>{html.escape(name)}: "
            f'<span class="value">{"NaN" if value is None else value}</span>'
            f'</figcaption><div class="bar" style="width: {width:.1f}%; '
            f'background: rgb({color})"></div>{icon}</figure>'
        )
    return "\n".join(figures)
