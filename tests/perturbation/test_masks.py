"""Masks say what is kept: of segments, along axes, at random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.perturbation.masks import kept_entries, masked, random_masks, windows
from jaxinterp.perturbation.segments import fill_segments

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("length", "size", "stride"),
    [(7, 3, 2), (6, 2, 2), (5, 5, 1), (8, 3, 3), (1, 1, 1)],
)
def test_windows_have_one_size_and_cover_the_axis(length, size, stride):
    rows = windows(length, size, stride)
    np.testing.assert_array_equal(rows.sum(1), size)
    assert rows.any(0).all()
    starts = rows.argmax(1)
    np.testing.assert_array_equal(np.diff(starts)[:-1], stride)
    assert starts[0] == 0
    assert starts[-1] == length - size
    for row, start in zip(rows, starts, strict=True):
        assert row[start : start + size].all()


def test_random_masks_do_not_depend_on_their_number():
    few, more = random_masks(KEY, 3, 5), random_masks(KEY, 6, 5)
    np.testing.assert_array_equal(few, more[:3])
    other = random_masks(jax.random.key(1), 6, 5)
    assert (np.asarray(other) != np.asarray(more)).any()


def test_random_masks_keep_the_share():
    masks = np.asarray(random_masks(KEY, 4000, 3, share=0.3))
    # four standard deviations of a mean of 4000 draws
    np.testing.assert_allclose(masks.mean(0), 0.3, atol=4 * (0.21 / 4000) ** 0.5)
    assert abs(np.corrcoef(masks.T) - np.eye(3)).max() < 4 / 4000**0.5


def test_masks_of_segments_keep_all_their_entries_and_what_is_in_none():
    inputs = {"a": np.ones((2, 3)), "b": np.ones((2, 1))}
    maps = {"a": np.array([0, 1, -1]), "b": np.array([1])}
    segments = fill_segments(maps, inputs)
    keep = kept_entries(np.array([True, False]), segments)
    np.testing.assert_array_equal(keep["a"], [[True, False, True]])
    np.testing.assert_array_equal(keep["b"], [[False]])
    share = kept_entries(jnp.array([0.25, 0.5]), segments)
    np.testing.assert_array_equal(share["a"], [[0.25, 0.5, 1]])


def test_a_baseline_takes_the_place_of_what_is_not_kept():
    x = jnp.array([[1.0, 2.0], [3.0, jnp.inf]])
    b = jnp.array([[-1.0, -2.0]] * 2)
    received = masked(x, jnp.array([[True, False]]), b)
    np.testing.assert_array_equal(received, [[1, -2], [3, -2]])
    half = masked(x[:1], jnp.array([[0.5, 0.25]]), b[:1])
    np.testing.assert_array_equal(half, [[0, -1]])


def test_what_is_kept_stays_exactly_and_keeps_its_dtype():
    x = jax.random.normal(KEY, (4, 3), jnp.bfloat16)
    b = jnp.full_like(x, 1e3)
    for keep in (jnp.ones((1, 3)), jnp.ones((1, 3), bool)):
        received = masked(x, keep, b)
        assert received.dtype == x.dtype
        np.testing.assert_array_equal(received, x)
    tokens = jnp.array([[3, 5]])
    received = masked(tokens, jnp.array([[True, False]]), jnp.zeros_like(tokens))
    assert received.tolist() == [[3, 0]]


def test_a_mixture_of_equal_numbers_is_that_number_and_has_its_own_slopes():
    x = jax.random.normal(KEY, (1, 500))
    b = x.at[:, 250:].add(1)
    keep = jax.random.uniform(jax.random.key(1), x.shape)
    assert (keep * x + (1 - keep) * x != x).any()
    np.testing.assert_array_equal(masked(x, keep, b)[:, :250], x[:, :250])
    slope = jax.grad(lambda x: masked(x, keep, b).sum())(x)
    np.testing.assert_array_equal(slope, keep)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((4, 0, 1), "`size` must be"),
        ((4, 2, 0), "`stride` must be"),
        ((4, 5, 1), "does not fit an axis of 4 positions"),
        ((4, 1, 2), "skip positions"),
    ],
)
def test_windows_that_do_not_fit_are_an_error(args, message):
    with pytest.raises(ValueError, match=message):
        windows(*args)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "`count` must be"),
        ({"size": 0}, "`size` must be"),
        ({"share": 1.5}, "`share` must lie"),
    ],
)
def test_random_masks_need_sensible_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        random_masks(KEY, **{"count": 2, "size": 2, **options})
