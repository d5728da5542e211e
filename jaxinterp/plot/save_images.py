"""Pictures as files, one each."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxinterp.plot.pictures import checked_names, checked_pictures


class _Kind(NamedTuple):
    """A kind of file.

    Attributes:
        name: that Pillow has for it.
        has_opacity: whether pictures of four channels keep the last.
        options: of Pillow.
    """

    name: str
    has_opacity: bool
    options: Mapping[str, Any]


_KINDS = {
    "png": _Kind("PNG", True, {}),
    "tif": _Kind("TIFF", True, {}),
    "tiff": _Kind("TIFF", True, {}),
    "webp": _Kind("WEBP", True, {"lossless": True, "exact": True}),
    "bmp": _Kind("BMP", False, {}),
    "jpg": _Kind("JPEG", False, {"quality": 95, "subsampling": 0}),
    "jpeg": _Kind("JPEG", False, {"quality": 95, "subsampling": 0}),
}


def save_images(
    folder: str | os.PathLike[str],
    images: Any,
    *,
    names: Sequence[str] | np.ndarray | None = None,
    format: str = "png",
) -> list[Path]:
    """Writes pictures to files, pixel by pixel: for other programs, or a paper.

    Each value is rounded to the nearest of 256 levels. Nothing is written before all
    pictures are encoded.

    Args:
        folder: is made where it does not exist.
        images: `(batch, height, width, channels)` with one channel or three, in [0, 1];
            a fourth is opacity.
        names: of the files without an ending; numbers with leading zeros by default.
            Existing files are replaced. Names that differ in case alone are one file on
            some systems.
        format: the ending of the files. `"png"`, `"tif"` and `"webp"` keep every level
            and the opacity, `"bmp"` every level; `"jpg"` does not. Without opacity,
            white is seen behind.

    Returns:
        The paths of the files.

    Raises:
        OSError: if a file cannot be written; those before it were.
        ValueError: if the images are not of that shape and range, or too large for the
            format; if there is no such format; if there is not a name for each,
            different from the others, that a file can have.

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
    kind = _KINDS.get(format.lower()) if isinstance(format, str) else None
    if kind is None:
        raise ValueError(
            f"save_images: `format` is one of {', '.join(map(repr, _KINDS))}, and is "
            f"{format!r}."
        )
    shown = np.clip(shown if kind.has_opacity else opaque, 0, 1)
    paths = [Path(folder, f"{name}.{format}") for name in _names(names, len(shown))]
    files = [encoded(picture, kind.name, **kind.options) for picture in shown]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    return paths


def encoded(picture: np.ndarray, kind: str, **options: Any) -> bytes:
    """Returns the file of a picture.

    Args:
        picture: `(height, width, channels)` in [0, 1], with one channel, three or four.
        kind: Pillow's name of it.
        **options: of Pillow.
    """
    levels = np.round(picture * 255).astype(np.uint8)
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


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
