"""A stream is read in equal pieces, and a state is carried over them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop.stream import check_stream, over_stream, pieces

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(23, 4, 6, 3))


def cut(images: Any, size: int) -> list[Any]:
    return [images[i : i + size] for i in range(0, len(images), size)]


def real(batches: Any) -> np.ndarray:
    """All examples of a stream but those that fill up its pieces."""
    return np.concatenate([p.examples[: p.count] for p in pieces(batches)])


def total(batches: Any, before: Any = 0.0, **options: Any) -> Any:
    """The sum of all entries, by a state over the stream."""

    def start(examples: Any) -> tuple[Any, Any]:
        return add, before

    def add(state: Any, examples: Any, count: Any) -> tuple[Any, Any]:
        sums = examples.sum(axis=(1, 2, 3))
        at = np.flatnonzero(np.isnan(sums[:count]))
        return state + sums[:count].sum(), (0, at[0]) if at.size else (-1, -1)

    return over_stream("total", batches, start, invalid="not a number", **options)


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("size", [1, 4, 23, 50])
def test_all_pieces_are_of_one_size(size: int, as_array: Any) -> None:
    images = as_array(IMAGES)
    stream = list(pieces(cut(images, size)))
    assert {p.examples.shape for p in stream} == {(min(size, 23), 4, 6, 3)}
    assert [p.start for p in stream] == list(range(0, 23, size))
    assert [p.batch for p in stream] == list(range(len(stream)))
    np.testing.assert_array_equal(real(cut(images, size)), IMAGES)


def test_later_batches_may_be_larger_or_empty() -> None:
    batches = [IMAGES[:0], IMAGES[:3], IMAGES[3:11], IMAGES[11:11], IMAGES[11:]]
    stream = list(pieces(iter(batches)))
    assert {len(p.examples) for p in stream} == {3}
    assert [p.batch for p in stream] == [1, 2, 2, 2, 4, 4, 4, 4]
    np.testing.assert_array_equal(real(batches), IMAGES)


def test_a_batch_that_is_a_whole_piece_is_not_copied() -> None:
    batches = cut(IMAGES[:12], 4)
    for piece, batch in zip(pieces(batches), batches, strict=True):
        assert piece.examples is batch


def test_a_state_is_carried_over_the_stream_and_gone_on_with() -> None:
    for size in (4, 23):
        assert total(cut(IMAGES, size)) == pytest.approx(IMAGES.sum())
    part = total(cut(IMAGES[:8], 4))
    assert total(cut(IMAGES[8:], 4), part) == total(cut(IMAGES, 4))


def test_not_more_than_two_pieces_are_read_ahead() -> None:
    """The next piece is read while the device works on one."""
    read, checked = [], []

    def batches() -> Any:
        for number in range(5):
            read.append(number)
            yield IMAGES[:2]

    def update(state: Any, examples: Any, count: Any) -> Any:
        checked.append(len(read))
        return state, np.array([-1, -1])

    over_stream("f", batches(), lambda x: (update, 0), invalid="odd")
    assert checked == [1, 2, 3, 4, 5]


def test_an_invalid_score_names_its_example() -> None:
    images = IMAGES.copy()
    images[13, 0, 0, 0] = np.nan
    message = r"unit 0 is not a number for example 13 of the stream, in batch 3\."
    with pytest.raises(FloatingPointError, match=message):
        total(cut(images, 4))
    with pytest.raises(FloatingPointError, match=r"example 13 .* in batch 1"):
        total(cut(images, 12))


def test_batches_that_cannot_be_read() -> None:
    class Batch:
        images = IMAGES

    with pytest.raises(TypeError, match=r"batch 1 is Batch. Write `\(b.images for b"):
        total([IMAGES, Batch()])
    with pytest.raises(TypeError, match="batch 0 is list"):
        total([[1.0]])
    with pytest.raises(ValueError, match=r"float64\[4, 6, 3\], and those of batch 1"):
        total([IMAGES, IMAGES[:, :3]])
    with pytest.raises(ValueError, match="A generator is empty after it was read"):
        total(iter([]))
    with pytest.raises(TypeError, match=r"write `\[images\]`"):
        total(IMAGES)


def test_a_stream_is_read_outside_of_transformations() -> None:
    with pytest.raises(TypeError, match=r"total\(\) reads a stream on the host"):
        jax.jit(lambda w: total([IMAGES], constants={"w": w}))(1.0)
    with pytest.raises(TypeError, match=r"outside of `jax\.jit`.* batch 0 is"):
        jax.jit(lambda x: total([x]))(IMAGES)


def test_a_named_stream_of_many_batches_has_a_progress_bar(capsys: Any) -> None:
    total(cut(IMAGES, 1), name="a long pass")
    assert "a long pass" in capsys.readouterr().err
    total(cut(IMAGES, 1))
    total(cut(IMAGES, 12), name="a short pass")
    total(iter(cut(IMAGES, 1)), name="of unknown length")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("batches", [None, 3])
def test_a_stream_is_an_iterable(batches):
    with pytest.raises(TypeError, match="`batches` are several arrays, and "):
        check_stream(batches)


def test_a_batch_may_be_a_pytree_of_arrays() -> None:
    labels = np.arange(23)
    batches = [(IMAGES[i : i + 5], {"y": labels[i : i + 5]}) for i in range(0, 23, 5)]
    stream = list(pieces(batches, is_tree=True))
    assert {(len(p.examples[0]), len(p.examples[1]["y"])) for p in stream} == {(5, 5)}
    parts = [p.examples[1]["y"][: p.count] for p in stream]
    np.testing.assert_array_equal(np.concatenate(parts), labels)
    with pytest.raises(ValueError, match="of batch 0 have 23 and 5 rows"):
        list(pieces([(IMAGES, labels[:5])], is_tree=True))
    with pytest.raises(ValueError, match=r"\[0\] float64\[4, 6, 3\], \[1\] int64\[\]"):
        list(pieces([(IMAGES, labels), (IMAGES, 1.0 * labels)], is_tree=True))
    with pytest.raises(TypeError, match="batch 0 is tuple"):
        list(pieces([(IMAGES, labels)]))
    with pytest.raises(TypeError, match=r"is a pytree of arrays .* batch 0 is tuple"):
        list(pieces([(IMAGES, 3)], is_tree=True))
