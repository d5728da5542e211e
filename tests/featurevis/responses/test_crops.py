"""Crops of chosen pictures, against slices."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.responses.crops import crops
from jaxinterp.featurevis.responses.dataset_examples import Examples, dataset_examples
from jaxinterp.featurevis.responses.receptive_field import ReceptiveField
from jaxinterp.models import with_preprocess

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 5))
IMAGES = RNG.normal(size=(23, 4, 6, 3))


def model(w: Any, x: Any) -> Any:
    return jnp.tanh(jnp.einsum("nhwc,cd->nhwd", x, w))


def cut(images: Any, size: int) -> list[Any]:
    return [images[i : i + size] for i in range(0, len(images), size)]


def chosen_at(indices: list[list[int]], positions: list[list[list[int]]]) -> Examples:
    return Examples(np.array(indices), np.zeros(np.shape(indices)), np.array(positions))


@pytest.mark.parametrize("size", [1, 4, 23])
def test_crops_are_what_the_field_covers_moved_inside(size: int) -> None:
    chosen = chosen_at([[7, 2], [22, -1]], [[[0, 0], [2, 1]], [[1, 2], [-1, -1]]])
    field = ReceptiveField((2, 3), (1, 2), (-1, 0))
    found = crops(cut(IMAGES, size), chosen, field)
    assert found.shape == (2, 2, 2, 3, 3)
    assert np.array_equal(found[0, 0], IMAGES[7, 0:2, 0:3])  # moved down by one
    assert np.array_equal(found[0, 1], IMAGES[2, 1:3, 2:5])
    assert np.array_equal(found[1, 0], IMAGES[22, 0:2, 3:6])  # moved left by one
    assert np.all(found[1, 1] == 0.5)


def test_a_field_larger_than_the_picture_is_the_picture() -> None:
    chosen = chosen_at([[3]], [[[1, 1]]])
    field = ReceptiveField((2, 99), (1, 8), (0, -40))
    assert np.array_equal(crops([IMAGES], chosen, field)[0, 0], IMAGES[3, 1:3])
    assert np.array_equal(crops([jnp.asarray(IMAGES)], chosen)[0, 0], IMAGES[3])


@pytest.mark.parametrize("sort", ["top", "bottom"])
def test_crops_show_what_excites_a_unit_most_and_least(sort: str) -> None:
    """From the pictures to the crop: its middle is the pixel that has the score."""
    sign = 1 if sort == "top" else -1
    images = np.zeros((6, 9, 9, 3))
    images[4, 6, 2] = sign * W[:, 1] / np.linalg.norm(W[:, 1])
    found = dataset_examples(model, "tanh:1", W, cut(images, 4), k=1)
    field = ReceptiveField((3, 3), (1, 1), (-1, -1))
    (crop,) = crops(cut(images, 4), getattr(found, sort), field)[0]
    assert np.array_equal(crop, images[4, 5:8, 1:4])


def test_crops_are_cut_from_what_the_model_is_given() -> None:
    """The model sees pictures at twice their size, and so does the field."""

    def twice(images: Any) -> Any:
        return jnp.asarray(images).repeat(2, axis=1).repeat(2, axis=2)

    def centered(images: Any) -> Any:
        return twice(images) - 0.5

    images = RNG.uniform(size=(5, 4, 6, 3))
    found = dataset_examples(
        with_preprocess(model, centered), "tanh:1", W, [images], k=1
    )
    field = ReceptiveField((2, 2), (1, 1), (0, 0))
    (crop,) = crops([images], found.top, field, resize=twice)[0]
    (number,), (place,) = found.top.indices[0], found.top.positions[0]
    row, column = np.minimum(place, (6, 10))
    large = np.asarray(twice(images))[number]
    assert np.array_equal(crop, large[row : row + 2, column : column + 2])
    whole = crops([images], found.top, resize=twice)
    assert np.array_equal(whole[0, 0], large)


def test_an_array_is_no_stream() -> None:
    with pytest.raises(TypeError, match=r"write `\[images\]`"):
        crops(IMAGES, chosen_at([[3]], [[[0, 0]]]))


def test_bytes_are_filled_with_a_brightness() -> None:
    chosen = chosen_at([[0, -1]], [[[0, 0], [-1, -1]]])
    found = crops([np.zeros((1, 2, 2, 3), np.uint8)], chosen)
    assert found.dtype == np.uint8
    assert (found[0, 1] == 128).all()


def test_crops_that_cannot_be_cut() -> None:
    without = chosen_at([[3]], [[[]]])
    with pytest.raises(ValueError, match="has 2 axes, and the positions 0"):
        crops([IMAGES], without, ReceptiveField((1, 1), (1, 1), (0, 0)))
    with pytest.raises(ValueError, match=r"has 23 images, and 1 .*: \[99\]"):
        crops([IMAGES], chosen_at([[3, 99]], [[[0, 0]] * 2]))
    empty: Iterator[Any] = iter([])
    with pytest.raises(ValueError, match="has 0 images"):
        crops(empty, without)


def test_pictures_may_be_resized_by_numpy() -> None:
    images = (255 * RNG.uniform(size=(3, 4, 6, 3))).astype(np.uint8)
    found = crops([images], chosen_at([[2]], [[[0, 0]]]), resize=lambda x: x[:, ::2])
    assert found.dtype == np.uint8
    assert np.array_equal(found[0, 0], images[2, ::2])


def test_one_sort_of_examples_is_asked_for() -> None:
    found = dataset_examples(model, "tanh:*", W, [IMAGES])
    with pytest.raises(TypeError, match=r"`crops\(batches, examples\.top\)`"):
        crops([IMAGES], found)
