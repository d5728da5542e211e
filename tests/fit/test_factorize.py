"""Nonnegative factors against a slow descent, scikit-learn and planted ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import NMF

from jaxinterp.fit.factorize import nmf, principal_direction
from tests.compiled import compiled
from tests.oracles import building_blocks as oracle

RNG = np.random.default_rng(0)
MATRIX = RNG.uniform(size=(9, 6))


def test_a_step_is_the_best_value_of_each_entry_in_turn():
    start = nmf(MATRIX, 3, steps=0)
    assert min(np.min(start.left), np.min(start.right)) >= 0
    expected = oracle.coordinate_descent(MATRIX, *map(np.asarray, start), 3)
    for found, factor in zip(nmf(MATRIX, 3, steps=3), expected, strict=True):
        np.testing.assert_allclose(found, factor, atol=1e-12)


def test_it_starts_and_ends_where_scikit_learn_does():
    theirs = NMF(3, init="nndsvd", solver="cd", tol=0, max_iter=4, random_state=0)
    left = theirs.fit_transform(MATRIX)
    found = nmf(MATRIX, 3, steps=4)
    np.testing.assert_allclose(found.left, left, atol=1e-8)
    np.testing.assert_allclose(found.right, theirs.components_, atol=1e-8)


def test_planted_factors_are_found():
    left = RNG.uniform(size=(30, 3)) * np.kron(np.eye(3), np.ones((10, 1)))
    # With a pure row and a pure column for each part there is only one factorization.
    right = np.concatenate([np.eye(3), RNG.uniform(size=(3, 5))], axis=1)
    found = nmf(left @ right, 3)
    np.testing.assert_allclose(found.left @ found.right, left @ right, atol=1e-8)
    cosines = np.asarray(found.right) @ right.T
    cosines /= np.linalg.norm(found.right, axis=1)[:, None]
    cosines /= np.linalg.norm(right, axis=1)
    np.testing.assert_allclose(cosines.max(axis=0), 1, atol=1e-6)
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2]


def test_a_part_that_is_not_needed_is_zero_and_zeros_have_zero_factors():
    one = nmf(np.outer([1.0, 2.0, 0.0], [3.0, 0.0, 1.0]), 2)
    assert np.isfinite(one.left).all()
    sizes = np.linalg.norm(one.left, axis=0) * np.linalg.norm(one.right, axis=1)
    np.testing.assert_allclose(sizes[1], 0, atol=1e-6)
    for factor in nmf(np.zeros((3, 4)), 2):
        np.testing.assert_array_equal(factor, 0)


def test_dtypes_and_negative_entries_under_jit():
    assert nmf(jnp.ones((3, 3), jnp.bfloat16), 1).left.dtype == jnp.float32
    assert nmf(MATRIX, 1).left.dtype == jnp.float64
    both = compiled(jax.vmap(lambda matrix: nmf(matrix, 2).left))
    left = both(np.stack([MATRIX, -MATRIX]))
    np.testing.assert_allclose(left[0], nmf(MATRIX, 2).left, atol=1e-10)
    assert np.isnan(left[1]).all()


@pytest.mark.parametrize(
    ("matrix", "parts", "message"),
    [
        (-MATRIX, 2, r"nmf: a matrix without negative .* -0\.99\d* is in it"),
        (MATRIX, 7, r"7 parts need .* \(9, 6\)"),
        (MATRIX[0], 1, r"shape is \(6,\)"),
        (MATRIX, 0, "`parts` must be an integer of at least 1"),
    ],
)
def test_what_cannot_be_factorized(matrix, parts, message):
    with pytest.raises(ValueError, match=message):
        nmf(matrix, parts)


def test_steps_are_not_negative():
    with pytest.raises(ValueError, match="`steps` must be"):
        nmf(MATRIX, 2, steps=-1)


def test_a_principal_direction_follows_its_matrix():
    """Where all other singular values coincide, and in a wide matrix."""
    for shape in ((6, 4), (4, 6)):
        matrix = np.outer(np.arange(1.0, shape[0] + 1), np.arange(1.0, shape[1] + 1))
        change, weights = RNG.normal(size=shape), RNG.normal(size=shape[1])

        def number(t, matrix=matrix, change=change, weights=weights):
            vector = principal_direction(matrix + t * change)
            return (vector * weights * jnp.sign(vector[0])).sum()

        vector = np.abs(principal_direction(matrix))
        expected = np.arange(1.0, shape[1] + 1)
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected))
        slope = compiled(jax.grad(number))(0.0)
        np.testing.assert_allclose(
            slope, (number(1e-6) - number(-1e-6)) / 2e-6, rtol=1e-6
        )
