"""Scores of given pictures: all units of an objective from one pass of the model.

`maximize` makes pictures for each unit; here all units look at the same ones, so what
the model computes of them is computed once and shared. A *place* is a position of the
activation that the objective reads, such as a row and a column: all its axes but the
last.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

from jaxinterp import loop
from jaxinterp.featurevis.model import Preprocess, Reader, reader
from jaxinterp.featurevis.names import as_objective
from jaxinterp.featurevis.objective import Objective, View, count_units, evaluate
from jaxinterp.trace.transform import ApplyFn

# What has a score: a picture as a whole, or its best place.
By = Literal["picture", "place"]


class Scores(NamedTuple):
    """Scores of some pictures, float32 at least.

    Attributes:
        pictures: `(units, pictures)`.
        places: of each place on its own, `(units, pictures, places)`; `None` if the
            objective does not look at places.
    """

    pictures: Any
    places: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """Scores pictures for all units.

    Attributes:
        read: the model as the objective sees it.
        count: number of units.
        places: the shape of the places; `None` if the objective does not look at them.
    """

    read: Reader
    count: int
    places: tuple[int, ...] | None

    def __call__(self, variables: Any, objective: Objective, images: Any) -> Scores:
        """Returns the scores of pictures, and of their places if there are any.

        Args:
            variables: of the model.
            objective: bound.
            images: a batch of pictures.
        """
        activations, outputs = self.read(variables, images)
        view = View(OrderedDict(activations), outputs, images, 0)
        pictures = _of_all_units(objective, view, self.count)
        if self.places is None:
            return Scores(pictures, None)
        return Scores(pictures, _of_each_place(objective, view, self.count))

    def dtype(self, variables: Any, objective: Objective, images: Any) -> Any:
        """Returns the dtype of the scores; takes what a call takes."""
        return jax.eval_shape(self, variables, objective, images).pictures.dtype


def scorer(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    images: Any,
    preprocess: Preprocess | None,
    *,
    has_places: bool = True,
) -> tuple[Scorer, Objective]:
    """Returns what scores pictures, and the objective bound to the model.

    Args:
        apply_fn: the model.
        objective: what is scored.
        variables: of the model.
        images: a batch like those that will come.
        preprocess: from pictures to inputs of the model; nothing by default.
        has_places: whether places are asked for, if the objective looks at them.

    Raises:
        AddressError: if the model has no such site.
        ValueError: if it has no such unit.
    """
    asked = as_objective(objective)
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    read, shapes = reader(apply_fn, asked, variables, image, preprocess)
    bound = asked.bound(shapes)
    one = jax.ShapeDtypeStruct((1, *image.shape), image.dtype)
    activations, outputs = jax.eval_shape(read, variables, one)
    places = None
    view = View(OrderedDict(activations), outputs, one, 0)
    if has_places and _is_mean_of_places(bound, view):
        (shape,) = shapes.activations.values()
        places = tuple(shape[:-1])
    return Scorer(read, count_units(bound), places), bound


def check_alone(bound: Objective, call: str) -> None:
    """Raises if a picture's score depends on the others that are looked at.

    Args:
        bound: the objective.
        call: the function that it was given to.

    Raises:
        ValueError: if it does.
    """
    if bound.compares:
        raise ValueError(
            f"{call}: the objective compares the pictures of a unit with one another, "
            "or tells them by their number, and these pictures are looked at one by "
            "one.\nLeave out `diversity`, `alignment`, `interpolate` and "
            "`for_pictures`."
        )


def check_outside(call: str, *trees: Any) -> None:
    """Raises if a transformation such as `jit` is tracing what a stream is scored with.

    Args:
        call: the function that reads the stream.
        *trees: variables and objective.

    Raises:
        TypeError: if it is.
    """
    if loop.is_traced(*trees):
        raise TypeError(
            f"{call}() reads a stream on the host, and was given arrays that a "
            "transformation such as `jax.jit` is tracing.\nCall it outside of that."
        )


def described_units(bound: Objective) -> str:
    """Returns what tells the units of an objective from those of another.

    Args:
        bound: the objective.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(bound)]
    numbers = [x.tolist() for x in leaves if np.issubdtype(x.dtype, np.integer)]
    sites = ", ".join(map(repr, bound.sites)) or "the outputs"
    digest = hashlib.sha256(repr(numbers).encode()).hexdigest()[:8] if numbers else ""
    return f"{sites} #{digest}" if digest else sites


