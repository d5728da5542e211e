"""Rank correlations against an oracle."""

import numpy as np
import pytest
import scipy.stats

from jaxinterp import metrics
from jaxinterp.metrics.rank_correlation import ranks
from tests.compiled import compiled
from tests.oracles import metrics as oracle

rank_correlation = compiled(metrics.rank_correlation)
RNG = np.random.default_rng(0)
A, B = np.round(RNG.normal(size=(2, 6, 9)), 1)  # with ties


def test_it_is_the_correlation_of_ranks():
    ours = np.asarray(rank_correlation(A, B))
    for i in range(6):
        np.testing.assert_allclose(ours[i], oracle.spearman(A[i], B[i]), rtol=1e-12)
        expected = scipy.stats.spearmanr(A[i], B[i]).statistic
        np.testing.assert_allclose(ours[i], expected, rtol=1e-12)
        np.testing.assert_array_equal(ranks(A)[i], oracle.mean_ranks(A[i]))


def test_only_the_order_counts():
    np.testing.assert_allclose(rank_correlation(A, 3 * A**3 + 1), 1, rtol=1e-12)
    np.testing.assert_allclose(rank_correlation(A, -A), -1, rtol=1e-12)


def test_pytrees_are_one_row():
    halves = {"a": A[:, :6].reshape(6, 2, 3), "b": A[:, 6:]}
    np.testing.assert_array_equal(rank_correlation(halves, B), rank_correlation(A, B))


def test_what_has_no_order_has_no_correlation():
    a, b = A.copy(), B.copy()
    a[0], b[1], a[2, 3], b[3, 0] = 1.5, 0.0, np.nan, np.nan
    values = np.asarray(rank_correlation(a, b))
    assert np.isnan(values[:4]).all()
    assert np.isfinite(values[4:]).all()


def test_attributions_of_other_shapes_are_an_error():
    with pytest.raises(ValueError, match="9 entries of 6 examples and 8 of 6"):
        rank_correlation(A, B[:, :8])


def test_what_is_no_array_of_numbers_is_an_error():
    for wrong in (A.tolist(), 1.0, {}):
        with pytest.raises(TypeError, match="with the examples on the first axis"):
            metrics.rank_correlation(wrong, wrong)
    with pytest.raises(TypeError, match="Complex numbers have no order"):
        metrics.rank_correlation(A * 1j, B)
    assert np.isnan(metrics.rank_correlation(A[:, :0], B[:, :0])).all()
