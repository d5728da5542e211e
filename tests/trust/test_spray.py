"""Clusters of explanations: planted ones, a slow oracle, and what goes wrong."""

import sys

import jax
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from jaxinterp.trust import spray
from jaxinterp.trust.spray import relevance_rows
from tests.oracles import spectral as oracle

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TRUTH = np.array([0] * 30 + [1] * 22)


def blobs(rng=RNG, truth=TRUTH):
    """Relevance at one of two places, with a little noise, as images of 6 x 5."""
    relevance = 0.02 * rng.normal(size=(len(truth), 6, 5, 2))
    relevance[truth == 0, 1, 1] += 1
    relevance[truth == 1, 4, 3] += 1
    return relevance


def test_two_blobs_are_two_strategies():
    found = spray(blobs(), key=KEY)
    assert found.n_strategies == 2
    np.testing.assert_allclose(found.eigenvalues[:2], 0, atol=1e-12)
    assert found.eigenvalues[2] > 0.3
    assert found.gap == pytest.approx(found.eigenvalues[2], abs=1e-12)
    assert adjusted_rand_score(TRUTH, found.labels) == 1
    np.testing.assert_array_equal(found.labels, TRUTH)  # the larger one is 0
    assert TRUTH[found.medoids].tolist() == [0, 1]
    assert found.separability > 1e6
    assert found.silhouette == pytest.approx(1)


def test_one_blob_is_one_strategy():
    found = spray(blobs(truth=np.zeros(50, int)), key=KEY)
    assert found.n_strategies == 1
    assert not found.labels.any()
    assert found.eigenvalues[0] == pytest.approx(0, abs=1e-12)
    assert found.eigenvalues[1] > 0.1
    assert np.isnan([found.separability, found.silhouette]).all()


@pytest.mark.parametrize("noise", [0.02, 1.0])
def test_the_spectrum_is_that_of_a_slow_loop(noise):
    relevance = noise / 0.02 * (blobs() - np.round(blobs())) + np.round(blobs())
    found = spray(relevance, key=KEY, neighbors=4, eigenvalues=20)
    values, gap = oracle.spectrum(relevance.sum(axis=-1), 4, 20)
    np.testing.assert_allclose(found.eigenvalues, values, atol=1e-9)
    assert found.n_strategies == gap


def test_order_scale_and_sign_of_nothing_matter():
    relevance = blobs()
    found = spray(relevance, key=KEY)
    order = np.random.default_rng(1).permutation(len(TRUTH))
    again = spray(1e6 * relevance[order], key=KEY)
    np.testing.assert_array_equal(again.labels, found.labels[order])
    np.testing.assert_allclose(again.eigenvalues, found.eigenvalues, atol=1e-9)


def test_relevance_that_adds_up_to_zero_is_finite():
    relevance = blobs()
    relevance[:, 0, 0] -= relevance.sum(axis=(1, 2))
    found = spray(relevance, key=KEY)
    np.testing.assert_allclose(found.eigenvalues[:2], 0, atol=1e-12)
    assert np.isfinite(found.embedding).all()
    rows = relevance_rows(relevance, 16)
    np.testing.assert_allclose(rows.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.abs(rows).sum(axis=1), 1)


def test_copies_are_neighbors_of_one_another_and_not_of_themselves():
    # Six pairs of copies: with one neighbor each pair is a part of its own.
    relevance = np.repeat(RNG.normal(size=(6, 8)), 2, axis=0)
    found = spray(relevance, key=KEY, neighbors=1)
    np.testing.assert_allclose(found.eigenvalues[:6], 0, atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues[6:], 2, atol=1e-12)
    assert len(found.eigenvalues) == 11
    assert found.n_strategies == 6
    pairs = found.labels.reshape(6, 2)
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])


PAIRS = np.repeat(RNG.normal(size=(20, 8)), 2, axis=0)
PAIRS += 1e-3 * RNG.normal(size=PAIRS.shape)


@pytest.mark.parametrize(
    ("relevance", "neighbors", "n_parts"),
    # The other eigenvalue of a pair is 2, the largest by size of what is iterated.
    [(PAIRS, 1, 12), (PAIRS, 2, 5), (RNG.normal(size=(40, 8)), 3, 1)],
)
def test_many_items_have_the_same_smallest_eigenvalues(
    relevance, neighbors, n_parts, monkeypatch
):
    options = {"key": KEY, "neighbors": neighbors, "eigenvalues": 12}
    whole = spray(relevance, **options)
    assert (whole.eigenvalues < 1e-9).sum() >= n_parts
    assert (n_parts == 1) == (whole.eigenvalues[1] > 1e-3)
    monkeypatch.setattr(sys.modules["jaxinterp.trust.spray"], "DENSE", 10)
    found = spray(relevance, **options)
    np.testing.assert_allclose(found.eigenvalues, whole.eigenvalues, atol=1e-8)
    assert found.n_strategies == whole.n_strategies


def test_the_same_relevance_everywhere_is_not_analyzable():
    found = spray(np.ones((12, 4, 4, 1)), key=KEY)
    assert found.n_strategies == 0
    assert np.isnan(found.eigenvalues).all()
    assert (found.labels == -1).all()
    assert np.isnan([found.gap, found.separability, found.silhouette]).all()
    assert not len(found.medoids)


def test_images_of_odd_sizes_are_pooled_by_means():
    relevance = RNG.uniform(size=(3, 5, 7, 2))
    rows = relevance_rows(relevance, 2).reshape(3, 2, 2)
    gray = relevance.sum(axis=-1)
    down, across = (slice(0, 2), slice(2, 5)), (slice(0, 3), slice(3, 7))
    means = np.array([[gray[:, a, b].mean(axis=(1, 2)) for b in across] for a in down])
    expected = np.moveaxis(means, -1, 0)
    expected /= expected.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(rows, expected)
    assert relevance_rows(np.zeros((3, 4)), 2).tolist() == np.zeros((3, 4)).tolist()


def test_wrong_calls():
    with pytest.raises(ValueError, match=r"three items .* shape \(2, 4\)"):
        spray(np.ones((2, 4)), key=KEY)
    relevance = blobs()
    relevance[7, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="item 7 \\(and 0 others\\) is not finite"):
        spray(relevance, key=KEY)
    for name in ("pool", "neighbors", "eigenvalues"):
        with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
            spray(blobs(), key=KEY, **{name: 0})
    with pytest.raises(TypeError, match="spray"):
        spray(blobs(), key=0)
    with pytest.raises(TypeError, match="Call it outside"):
        jax.jit(lambda a: spray(a, key=KEY))(blobs())


def test_relevance_is_one_array_of_real_numbers():
    for wrong in ({"a": np.ones((4, 3))}, np.ones((4, 3)) * 1j):
        with pytest.raises(TypeError, match="one array of real numbers"):
            spray(wrong, key=jax.random.key(0))
