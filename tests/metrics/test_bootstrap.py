"""Bootstrap intervals against SciPy's, and how often they hold the truth."""

import jax
import numpy as np
import pytest
import scipy.stats

from jaxinterp.metrics import bootstrap
from tests.compiled import compiled

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_it_is_the_interval_of_scipy(confidence):
    values = RNG.exponential(size=(30, 2)) ** 2
    ours = bootstrap(values, KEY, confidence=confidence, resamples=20_000)
    np.testing.assert_allclose(ours.mean, values.mean(axis=0), rtol=1e-12)
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=20_000,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = theirs.high - theirs.low
    # What 20,000 draws leave open: under 2 % of the width.
    np.testing.assert_allclose((ours.low - theirs.low) / width, 0, atol=0.04)
    np.testing.assert_allclose((ours.high - theirs.high) / width, 0, atol=0.04)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of a skewed distribution, and small samples: 300 intervals at once."""
    values = RNG.exponential(size=(60, 300))
    interval = bootstrap(values, KEY, confidence=0.9)
    share = ((interval.low < 1) & (interval.high > 1)).mean()
    assert 0.84 < share < 0.95
    assert ((interval.low < interval.mean) & (interval.mean < interval.high)).all()


def test_what_is_not_defined_is_left_out():
    values = RNG.normal(size=(40, 3))
    values[::4, 0] = np.nan
    values[:, 1] = np.nan
    values[1:, 2] = np.nan
    interval = bootstrap(values, KEY)
    assert interval.n_valid.tolist() == [30, 0, 1]
    kept = np.delete(values[:, 0], np.arange(0, 40, 4))
    np.testing.assert_allclose(interval.mean[0], kept.mean())
    assert np.isnan(interval.mean).tolist() == [False, True, False]
    assert np.isnan(interval.low).tolist() == [False, True, True]
    alone = bootstrap(kept, KEY, resamples=20_000)
    ours = bootstrap(values[:, 0], KEY, resamples=20_000)
    np.testing.assert_allclose(
        (ours.low - alone.low) / (alone.high - alone.low), 0, atol=0.05
    )


def test_equal_values_have_no_width():
    interval = bootstrap(np.full(9, 0.3), KEY)
    assert interval.low == interval.high == interval.mean == pytest.approx(0.3)


def test_examples_are_drawn_whole_and_by_the_key():
    values = RNG.normal(size=20)
    both = bootstrap(np.stack([values, 2 * values], axis=1), KEY)
    np.testing.assert_allclose(both.low[1], 2 * both.low[0], rtol=1e-12)
    np.testing.assert_array_equal(bootstrap(values, KEY).low, both.low[0])
    assert bootstrap(values, jax.random.key(1)).low != both.low[0]
    assert bootstrap(values.reshape(5, 2, 2), KEY).high.shape == (2, 2)


def test_what_makes_no_sense_is_an_error():
    values = RNG.normal(size=20)
    with pytest.raises(ValueError, match="`confidence` must lie between 0 and 1"):
        bootstrap(values, KEY, confidence=1.5)
    with pytest.raises(ValueError, match="`resamples` must be an integer of at least"):
        bootstrap(values, KEY, resamples=1)
    with pytest.raises(TypeError, match=r"bootstrap\(\) is random and needs one key"):
        bootstrap(values, None)
    with pytest.raises(TypeError, match=r"bootstrap\(\) returns numbers to read"):
        compiled(lambda x: bootstrap(x, KEY).mean)(values)


def test_what_has_no_interval_has_none():
    for empty in ([], np.zeros((0, 3)), np.zeros((4, 0))):
        interval = bootstrap(empty, KEY)
        assert np.isnan(interval.mean).all()
        assert interval.mean.shape == np.shape(empty)[1:]
    mean, low, high, n_valid = bootstrap([1.0, 2.0, np.inf], KEY)
    assert np.isinf(mean)
    assert np.isnan([low, high]).all()
    assert n_valid == 3


@pytest.mark.parametrize("values", [1.0, ["a", "b"], np.ones(3) * 1j])
def test_values_are_real_numbers_of_examples(values):
    with pytest.raises(TypeError, match="real numbers with the examples on the first"):
        bootstrap(values, KEY)
