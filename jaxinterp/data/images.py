"""A folder of photographs as a stream of batches, in a fixed order."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from jaxinterp.checks import check_choice, checked_integer, is_integer

OnError = Literal["raise", "report"]
Fit = Literal["crop", "stretch"]

SUFFIXES = (
    *(".bmp", ".gif", ".jpeg", ".jpg", ".png"),
    *(".ppm", ".tif", ".tiff", ".webp"),
)
# Formats and modes (of Pillow) of gray images with 16 bits, in which white is 65,535.
# Images of 32-bit integers have the mode I, of floats F; in PNG and PPM, I is 16 bits.
DEEP = frozenset(
    {
        *(("PNG", "I;16"), ("PNG", "I"), ("PPM", "I")),
        *(("TIFF", "I;16"), ("TIFF", "I;16B")),
    }
)
# Numbers of TIFF tags, and a value of the last.
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0

# The largest integer of 32 bits.
LARGEST_LABEL = 2**31 - 1

# How many batches are read ahead while one is used.
AHEAD = 2


class Failure(NamedTuple):
    """A file that could not be read.

    Attributes:
        name: the path of the file within the folder.
        reason: the error of the decoder.
    """

    name: str
    reason: str


class ImageBatch(NamedTuple):
    """Some images of a folder.

    Attributes:
        images: RGB in [0, 1], float32.
        labels: the class of each image; `None` if the folder has no classes.
        names: the path of each file within the folder.
        failures: the files of this batch that could not be read.
    """

    images: Float[np.ndarray, "batch size size 3"]
    labels: Int[np.ndarray, " batch"] | None
    names: tuple[str, ...]
    failures: tuple[Failure, ...]


@dataclasses.dataclass(frozen=True)
class ImageBatches:
    """Batches of the images of a folder, read anew at every pass.

    Attributes:
        folder: the folder of the images.
        names: the path of each file within the folder, sorted.
        labels: the class of each file; `None` if the folder has no classes.
        class_names: the name of each class, sorted; `()` if labels are integers or
            absent.
        size: height and width of the images, in pixels.
        batch_size: how many files a batch has; the last may have fewer.
        fit: how images become square, `"crop"` or `"stretch"`.
        on_error: whether a file that cannot be read is an error, `"raise"`, or listed
            in the batch, `"report"`.
        workers: how many threads decode and resize.
        show_progress: whether each pass shows a progress bar.
    """

    folder: Path
    names: tuple[str, ...]
    labels: tuple[int, ...] | None
    class_names: tuple[str, ...]
    size: int
    batch_size: int
    fit: Fit
    on_error: OnError
    workers: int
    show_progress: bool

    def __len__(self) -> int:
        """Returns the number of batches."""
        return -(-len(self.names) // self.batch_size)

    def __iter__(self) -> Iterator[ImageBatch]:
        """Reads the batches in order, some ahead, each file in a thread of a pool."""
        starts = range(0, len(self.names), self.batch_size)
        waiting: collections.deque[tuple[int, list[Future[Any]]]] = collections.deque()
        bar = tqdm(total=len(self.names), unit="image", disable=not self.show_progress)
        with ThreadPoolExecutor(self.workers) as pool, bar:
            try:
                for start in starts:
                    names = self.names[start : start + self.batch_size]
                    waiting.append((start, [pool.submit(self._read, n) for n in names]))
                    if len(waiting) > AHEAD:
                        yield self._batch(*waiting.popleft(), bar)
                while waiting:
                    yield self._batch(*waiting.popleft(), bar)
            finally:
                # After an error or a `break`, the remaining files are not needed.
                for _, futures in waiting:
                    for future in futures:
                        future.cancel()

    def _batch(self, start: int, futures: list[Future[Any]], bar: Any) -> ImageBatch:
        images, indices, failures = [], [], []
        for k, future in enumerate(futures, start):
            value = future.result()
            bar.update()
            if isinstance(value, Failure):
                failures.append(value)
            else:
                images.append(value)
                indices.append(k)
        if failures and self.on_error == "raise":
            raise ValueError(
                f"{self.folder / failures[0].name} cannot be read: "
                f"{failures[0].reason}\n"
                'Remove it, or write `on_error="report"` to go on without it.'
            )
        empty = np.zeros((0, self.size, self.size, 3), np.float32)
        labels = self.labels
        return ImageBatch(
            np.stack(images) if images else empty,
            None
            if labels is None
            else np.array([labels[k] for k in indices], np.int32),
            tuple(self.names[k] for k in indices),
            tuple(failures),
        )

    def _read(self, name: str) -> Float[np.ndarray, "size size 3"] | Failure:
        """Returns the image, or the failure: an error in a thread could get lost."""
        from PIL import Image, ImageOps

        side, path = (self.size, self.size), self.folder / name
        # A thread that opens a pipe would wait forever.
        if path.exists() and not path.is_file():
            return Failure(name, "it is no file, but a folder, a pipe or a device.")
        try:
            with Image.open(path) as file:
                upright = ImageOps.exif_transpose(file)
                if upright.mode == "F" or upright.mode.startswith("I"):
                    source, white = Image.fromarray(_deep_gray(file, upright)), 1
                else:
                    source, white = upright.convert("RGB"), 255
            if self.fit == "crop":
                image = ImageOps.fit(source, side, Image.Resampling.BILINEAR)
            else:
                image = source.resize(side, Image.Resampling.BILINEAR)
        except Exception as error:  # decoders raise anything on damaged files
            return Failure(name, f"{type(error).__name__}: {error}")
        pixels = np.asarray(image, np.float32) / np.float32(white)
        return np.stack(3 * [pixels], axis=-1) if pixels.ndim == 2 else pixels


def _deep_gray(file: Any, upright: Any) -> Float[np.ndarray, "height width"]:
    """Returns a gray image of 16 bits in [0, 1], which Pillow would clip to 8 bits."""
    if (file.format, file.mode) not in DEEP:
        raise ValueError(
            f"its pixels are of Pillow's mode {file.mode}, in a file of the format "
            f"{file.format}, and nothing says which number is white. Write it with 8 "
            "or 16 bits a channel."
        )
    tags = getattr(file, "tag_v2", {})
    (bits, *_) = tags.get(BITS_PER_SAMPLE, (16,))
    gray = np.asarray(upright.convert("I"), np.float32) / np.float32(2**bits - 1)
    return 1 - gray if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else gray


def image_batches(
    folder: str | Path,
    *,
    size: int = 224,
    batch_size: int = 32,
    label: Callable[[str], int | str] | None = None,
    fit: Fit = "crop",
    on_error: OnError = "raise",
    workers: int = 8,
    show_progress: bool = True,
) -> ImageBatches:
    """Streams the images of a folder and its subfolders as NumPy batches.

    The order is that of the sorted paths, whatever the number of threads, and the last
    batch keeps what is left. Memory grows with `batch_size`, not with the folder.
    Files without the suffix of an image are ignored; a file that has one and cannot be
    read is an error, or is reported, but never skipped silently. The same holds for
    images of floats or of 32-bit integers, which do not say which number is white.

    8 bits are divided by 255, 16 bits of a gray image by 65,535; in color, Pillow keeps
    the upper 8 of 16. Gray becomes RGB, and transparency is dropped.

    What an ideal explanation must find is not known: photographs come without masks.

    Args:
        folder: the folder of the images; by default, each subfolder is a class.
        size: height and width of the images, in pixels.
        batch_size: how many files a batch has.
        label: a function from the path of a file within the folder to its class: an
            integer of at least 0, or a name. By default the class is the name of the
            first subfolder.
        fit: `"crop"` resizes the shorter side to `size` and cuts off both ends of the
            longer; `"stretch"` keeps all pixels and changes the proportions.
        on_error: `"raise"` stops at the batch of the first file that cannot be read;
            `"report"` leaves the file out and lists it in `failures` of its batch.
        workers: how many threads decode and resize.
        show_progress: whether each pass shows a progress bar.

    Returns:
        An iterable of batches, which can be iterated more than once.

    Raises:
        ImportError: if Pillow is not installed.
        NotADirectoryError: if there is no such folder.
        ValueError: if the folder holds no images, labels of two kinds or beyond int32,
            or images both in subfolders and beside them; while iterating, if an image
            is damaged.

    Example:
        >>> for batch in image_batches("photographs"):  # doctest: +SKIP
        ...     logits = apply_fn(variables, preprocess(batch.images))
    """
    size = checked_integer("size", size, 1, call="image_batches")
    batch_size = checked_integer("batch_size", batch_size, 1, call="image_batches")
    workers = checked_integer("workers", workers, 1, call="image_batches")
    check_choice("fit", fit, get_args(Fit), call="image_batches")
    check_choice("on_error", on_error, get_args(OnError), call="image_batches")
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Images are read by Pillow, which is not installed: `pip install pillow`."
        ) from error
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder.")
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        # A broken link is a file that cannot be read, and is reported as one.
        if path.suffix.lower() in SUFFIXES and not path.is_dir()
    )
    if not names:
        raise ValueError(
            f"{root} holds no image. Suffixes looked for: {', '.join(SUFFIXES)}."
        )
    labels, class_names = _labels(names, label)
    return ImageBatches(
        folder=root,
        names=tuple(names),
        labels=labels,
        class_names=class_names,
        size=size,
        batch_size=batch_size,
        fit=fit,
        on_error=on_error,
        workers=workers,
        show_progress=show_progress,
    )


def _labels(
    names: list[str], label: Callable[[str], int | str] | None
) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    """Returns the label of each file, and the names of classes if they have names."""
    if label is None:
        outside = [name for name in names if "/" not in name]
        if len(outside) == len(names):
            return None, ()
        if outside:
            raise ValueError(
                f"{outside[0]} lies beside the subfolders that name the classes of "
                "other images. Move it, or write `label=lambda name: ...`."
            )
    values = [label(name) if label else name.split("/")[0] for name in names]
    if all(map(is_integer, values)):
        return _integer_labels(names, values), ()
    strings = [value for value in values if isinstance(value, str)]
    if len(strings) < len(values):
        raise ValueError(
            "`label` must return an integer for every file, or a name for every file; "
            f"it returned {', '.join(sorted({type(v).__name__ for v in values}))}."
        )
    class_names = tuple(sorted(set(strings)))
    indices = {name: index for index, name in enumerate(class_names)}
    return tuple(indices[name] for name in strings), class_names


def _integer_labels(names: list[str], values: list[Any]) -> tuple[int, ...]:
    for name, value in zip(names, values, strict=True):
        if not 0 <= value <= LARGEST_LABEL:
            raise ValueError(
                f"`label` returned {value} for {name}, and integers are labels from 0 "
                f"to {LARGEST_LABEL}. Return a name, as a string, and classes are "
                "numbered for you."
            )
    return tuple(map(int, values))
