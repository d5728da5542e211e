"""A page of HTML that shows what every unit looks for, in one file."""

from __future__ import annotations

import html
import string
from typing import Any

import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.plot.checked_images import Names
from jaxinterp.plot.example_images import checked_units
from jaxinterp.plot.html_image import html_image, rendering
from jaxinterp.types import Images

# What differs from page to page is a variable, and event handlers look for the page
# that encloses them, so that a notebook can show several pages.
_PAGE = string.Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>
.jaxinterp-features { font: 13px sans-serif; }
.jaxinterp-features .units { display: flex; flex-wrap: wrap; gap: 12px; }
.jaxinterp-features figure { margin: 0; }
.jaxinterp-features figcaption { overflow-wrap: anywhere; white-space: pre-line;
  max-width: calc(var(--side) * var(--caption)); }
.jaxinterp-features .images { display: flex; gap: 2px; }
.jaxinterp-features .unit { height: var(--side); image-rendering: var(--unit); }
.jaxinterp-features .examples { display: grid; gap: 2px; height: var(--side);
  grid-template-columns: repeat(var(--columns), auto); }
.jaxinterp-features .example { image-rendering: var(--example);
  height: calc((var(--side) + 2px) / var(--rows) - 2px); }
.jaxinterp-features .nan { display: grid; place-items: center; background: #eee; }
</style>
</head>
<body>
<div class="jaxinterp-features" style="--side: ${side}px; --columns: $columns;
  --rows: $rows; --caption: $caption; --unit: $unit; --example: $example">
<h3>$title</h3>
<p>
<label>Show <input type="search" placeholder="a part of the name" oninput="
  const text = this.value.toLowerCase();
  for (const unit of this.closest('.jaxinterp-features').querySelectorAll('figure'))
    unit.hidden = !unit.title.toLowerCase().includes(text);"></label>
<label>Size <input type="range" min="$least" max="$most" value="$side" oninput="
  this.closest('.jaxinterp-features').style.setProperty('--side', this.value + 'px');">
</label>
</p>
<div class="units">
$units
</div>
</div>
</body>
</html>
""")


def feature_page(
    images: Images,
    examples: Images | Any | None = None,
    *,
    dataset: Images | Any | None = None,
    names: Names | None = None,
    title: str = "Features",
    side: int = 128,
    quality: int | None = 90,
) -> str:
    """Returns a page of HTML with the image of each unit, and real examples beside.

    The page needs no network and no other file. Units can be searched by parts of
    their names, whatever the case, and shown larger or smaller. Save the page with
    `pathlib.Path("features.html").write_text(page)`, or show it in a notebook with
    `IPython.display.HTML(page)`.

    Args:
        images: one image for each unit, `(units, height, width, channels)` with one
            channel or three, in [0, 1]. Instead of an image that holds NaN, here or
            among the examples, the page has an empty field that says so.
        examples: what excites each unit: what `dataset_examples` returned, of which the
            `top` is shown, or another sort of it, such as its `bottom`; or images
            `(units, k, height, width, channels)` in [0, 1]. `None` for a page without
            examples.
        dataset: the images that `dataset_examples` had, in [0, 1]: one array or an
            iterable of batches, which is read once.
        names: the name of each unit, a text or an integer, written above its image;
            `Scorecard.captions` also say how good the images are. By default those of
            the examples, such as `"Conv_1:3"`, or numbers.
        title: the heading of the page.
        side: height at which an image is shown at first, in pixels of the screen; small
            images are enlarged pixel by pixel, large ones are reduced smoothly.
        quality: the quality of JPEG files, from 1 to 95; `None` for PNG, which is
            exact, and larger.

    Returns:
        The text of the page, in ASCII.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the images.
        ValueError: if the images are not of that shape and range; if `images`,
            `examples` and `names` are not of equally many units; if examples that are
            numbers of images lack their `dataset`; or if a number is not in its range.

    Example:
        >>> page = feature_page(np.zeros((2, 8, 8, 3)), names=["conv:0", "conv:1"])
        >>> page.count("<img"), "conv:1" in page
        (2, True)
    """
    units = checked_units("feature_page", images, examples, dataset, names)
    pixels = units.images
    groups: Any = [()] * len(pixels) if units.examples is None else units.examples
    if not isinstance(title, str):
        raise ValueError(f"feature_page: `title` is a text, and is {title!r}.")
    side = checked_integer("side", side, 1, call="feature_page")
    if quality is not None:
        quality = checked_integer("quality", quality, 1, call="feature_page")
        if quality > 95:
            raise ValueError(
                f"feature_page: `quality` goes up to 95, and is {quality}. Write "
                "`quality=None` for images that are exact."
            )
    n_examples = len(groups[0])
    columns = max(int(np.ceil(np.sqrt(n_examples))), 1)
    rows = max(-(-n_examples // columns), 1)
    shown = zip(units.names, pixels, groups, strict=True)
    page = _PAGE.substitute(
        title=html.escape(title),
        side=side,
        least=min(side, 32),
        most=max(side, 512),
        columns=columns,
        rows=rows,
        caption=1 if examples is None else 2,
        unit=rendering(pixels.shape[1], side),
        example=rendering(groups.shape[2] if n_examples else 1, side // rows),
        units="\n".join(_unit(*unit, quality) for unit in shown),
    )
    # So it can be written in any encoding.
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _unit(name: str, image: np.ndarray, group: Any, quality: int | None) -> str:
    first = html_image(image, "unit", name, quality)
    examples = "".join(html_image(one, "example", name, quality) for one in group)
    examples = f'<div class="examples">{examples}</div>' if len(group) else ""
    return (
        f'<figure title="{html.escape(" ".join(name.split()))}">'
        f"<figcaption>{html.escape(name)}</figcaption>"
        f'<div class="images">{first}{examples}</div></figure>'
    )
