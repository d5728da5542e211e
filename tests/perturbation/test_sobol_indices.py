"""Designs that fill the cube, and shares of the variance of known functions."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.perturbation.sobol_indices import (
    ESTIMATORS,
    Estimator,
    first_indices,
    paired_points,
    total_indices,
)
from tests.oracles import masking as oracle

KEY = jax.random.key(1)


def test_points_fill_every_interval_once():
    a, b = paired_points(KEY, 64, 5)
    assert a.dtype == b.dtype == jnp.float32
    for columns in (a.T, b.T):
        for column in np.asarray(columns):
            assert sorted((column * 64).astype(int)) == list(range(64))
    assert (np.asarray(a) > 0).all()
    assert (np.asarray(a) < 1).all()


def test_the_number_of_rows_changes_no_row():
    few, many = paired_points(KEY, 5, 3), paired_points(KEY, 16, 3)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:5])


def test_another_key_gives_other_points_that_are_uniform():
    keys = jax.random.split(KEY, 200)
    first = np.asarray(jax.vmap(lambda key: paired_points(key, 1, 3)[0][0])(keys))
    # the mean of 200 uniform numbers, within five standard errors
    np.testing.assert_allclose(first.mean(0), 0.5, atol=5 / np.sqrt(12 * 200))
    np.testing.assert_allclose(first.std(0), 1 / np.sqrt(12), atol=0.05)


def test_samples_are_independent_of_one_another():
    a, b = paired_points(KEY, 256, 49)
    columns = np.concatenate([a, b], axis=1)
    off = np.corrcoef(columns.T) - np.eye(98)
    assert np.abs(off).max() < 0.3
    assert np.sqrt((off**2).mean()) < 0.03  # of random points 0.06


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_estimators_are_those_of_the_textbook(estimator):
    rng = np.random.default_rng(0)
    a, b, c = (
        rng.normal(1, 2, (6, 3)),
        rng.normal(1, 2, (6, 3)),
        rng.normal(1, 2, (4, 6, 3)),
    )
    received = total_indices(*map(jnp.asarray, (a, b, c)), estimator=estimator)
    expected = [
        [oracle.total_index(estimator, a[:, k], b[:, k], c[j, :, k]) for k in range(3)]
        for j in range(4)
    ]
    np.testing.assert_allclose(received, expected, rtol=1e-10)


def test_the_first_index_is_that_of_the_textbook():
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=6), rng.normal(size=6), rng.normal(size=(2, 6))
    both = np.concatenate([a, b])
    expected = [((b - both.mean()) * (row - a)).mean() / both.var() for row in c]
    received = first_indices(*map(jnp.asarray, (a, b, c)))
    np.testing.assert_allclose(received, expected, rtol=1e-10)


def test_every_estimator_has_a_name():
    assert tuple(ESTIMATORS) == get_args(Estimator)


def test_numbers_out_of_range_are_errors():
    with pytest.raises(ValueError, match="`count` must be"):
        paired_points(KEY, 0, 2)
    with pytest.raises(ValueError, match="`features` must be"):
        paired_points(KEY, 2, 0)
    with pytest.raises(ValueError, match=r"21201 dimensions.*\n.*grid_segments"):
        paired_points(KEY, 2, 10601)