def check_places(found: Scorer, by: Any) -> None:
    """Raises unless pictures can be scored by what is asked for.

    Args:
        found: what scores them.
        by: what has a score.

    Raises:
        ValueError: if there is no such way, or the objective does not look at places.
    """
    if by not in ("picture", "place"):
        raise ValueError(f"`by` is 'picture' or 'place', and is {by!r}.")
    if by == "place" and found.places is None:
        read = ", ".join(repr(name) for name, _, _ in found.read.places) or "no site"
        raise ValueError(
            "by='place' needs an objective that is the mean over the places of one "
            f"site, such as `channel('Conv_0')`.\nThis one reads {read}, and is no "
            "such mean. Write by='picture'."
        )


# --- All units look at the same -------------------------------------------------------


def _of_all_units(objective: Objective, view: View, count: int) -> Any:
    """Scores `(units, pictures)`; what is seen is shared, and not copied for each."""

    def one(own: Objective) -> Any:
        parts = jax.tree.map(lambda leaf: leaf[None], (own, view._replace(step=None)))
        alone, seen = parts
        return evaluate(alone, seen._replace(step=view.step), 1)[0]

    axes = jax.tree.map(lambda leaf: 0 if leaf.shape[0] == count else None, objective)
    own = jax.tree.map(
        lambda leaf: leaf if leaf.shape[0] == count else leaf[0], objective
    )
    scores = jax.vmap(one, in_axes=(axes,), axis_size=count)(own)
    return scores.astype(jnp.promote_types(scores.dtype, jnp.float32))


def _of_each_place(objective: Objective, view: View, count: int) -> Any:
    """Scores `(units, pictures, places)`, of each place as if it were all there is."""
    ((site, activation),) = view.activations.items()
    pictures, *places, channels = activation.shape
    flat = activation.reshape(pictures, math.prod(places), channels)

    def one(place: Any) -> Any:
        alone = place.reshape(pictures, *(1 for _ in places), channels)
        seen = view._replace(activations=OrderedDict({site: alone}))
        return _of_all_units(objective, seen, count)

    return jax.vmap(one, in_axes=1, out_axes=2)(flat)


def _is_mean_of_places(bound: Objective, view: View) -> bool:
    """Whether a score is the mean of those of the places alone.

    That is a property of the objective's function, so it is tried on random numbers:
    it holds for channels, directions and their sums, and not for a neuron, a power, or
    what looks at outputs too.
    """
    shapes = [leaf.shape for leaf in view.activations.values()]
    if len(shapes) != 1 or len(shapes[0]) < 3:
        return False
    count, random = count_units(bound), np.random.default_rng(0)

    def filled(leaf: Any) -> Any:
        numbers = random.normal(size=(1, *leaf.shape[1:]))
        return jnp.asarray(numbers.astype(leaf.dtype))

    tried = jax.tree.map(filled, view._replace(step=None))._replace(step=view.step)
    try:
        whole = _of_all_units(bound, tried, count)[:, 0]
        parts = _of_each_place(bound, tried, count)[:, 0]
    except (IndexError, TypeError, ValueError):  # it is not made for a single place
        return False
    tolerance = float(jnp.finfo(jnp.float32).eps) * 100
    error = jnp.abs(whole - parts.mean(axis=-1))
    return bool(jnp.all(error <= tolerance * jnp.abs(parts).mean(axis=-1)))


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
    with loop.progress(total, name, is_shown=bool(name)) as bar:
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
