"""Images as files, one file for each."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxinterp.plot.checked_images import Names, checked_images, checked_names
from jaxinterp.types import Images


class _Format(NamedTuple):
    """A format of image files.

    Attributes:
        name: what Pillow calls the format.
        has_opacity: whether images of four channels keep the last, their opacity.
        options: how Pillow should write the file.
    """

    name: str
    has_opacity: bool
    options: Mapping[str, Any]


_FORMATS = {
    "png": _Format("PNG", True, {}),
    "tif": _Format("TIFF", True, {}),
    "tiff": _Format("TIFF", True, {}),
    "webp": _Format("WEBP", True, {"lossless": True, "exact": True}),
    "bmp": _Format("BMP", False, {}),
    "jpg": _Format("JPEG", False, {"quality": 95, "subsampling": 0}),
    "jpeg": _Format("JPEG", False, {"quality": 95, "subsampling": 0}),
}


def save_images(
    folder: str | os.PathLike[str],
    images: Images,
    *,
    names: Names | None = None,
    format: str = "png",
) -> list[Path]:
    """Writes images to files, pixel by pixel: for other programs, or a paper.

    Each value is rounded to the nearest of 256 levels. Nothing is written before all
    images are encoded.

    Args:
        folder: the folder of the files, which is made if it does not exist.
        images: `(batch, height, width, channels)` with one channel or three, in [0, 1];
            a fourth is opacity.
        names: the name of each file without its ending; numbers with leading zeros by
            default. Existing files are replaced. Names that differ in case alone are
            one file on some systems.
        format: the ending of the files. `"png"`, `"tif"` and `"webp"` keep every level
            and the opacity, `"bmp"` every level; `"jpg"` does not. In a format
            without opacity, images of four channels are laid over white.

    Returns:
        The paths of the files.

    Raises:
        OSError: if a file cannot be written; the files before it are written then.
        ValueError: if the images are not of that shape and range, or too large for the
            format; if there is no such format; if there is not one name for each
            image; or if a name is used twice or cannot be that of a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = save_images(folder, np.zeros((12, 8, 8, 3)))
        >>> [path.name for path in paths[::11]]
        ['00.png', '11.png']
    """
    opaque = checked_images(images, "save_images", "images", 4)
    pixels = np.asarray(images, np.float32)
    if np.isnan(pixels).any():
        number = int(np.isnan(pixels).any(axis=(1, 2, 3)).argmax())
        raise ValueError(f"save_images: image {number} holds NaN.")
    kind = _FORMATS.get(format.lower()) if isinstance(format, str) else None
    if kind is None:
        raise ValueError(
            f"save_images: `format` is one of {', '.join(map(repr, _FORMATS))}, and is "
            f"{format!r}."
        )
    pixels = np.clip(pixels if kind.has_opacity else opaque, 0, 1)
    paths = [Path(folder, f"{name}.{format}") for name in _names(names, len(pixels))]
    files = [encoded(image, kind.name, **kind.options) for image in pixels]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    return paths


def encoded(image: np.ndarray, format: str, **options: Any) -> bytes:
    """Returns the bytes of an image file.

    Args:
        image: `(height, width, channels)` in [0, 1], with one channel, three or four.
        format: what Pillow calls the format of the file, such as `"PNG"`.
        **options: how Pillow should write the file.
    """
    levels = np.round(image * 255).astype(np.uint8)
    levels = levels[..., 0] if levels.shape[-1] == 1 else levels
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format, **options)
    return file.getvalue()


def _names(names: Any, n_images: int) -> list[str]:
    if names is None:
        digits = len(str(n_images - 1))
        return [f"{number:0{digits}}" for number in range(n_images)]
    names = checked_names("save_images", names, n_images, "names")
    for name in names:
        is_bare = name == Path(name).name and name not in ("", "..")
        if not is_bare or any(letter in name for letter in "\\\n\0"):
            raise ValueError(
                f"save_images: `names` are names of files in the folder, and one is "
                f"{name!r}."
            )
        if names.count(name) > 1:
            raise ValueError(f"save_images: two images have the name {name!r}.")
    return names
