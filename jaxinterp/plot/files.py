"""Pictures as files, one each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxinterp.plot.pictures import checked_names, checked_pictures


def save_images(
    folder: str | os.PathLike[str],
    images: Any,
    *,
    names: Sequence[str] | np.ndarray | None = None,
    format: str = "png",
) -> list[Path]:
    """Writes pictures to files, pixel by pixel: for other programs, or a paper.

    Each value is rounded to the nearest of 256 levels.

    Args:
        folder: is made where it does not exist.
        images: `(batch, height, width, channels)` with one channel or three, in [0, 1];
            a fourth is opacity, which a file keeps in the formats that have it (PNG,
            TIFF, WebP); in others white is seen behind.
        names: of the files without an ending; numbers with leading zeros by default.
            Existing files are replaced.
        format: of the files, and their ending: `"png"`, which changes nothing, `"jpg"`
            or another that Pillow writes.

    Returns:
        The paths of the files.

    Raises:
        ValueError: if the images are not of that shape and range, there is no such
            format, or there is not a name for each, different from the others, that a
            file can have.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = save_images(folder, np.zeros((12, 8, 8, 3)))
        >>> [path.name for path in paths[::11]]
        ['00.png', '11.png']
    """
    opaque = checked_pictures(images, "save_images", "images", 4)
    shown = np.asarray(images, np.float32)
    if np.isnan(shown).any():
        number = int(np.isnan(shown).any(axis=(1, 2, 3)).argmax())
        raise ValueError(f"save_images: picture {number} is NaN.")
    kind = _kind(format)
    if shown.shape[-1] < 4 or kind not in ("PNG", "TIFF", "WEBP"):
        shown = opaque
    levels = np.round(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    paths = [Path(folder, f"{name}.{format}") for name in _names(names, len(levels))]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, picture in zip(paths, levels, strict=True):
        gray = picture.shape[-1] == 1
        Image.fromarray(picture[..., 0] if gray else picture).save(path, format=kind)
    return paths


def _kind(format: Any) -> str:
    """What Pillow calls a format."""
    endings = Image.registered_extensions()
    kind = endings.get(f".{format}".lower()) if isinstance(format, str) else None
    if kind is None or kind not in Image.SAVE:
        raise ValueError(
            "save_images: `format` is the ending of a file of pictures, 'png' or "
            f"'jpg', and is {format!r}."
        )
    return kind


def _names(names: Any, count: int) -> list[str]:
    if names is None:
        digits = len(str(count - 1))
        return [f"{number:0{digits}}" for number in range(count)]
    names = checked_names("save_images", names, count, "names")
    for name in names:
        is_bare = name == Path(name).name and name not in ("", "..")
        if not is_bare or any(letter in name for letter in "\\\n\0"):
            raise ValueError(
                f"save_images: `names` are names of files in the folder, and one is "
                f"{name!r}."
            )
        if names.count(name) > 1:
            raise ValueError(f"save_images: two pictures have the name {name!r}.")
    return names
