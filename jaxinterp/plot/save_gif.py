"""Images one after another in an animated file."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from jaxinterp.checks import checked_integer, checked_real
from jaxinterp.plot.checked_images import checked_images, checked_numbers
from jaxinterp.types import Images


def save_gif(
    path: str | os.PathLike[str],
    images: Images,
    *,
    seconds: float = 0.1,
    enlarge: int = 1,
) -> None:
    """Writes images as the frames of an animated GIF, which is repeated forever.

    A GIF has 256 colors, so that the frames are close to the images and not the same;
    equal images in a row become one frame that is shown for longer.

    Args:
        path: the path of the file; an existing file is replaced.
        images: `(frames, height, width, channels)` with one channel or three, in
            [0, 1], such as the first image of each of `result.snapshots`; a fourth is
            opacity, over white.
        seconds: how long each frame is shown, in seconds, rounded to 1/100.
        enlarge: how many pixels wide and high each pixel becomes.

    Raises:
        ValueError: if the images are not of that shape and range, `seconds` is not
            between 0.01 and 600, or `enlarge` is no positive integer.

    Example:
        >>> import tempfile
        >>> frames = np.linspace(0, 1, 3)[:, None, None, None] * np.ones((3, 8, 8, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_gif(f"{folder}/brighter.gif", frames)
    """
    if isinstance(images, dict):
        raise ValueError(
            "save_gif: `images` is an array of frames, and was a dictionary. Of the "
            "first image write `[x[0] for x in result.snapshots.values()]`."
        )
    pixels = checked_numbers(images, "save_gif", "images")
    is_shape = pixels.ndim == 4 and pixels.shape[-1] in (1, 3, 4) and pixels.size
    # Half-precision images leave the range by rounding; NaN is in none.
    if not is_shape or not ((pixels >= -1e-2) & (pixels <= 1.01)).all():
        raise ValueError(
            "save_gif: `images` are (frames, height, width, channels) with one channel "
            f"or three, in [0, 1], and are {pixels.shape} in [{_range(pixels)}]."
        )
    pixels = checked_images(pixels, "save_gif", "images", 4)
    enlarge = checked_integer("enlarge", enlarge, 1, call="save_gif")
    seconds = checked_real("seconds", seconds, 0.01, 600, call="save_gif")
    levels = np.round(pixels * 255).astype(np.uint8)
    levels = levels.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    if levels.shape[-1] == 1:
        levels = levels.repeat(3, axis=-1)
    first, *rest = [Image.fromarray(frame) for frame in levels]
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=round(seconds * 1000),
        loop=0,
    )


def _range(values: np.ndarray) -> str:
    return f"{values.min():g}, {values.max():g}" if values.size else ""
