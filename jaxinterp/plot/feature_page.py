"""A page of a browser: what every unit looks for, in one file."""

from __future__ import annotations

import base64
import html
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.plot.pictures import checked_names, checked_pictures
from jaxinterp.plot.save_images import encoded

# What differs from page to page is a variable, and handlers look for the page around
# them, so that a notebook can show several.
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
.jaxinterp-features .pictures { display: flex; gap: 2px; }
.jaxinterp-features .unit { height: var(--side); image-rendering: var(--unit); }
.jaxinterp-features .examples { display: grid; gap: 2px; height: var(--side);
  grid-template-columns: repeat(var(--across), auto); }
.jaxinterp-features .example { image-rendering: var(--example);
  height: calc((var(--side) + 2px) / var(--down) - 2px); }
.jaxinterp-features .nan { display: grid; place-items: center; background: #eee; }
</style>
</head>
<body>
<div class="jaxinterp-features" style="--side: ${side}px; --across: $across;
  --down: $down; --caption: $caption; --unit: $unit; --example: $example">
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
    images: Any,
    examples: Any = None,
    *,
    names: Sequence[str] | np.ndarray,
    title: str = "Features",
    side: int = 128,
    quality: int | None = 90,
) -> str:
    """Returns a page of HTML with the picture of each unit, and real examples beside.

    All is in the page: it needs no network and no other file. Units can be searched by
    parts of their names, whatever the case, and their size be changed. Save it with
    `pathlib.Path("features.html").write_text(page)`, or show it in a notebook with
    `IPython.display.HTML(page)`.

    Args:
        images: one picture for each unit, `(units, height, width, channels)` with one
            channel or three, in [0, 1]. Of a picture that is NaN, here or among the
            examples, there is an empty field that says so.
        examples: what excites each unit, `(units, k, height, width, channels)` in [0,
            1]; `None` for none.
        names: of the units, written above, each a text; `Scorecard.captions` say how
            good their pictures are, too.
        title: written above all.
        side: height of a picture at first, in pixels of the screen; small ones are
            enlarged pixel by pixel, others smoothly.
        quality: of JPEG, from 1 to 95; `None` for PNG, which is exact, and larger.

    Returns:
        The page.

    Raises:
        ValueError: if the images are not of that shape and range, there are not as many
            of one as of the others, or a number is not in its range.

    Example:
        >>> page = feature_page(np.zeros((2, 8, 8, 3)), names=["conv:0", "conv:1"])
        >>> page.count("<img"), "conv:1" in page
        (2, True)
    """
    shown = checked_pictures(images, "feature_page", "images", 4)
    beside: Any = [()] * len(shown)
    if examples is not None:
        beside = checked_pictures(examples, "feature_page", "examples", 5)
    names = checked_names("feature_page", names, len(shown), "names")
    if len(shown) != len(beside):
        raise ValueError(
            f"feature_page: there are {len(shown)} pictures, and examples of "
            f"{len(beside)} units."
        )
    if not isinstance(title, str):
        raise ValueError(f"feature_page: `title` is a text, and is {title!r}.")
    side = checked_integer("side", side, 1, call="feature_page")
    if quality is not None:
        quality = checked_integer("quality", quality, 1, call="feature_page")
        if quality > 95:
            raise ValueError(
                f"feature_page: `quality` goes up to 95, and is {quality}. Write "
                "`quality=None` for pictures that are exact."
            )
    across = max(int(np.ceil(np.sqrt(len(beside[0])))), 1)
    down = max(-(-len(beside[0]) // across), 1)
    units = (_unit(*unit, quality) for unit in zip(names, shown, beside, strict=True))
    page = _PAGE.substitute(
        title=html.escape(title),
        side=side,
        least=min(side, 32),
        most=max(side, 512),
        across=across,
        down=down,
        caption=1 if examples is None else 2,
        unit=_rendering(shown.shape[1], side),
        example=_rendering(beside.shape[2] if len(beside[0]) else 1, side // down),
        units="\n".join(units),
    )
    # So it can be written in any encoding.
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _rendering(pixels: int, side: int) -> str:
    return "pixelated" if pixels < side else "auto"


def _unit(name: str, picture: np.ndarray, group: Any, quality: int | None) -> str:
    shown = _field(picture, "unit", name, quality)
    around = "".join(_field(one, "example", name, quality) for one in group)
    around = f'<div class="examples">{around}</div>' if len(group) else ""
    return (
        f'<figure title="{html.escape(" ".join(name.split()))}">'
        f"<figcaption>{html.escape(name)}</figcaption>"
        f'<div class="pictures">{shown}{around}</div></figure>'
    )


def _field(picture: np.ndarray, kind: str, name: str, quality: int | None) -> str:
    if np.isnan(picture).any():
        tall, wide = picture.shape[:2]
        return (
            f'<div class="{kind} nan" style="aspect-ratio: {wide} / {tall}">NaN</div>'
        )
    if quality is None:
        file = encoded(picture, "PNG")
    else:
        # Colors of neighboring pixels are not averaged: a picture may have few.
        file = encoded(picture, "JPEG", quality=quality, subsampling=0)
    data = base64.b64encode(file).decode()
    source = f"data:image/{'png' if quality is None else 'jpeg'};base64,{data}"
    return f'<img class="{kind}" alt="{html.escape(name)}" src="{source}">'
