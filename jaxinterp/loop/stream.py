"""A pass over a dataset: a state that is carried over a stream of batches.

The stream is any iterable of arrays. It is read once, in pieces of one size, so that
one compiled program serves them all, with one progress bar. A pass goes on from the
state that an earlier one left, and arrays that are spread over devices are used there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxinterp.checks import check_outside, is_traced
from jaxinterp.loop.chunks import chunk_indices
from jaxinterp.loop.progress import progress_bar

# --- Streams of batches ---------------------------------------------------------------


class Piece(NamedTuple):
    """A part of a stream that is as large as every other.

    Attributes:
        examples: an array, or a pytree of arrays, filled up with copies of its last
            real example.
        count: the number of real examples.
        batch: the number of the batch that the piece is a part of.
        start: the number of the first example of the piece in this stream.
    """

    examples: Any
    count: int
    batch: int
    start: int


def pieces(
    batches: Iterable[Any], name: str = "", *, is_tree: bool = False
) -> Iterator[Piece]:
    """Yields a stream in pieces of the size of its first batch.

    Args:
        batches: arrays with the examples on the first axis.
        name: the text beside the progress bar; none is shown for `""`, nor for a stream
            whose length is not known.
        is_tree: whether a batch is a pytree of such arrays, such as
            `(inputs, labels)`, and not one array.

    Raises:
        TypeError: if a batch is not an array, or no pytree of arrays.
        ValueError: if examples differ in shape or dtype, or there are none.
    """
    check_stream(batches)
    first, start = None, 0
    length = len(batches) if isinstance(batches, Sized) else 0
    with progress_bar(length, name) as bar:
        for number, batch in enumerate(batches):
            bar.update()
            examples = _checked(batch, number, first, is_tree)
            total = jax.tree.leaves(examples)[0].shape[0]
            if not total:
                continue
            first = examples if first is None else first
            size = jax.tree.leaves(first)[0].shape[0]
            for low in range(0, total, size):
                part = examples
                if total != size:
                    part = jax.tree.map(functools.partial(_rows, low, size), examples)
                count = min(size, total - low)
                yield Piece(_filled_up(part, first, count), count, number, start)
                start += count
    if first is None:
        raise ValueError(
            "`batches` holds no example. A generator is empty after it was read once:\n"
            "make a new one, or pass a list."
        )


def _rows(low: int, size: int, array: Any) -> Any:
    return array[low : low + size]


def check_stream(batches: Any) -> None:
    """Raises if a stream is one array: its examples would be taken for batches.

    Args:
        batches: the stream, which is to be an iterable of arrays.

    Raises:
        TypeError: if it is an array, or no iterable; the message says what to write.
    """
    if not isinstance(batches, Iterable):
        raise TypeError(
            f"`batches` are several arrays, and {batches!r} was given. Of one batch of "
            "images write `[images]`."
        )
    if isinstance(batches, jax.Array | np.ndarray):
        raise TypeError(
            f"`batches` are several arrays, and were one, {batches.dtype}"
            f"{list(batches.shape)}. If it is one batch of images, write `[images]`."
        )


def _checked(batch: Any, number: int, first: Any, is_tree: bool) -> Any:
    leaves = jax.tree.leaves(batch) if is_tree else [batch]
    if is_traced(batch):
        raise TypeError(
            "A stream of batches is read outside of `jax.jit` and other "
            f"transformations, and batch {number} is {batch}."
        )
    if not leaves or not all(_is_batch(leaf) for leaf in leaves):
        hint = " Write `(b.images for b in batches)`." if _has_images(batch) else ""
        needed = "is a pytree of arrays" if is_tree else "is an array"
        raise TypeError(
            f"Each batch {needed} with the examples on its first axis, and batch "
            f"{number} is {type(batch).__name__}.{hint}"
        )
    sizes = [leaf.shape[0] for leaf in leaves]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"The arrays of a batch have one row for each example, and those of batch "
            f"{number} have {' and '.join(map(str, sizes))} rows."
        )
    if first is not None and _described(batch) != _described(first):
        raise ValueError(
            "All examples have the shape and dtype of the first, "
            f"{_described(first)}, and those of batch {number} have "
            f"{_described(batch)}."
        )
    return batch


def _is_batch(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and leaf.ndim > 0


def _described(batch: Any) -> str:
    """The dtype and the shape of an example."""

    def text(leaf: Any) -> str:
        return f"{leaf.dtype}{list(leaf.shape[1:])}"

    if _is_batch(batch):
        return text(batch)
    leaves = jax.tree.leaves_with_path(batch)
    return ", ".join(f"{jax.tree_util.keystr(at)} {text(leaf)}" for at, leaf in leaves)


def _has_images(batch: Any) -> bool:
    return isinstance(getattr(batch, "images", None), jax.Array | np.ndarray)


def _filled_up(part: Any, first: Any, count: int) -> Any:
    size = jax.tree.leaves(first)[0].shape[0]
    if count == size:
        return part
    at = chunk_indices(count, size)[0]

    def whole(leaf: Any, like: Any) -> Any:
        sharding = everywhere(like)  # what is not spread is committed to no device
        return leaf[at] if sharding is None else jax.device_put(leaf[at], like.sharding)

    return jax.tree.map(whole, part, first)


# --- A state over a stream ------------------------------------------------------------


def over_stream(
    call: str,
    batches: Iterable[Any],
    start: Callable[[Any], tuple[Callable[..., Any], Any]],
    *,
    constants: Any = (),
    invalid: str,
    name: str = "",
    is_tree: bool = False,
) -> Any:
    """Returns the state after all pieces of a stream.

    While the device works on a piece, the next one is read; not more, so that memory
    does not grow with the stream.

    Args:
        call: the name of the function that was called, for the messages.
        batches: arrays with the examples on the first axis.
        start: a function from the examples of the first piece to `update` and the first
            state, or that of an earlier pass to go on with. `update(state, examples,
            count)`, of which `count` examples are real, returns the next state and what
            `first_invalid` says of the scores. The arrays of a state are laid on all
            devices that the examples are spread on.
        constants: a pytree of the arrays that `update` reads besides, such as the
            variables of the model; they must not be traced.
        invalid: the description of an invalid score for the error, such as `"not a
            number"`.
        name: the text beside the progress bar; none is shown for `""`.
        is_tree: whether a batch is a pytree of arrays, and not one array.

    Raises:
        FloatingPointError: if a score is invalid; the message names the example.
        TypeError: if a batch is not an array, or arrays are traced.
        ValueError: if examples differ in shape or dtype, or there are none.
    """
    check_outside(call, "reads a stream on the host", constants)
    update, state, before = None, None, None
    for piece in pieces(batches, name, is_tree=is_tree):
        if update is None:
            update, state = start(piece.examples)
            state = _placed(state, everywhere(piece.examples))
        state, at = update(state, piece.examples, np.int32(piece.count))
        if before is not None:
            _check_valid(*before, invalid)
        before = (piece._replace(examples=None), at)
    assert before is not None, "pieces() raises where there is none"
    _check_valid(*before, invalid)
    return state


def everywhere(examples: Any) -> NamedSharding | None:
    """Returns the sharding that lays an array on all devices that examples lie on.

    Args:
        examples: an array, or a pytree of arrays that lie on the same devices; `None`
            is returned for those that are not spread over devices.
    """
    for leaf in jax.tree.leaves(examples):
        if isinstance(leaf, jax.Array) and isinstance(leaf.sharding, NamedSharding):
            return NamedSharding(leaf.sharding.mesh, PartitionSpec())
    return None


def _placed(state: Any, sharding: NamedSharding | None) -> Any:
    if sharding is None:
        return state

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray):
            return leaf
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        # Of several processes `device_put` compares the arrays, and NaN is unlike NaN.
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

    return jax.tree.map(placed, state)


def first_invalid(is_invalid: Any, count: Any) -> Any:
    """Returns the unit and the example of the first invalid score, or -1 twice.

    Args:
        is_invalid: whether the score of each unit for each example is invalid,
            `(units, examples)`.
        count: the number of real examples.

    Example:
        >>> first_invalid(jnp.array([[False, True, True]]), 2).tolist()
        [0, 1]
    """
    examples = is_invalid.shape[1]
    is_real = jnp.arange(examples) < count
    invalid = (is_invalid & is_real[None]).T  # the first example first
    example, unit = jnp.unravel_index(jnp.argmax(invalid), invalid.shape)
    pair = jnp.stack([unit, example]).astype(jnp.int32)
    return jnp.where(invalid.any(), pair, -1)


def _check_valid(piece: Piece, at: Any, invalid: str) -> None:
    unit, example = np.asarray(at).tolist()
    if example >= 0:
        raise FloatingPointError(
            f"The score of unit {unit} is {invalid} for example "
            f"{piece.start + example} of the stream, in batch {piece.batch}.\n"
            "Look whether the example is in order; `jax.debug_nans(True)` shows where "
            "the model fails."
        )
