"""Images inside of a page of HTML, which then needs no other file."""

from __future__ import annotations

import base64
import html

import numpy as np

from jaxinterp.plot.save_images import encoded


def html_image(image: np.ndarray, kind: str, name: str, quality: int | None) -> str:
    """Returns the HTML of an image, or of an empty field that says it is NaN.

    Args:
        image: `(height, width, channels)` in [0, 1].
        kind: the class of the element, for style sheets.
        name: what the image shows, for those who cannot see it.
        quality: the quality of a JPEG file, from 1 to 95; `None` for PNG.
    """
    if np.isnan(image).any():
        height, width = image.shape[:2]
        ratio = f"{width} / {height}"
        return f'<div class="{kind} nan" style="aspect-ratio: {ratio}">NaN</div>'
    if quality is None:
        file = encoded(image, "PNG")
    else:
        # Colors of neighboring pixels are not averaged: an image may have few pixels.
        file = encoded(image, "JPEG", quality=quality, subsampling=0)
    data = base64.b64encode(file).decode()
    source = f"data:image/{'png' if quality is None else 'jpeg'};base64,{data}"
    return f'<img class="{kind}" alt="{html.escape(name)}" src="{source}">'


def rendering(pixels: int, side: int) -> str:
    """Returns how a browser scales an image: small ones are enlarged pixel by pixel.

    Args:
        pixels: the height of the image.
        side: the height at which it is shown.
    """
    return "pixelated" if pixels < side else "auto"
