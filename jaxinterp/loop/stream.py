"""A state that is carried over a stream of batches, one equal piece after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

from jaxinterp.checks import is_traced
from jaxinterp.loop.progress import progress_bar


def check_outside(call: str, *trees: Any) -> None:
    """Raises if a transformation such as `jit` is tracing what a stream is scored with.

    Args:
        call: the function that reads the stream.
        *trees: variables and objective.

    Raises:
        TypeError: if it is.
    """
    if is_traced(*trees):
        raise TypeError(
            f"{call}() reads a stream on the host, and was given arrays that a "
            "transformation such as `jax.jit` is tracing.\nCall it outside of that."
        )


# --- Streams of batches ---------------------------------------------------------------


class Piece(NamedTuple):
    """A part of a stream that is as large as every other.

    Attributes:
        images: filled up with copies of its first picture.
        count: how many pictures are there.
        batch: the number of the batch that it is of.
        start: the number of its first picture, in this stream.
    """

    images: Any
    count: int
    batch: int
    start: int


def pieces(batches: Iterable[Any], name: str = "") -> Iterator[Piece]:
    """Yields a stream in pieces of the size of its first batch.

    Args:
        batches: arrays of pictures.
        name: what a progress bar says, if there is one; a stream needs a length for it.

    Raises:
        TypeError: if a batch is not an array.
        ValueError: if pictures differ in shape or dtype, or there are none.
    """
    check_stream(batches)
    first, start = None, 0
    total = len(batches) if isinstance(batches, Sized) else 0
    with progress_bar(total, name, is_shown=bool(name)) as bar:
        for number, batch in enumerate(batches):
            bar.update()
            images = _checked(batch, number, first)
            if not images.shape[0]:
                continue
            first = images if first is None else first
            size = first.shape[0]
            for low in range(0, images.shape[0], size):
                part = images if images.shape[0] == size else images[low : low + size]
                count = part.shape[0]
                yield Piece(_filled_up(part, first), count, number, start)
                start += count
    if first is None:
        raise ValueError(
            "`batches` holds no picture. A generator is empty after it was read once:\n"
            "make a new one, or pass a list."
        )


def check_stream(batches: Any) -> None:
    """Raises if a stream is one array: its pictures would be taken for batches.

    Args:
        batches: arrays of pictures.

    Raises:
        TypeError: saying what to write.
    """
    if isinstance(batches, jax.Array | np.ndarray):
        raise TypeError(
            f"`batches` are several arrays, and were one, {batches.dtype}"
            f"{list(batches.shape)}. If it is a batch of pictures, write `[images]`."
        )


def _checked(batch: Any, number: int, first: Any) -> Any:
    if isinstance(batch, Tracer):
        raise TypeError(
            "A stream of pictures is read outside of `jax.jit` and other "
            f"transformations, and batch {number} is {batch}."
        )
    if not isinstance(batch, jax.Array | np.ndarray) or not batch.ndim:
        hint = " Write `(b.images for b in batches)`." if _has_images(batch) else ""
        raise TypeError(
            "Each batch is an array with the pictures on its first axis, and batch "
            f"{number} is {type(batch).__name__}.{hint}"
        )
    if first is not None and (
        batch.shape[1:] != first.shape[1:] or batch.dtype != first.dtype
    ):
        raise ValueError(
            f"All pictures have the shape and dtype of the first, {first.dtype}"
            f"{list(first.shape[1:])}, and those of batch {number} have {batch.dtype}"
            f"{list(batch.shape[1:])}."
        )
    return batch


def _has_images(batch: Any) -> bool:
    return isinstance(getattr(batch, "images", None), jax.Array | np.ndarray)


def _filled_up(part: Any, first: Any) -> Any:
    missing = first.shape[0] - part.shape[0]
    if not missing:
        return part
    numpy = np if isinstance(part, np.ndarray) else jnp
    more = numpy.broadcast_to(part[:1], (missing, *part.shape[1:]))
    whole = numpy.concatenate([part, more])
    placed = everywhere(first)  # what is not spread is committed to no device
    return whole if placed is None else jax.device_put(whole, first.sharding)


def over_stream(
    batches: Iterable[Any],
    start: Callable[[Any], tuple[Callable[..., Any], Any]],
    complain: Callable[[Piece, np.ndarray], None],
    name: str,
) -> Any:
    """Returns the state after all pieces of a stream.

    While the device works on a piece, the next one is read; not more, so that memory
    does not grow with the stream.

    Args:
        batches: arrays of pictures.
        start: from a first piece's pictures to `update` and a state, where
            `update(state, images, count) -> (state, trouble)`.
        complain: raises if what `trouble` says of a piece is an error.
        name: what a progress bar says; none for `""`.
    """
    update, state, before = None, None, None
    for piece in pieces(batches, name):
        if update is None:
            update, state = start(piece.images)
        state, trouble = update(state, piece.images, np.int32(piece.count))
        if before is not None:
            complain(before[0], np.asarray(before[1]))
        before = (piece._replace(images=None), trouble)
    assert before is not None, "pieces() raises where there is none"
    complain(before[0], np.asarray(before[1]))
    return state


def everywhere(images: Any) -> Any:
    """Returns where a state is to lie: on every device that the pictures are spread on.

    Args:
        images: an array; `None` is returned for one that is not spread.
    """
    if isinstance(images, jax.Array) and isinstance(images.sharding, NamedSharding):
        return NamedSharding(images.sharding.mesh, PartitionSpec())
    return None


def trouble_in(is_wrong: Any, count: Any) -> Any:
    """Returns the unit and the picture of the first wrong score, or -1 twice.

    Args:
        is_wrong: `(units, pictures)`.
        count: how many of the pictures are real.
    """
    pictures = is_wrong.shape[1]
    is_real = jnp.arange(pictures) < count
    wrong = (is_wrong & is_real[None]).T  # the first picture first
    at = jnp.argmax(wrong)
    picture, unit = jnp.unravel_index(at, wrong.shape)
    pair = jnp.stack([unit, picture]).astype(jnp.int32)
    return jnp.where(wrong.any(), pair, -1)
