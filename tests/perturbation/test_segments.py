"""Segment maps fit any inputs, and values are spread over segments and summed again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.perturbation.segments import (
    fill_segments,
    grid_segments,
    segment_sums,
    spread,
)

IMAGES = np.random.default_rng(0).normal(size=(2, 4, 6, 3))
HALVES = np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0)


@pytest.mark.parametrize(
    "segments",
    [
        HALVES,
        HALVES[..., None],
        np.stack([HALVES] * 2),
        jnp.asarray(HALVES)[None, ..., None],
    ],
    ids=["positions", "with channels", "of each example", "with a batch"],
)
def test_a_map_of_positions_holds_for_all_channels(segments):
    filled = fill_segments(segments, IMAGES)
    assert filled.count == 2
    assert filled.labels.shape[1:] == IMAGES.shape[1:]
    np.testing.assert_array_equal(filled.labels[0, ..., 2], HALVES)
    np.testing.assert_array_equal(filled.sizes[0], [36, 36])


def test_without_a_map_each_entry_is_a_segment_over_all_arrays():
    inputs = {"a": np.ones((5, 2, 2)), "b": np.ones((5, 3))}
    filled = fill_segments(None, inputs)
    assert filled.count == 7
    np.testing.assert_array_equal(filled.labels["a"], [[[0, 1], [2, 3]]])
    np.testing.assert_array_equal(filled.labels["b"], [[4, 5, 6]])
    np.testing.assert_array_equal(filled.sizes, np.ones((1, 7)))


def test_a_segment_may_reach_over_several_arrays_and_be_absent_in_an_example():
    inputs = {"a": np.ones((2, 2)), "b": np.ones((2, 1))}
    maps = {"a": np.array([[0, 1], [1, 1]]), "b": np.array([[0]])}
    filled = fill_segments(maps, inputs)
    np.testing.assert_array_equal(filled.sizes, [[2, 1], [1, 2]])
    values = jnp.array([[4.0, 1.0], [3.0, 2.0]])
    received = spread(values, filled)
    np.testing.assert_array_equal(received["a"], [[2, 1], [1, 1]])
    np.testing.assert_array_equal(received["b"], [[2], [3]])
    np.testing.assert_array_equal(segment_sums(received, maps), values)


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (3,), (2, 3, 4)])
def test_a_grid_has_square_patches_numbered_row_by_row(shape):
    labels = grid_segments(shape, 2)
    numbers = [-(-n // 2) for n in shape]
    for index in np.ndindex(*shape):
        expected = np.ravel_multi_index([i // 2 for i in index], numbers)
        assert labels[index] == expected
    assert labels.max() == np.prod(numbers) - 1


def test_sums_are_those_of_a_loop_and_spreading_undoes_them():
    segments = grid_segments((4, 6), 3)
    segments[0, 0] = -1
    filled = fill_segments(segments, IMAGES)
    sums = segment_sums(IMAGES, segments)
    expected = [[x[segments == s].sum() for s in range(filled.count)] for x in IMAGES]
    np.testing.assert_allclose(sums, expected, rtol=1e-12)
    shares = spread(sums, filled)
    assert shares.shape == IMAGES.shape
    np.testing.assert_array_equal(shares[:, 0, 0], 0)
    np.testing.assert_allclose(segment_sums(shares, filled), sums, rtol=1e-12)


def test_it_is_computed_under_jit_and_keeps_the_dtype():
    values = jnp.asarray(IMAGES, jnp.float32)
    jitted = jax.jit(lambda x: segment_sums(x, HALVES))
    assert jitted(values).dtype == jnp.float32
    np.testing.assert_allclose(jitted(values), segment_sums(values, HALVES), rtol=1e-6)
    assert segment_sums(values[:0], HALVES).shape == (0, 2)


@pytest.mark.parametrize(
    ("segments", "error", "message"),
    [
        (HALVES.astype(float), TypeError, "array of integers"),
        (HALVES > 0, TypeError, "of bool"),
        (np.zeros((3, 6), int), ValueError, r"does not fit `inputs` of shape \(2, 4"),
        (np.zeros((3, 4, 6, 3), int), ValueError, "does not fit"),
        (np.zeros((1, 1, 4, 6, 3), int), ValueError, "does not fit"),
        (HALVES * 2, ValueError, "none is 1"),
        (HALVES - 2, ValueError, "all its numbers are negative"),
        ({"a": HALVES}, ValueError, "has the structure"),
    ],
)
def test_what_is_no_segment_map_is_said(segments, error, message):
    with pytest.raises(error, match=message):
        fill_segments(segments, IMAGES)


def test_a_traced_map_is_an_error():
    with pytest.raises(TypeError, match="`segments=map`"):
        jax.jit(lambda s: segment_sums(IMAGES, s))(HALVES)


@pytest.mark.parametrize("shape", [(0, 2), (2.5,), (2, -1)])
def test_a_grid_needs_positive_lengths(shape):
    with pytest.raises(ValueError, match="`shape` must be an integer"):
        grid_segments(shape, 2)


def test_a_patch_needs_a_positive_size():
    with pytest.raises(ValueError, match="`size` must be an integer"):
        grid_segments((4,), 0)


def test_examples_without_an_entry_are_an_error():
    with pytest.raises(
        ValueError, match=r"have shape \(2, 0\): an example has no entry"
    ):
        fill_segments(None, jnp.ones((2, 0)))
