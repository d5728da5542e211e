"""Effects of features against formulas, slow loops and scikit-learn."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.inspection
from scipy.stats import qmc
from sklearn.base import BaseEstimator, RegressorMixin

from jaxinterp import data
from jaxinterp.concepts import (
    ice,
    partial_dependence,
    permutation_importance,
    sobol_indices,
)
from jaxinterp.objectives import log_probability, total
from tests.compiled import compiled, compiled_once
from tests.few import few

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
FUNCTIONS = {"ishigami": data.Ishigami(), "sobol_g": data.SobolG()}


def model(function):
    return lambda variables, x: function(x)


def wave(w, x):
    """A smooth function with interactions of all three features."""
    return jnp.sin(w * x[:, 0]) * x[:, 1] + x[:, 2] ** 2 * x[:, 0]


def independent_samples(function, log_count):
    """Two samples of a scrambled Sobol sequence, in the range of the function."""
    n = len(function.sobol().first)
    points = qmc.Sobol(2 * n, rng=np.random.default_rng(1)).random_base2(log_count)
    sample = np.asarray(function.sample(KEY, 1000))
    low, high = np.round(sample.min(), 1), np.round(sample.max(), 1)
    if low < -3:
        low, high = -np.pi, np.pi
    points = low + (high - low) * points
    return jnp.asarray(points[:, :n]), jnp.asarray(points[:, n:])


class Estimator(RegressorMixin, BaseEstimator):
    def fit(self, x, y):
        self.fitted_ = True
        return self

    def predict(self, x):
        return np.asarray(wave(2.0, jnp.asarray(x)))


# --- Curves ---------------------------------------------------------------------------


def test_curves_are_those_of_slow_loops_and_scikit_learn():
    x = RNG.normal(size=(7, 3))
    run = compiled_once(ice(wave, feature=0, grid=5, score=total))
    curves = run(2.0, x)
    theirs = sklearn.inspection.partial_dependence(
        Estimator().fit(x, x),
        x,
        [0],
        custom_values={0: np.asarray(curves.grid)},
        method="brute",
        kind="both",
    )
    np.testing.assert_allclose(curves.values, theirs["individual"][0], rtol=1e-12)
    np.testing.assert_allclose(
        curves.grid, np.quantile(x[:, 0], [0, 0.25, 0.5, 0.75, 1])
    )
    for i, row in enumerate(x):
        for j, value in enumerate(np.asarray(curves.grid)):
            changed = np.array([value, *row[1:]])
            slow = np.sin(2 * changed[0]) * changed[1] + changed[2] ** 2 * changed[0]
            np.testing.assert_allclose(curves.values[i, j], slow, rtol=1e-12)
    chex.assert_trees_all_close(run(2.0, x + 1).values.shape, (7, 5))
    mean = partial_dependence(wave, feature=0, grid=5, score=total)(2.0, x)
    np.testing.assert_allclose(mean.values, theirs["average"][0], rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("feature", few([0, -1, 1], 2, reason="another feature"))
def test_the_mean_curve_is_the_known_one(name, feature):
    function = FUNCTIONS[name]
    x, _ = independent_samples(function, 10)
    index = feature % x.shape[1]
    grid = jnp.linspace(x[:, index].min(), x[:, index].max(), 6)
    curve = partial_dependence(model(function), feature=feature, grid=grid, score=total)
    expected = function.partial_dependence(index, grid)
    scale = float(np.std(function(x)))
    np.testing.assert_allclose(curve(None, x).values, expected, atol=0.01 * scale)


def test_chunks_and_transformations_change_nothing():
    whole = ice(wave, feature=1, grid=7, score=total)
    parts = ice(wave, feature=1, grid=7, score=total, batch_size=3)
    x = jnp.asarray(RNG.normal(size=(4, 3)))
    expected = whole(2.0, x)
    chex.assert_trees_all_close(parts(2.0, x), expected, rtol=1e-12)
    chex.assert_trees_all_close(compiled(parts)(2.0, x), expected, rtol=1e-12)
    mapped = jax.vmap(parts, (0, None))(jnp.array([1.0, 2.0]), x)
    np.testing.assert_allclose(mapped.values[1], expected.values, rtol=1e-12)
    slope = jax.grad(lambda w: parts(w, x).values.sum())(2.0)
    step = 1e-6
    ahead, behind = (whole(2.0 + s, x).values.sum() for s in (step, -step))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6)


def test_a_feature_of_images_is_a_channel():
    x = jnp.asarray(RNG.normal(size=(2, 4, 4, 3)))
    fn = lambda w, x: (x**2).sum((1, 2, 3))  # noqa: E731
    values = ice(fn, feature=2, grid=[0.0, 1.0], score=total)(None, x).values
    rest = (x[..., :2] ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(values, np.stack([rest, rest + 16], axis=1))


def test_low_precision_integers_and_empty_batches():
    x = jnp.asarray(RNG.normal(size=(4, 3)), jnp.bfloat16)
    curves = ice(wave, feature=0, grid=3, score=total)(jnp.bfloat16(2), x)
    assert curves.values.dtype == curves.grid.dtype == jnp.bfloat16
    counts = jnp.arange(6).reshape(2, 3)
    fn = lambda w, x: x[:, 0] * 1.0  # noqa: E731
    values = ice(fn, feature=0, grid=[2, 5], score=total)(None, counts).values
    assert values.tolist() == [[2.0, 5.0], [2.0, 5.0]]
    none = partial_dependence(wave, feature=0, grid=[1.0], score=total)(2.0, x[:0])
    assert np.isnan(np.asarray(none.values, float)).all()


# --- Shares ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shares_of_the_variance_are_the_known_ones(name):
    function = FUNCTIONS[name]
    a, b = independent_samples(function, 12)
    run = compiled_once(sobol_indices(model(function), score=total, batch_size=2))
    indices, expected = run(None, a, b), function.sobol()
    np.testing.assert_allclose(indices.first, expected.first, atol=0.02)
    np.testing.assert_allclose(indices.total, expected.total, atol=0.02)
    rounded = run(None, a[::-1], b[::-1])
    chex.assert_trees_all_close(rounded, indices, rtol=1e-8)


def test_a_large_mean_costs_no_precision():
    a, b = independent_samples(FUNCTIONS["ishigami"], 8)
    function = FUNCTIONS["ishigami"]
    near = sobol_indices(model(function), score=total)(None, a, b)
    far = sobol_indices(lambda w, x: function(x) + 1e6, score=total)(None, a, b)
    chex.assert_trees_all_close(far, near, atol=1e-6)
    constant = sobol_indices(lambda w, x: 0 * x[:, 0], score=total)(None, a, b)
    assert np.isnan(constant.total).all()


def test_shuffling_costs_twice_the_variance_of_the_total_share():
    function = FUNCTIONS["ishigami"]
    x = function.sample(KEY, 20_000)
    score = lambda outputs, target: -((outputs - target) ** 2)  # noqa: E731
    importance = permutation_importance(model(function), score=score, repeats=4)
    drop = compiled_once(importance)(None, x, function(x), KEY)
    assert drop.shape == (4, 3)
    shares = drop.mean(axis=0) / (2 * np.var(function(x)))
    np.testing.assert_allclose(shares, function.sobol().total, atol=0.02)
    theirs = sklearn.inspection.permutation_importance(
        _Exact(function).fit(x, x),
        np.asarray(x),
        np.asarray(function(x)),
        scoring="neg_mean_squared_error",
        n_repeats=4,
        random_state=0,
    )
    np.testing.assert_allclose(
        drop.mean(axis=0), theirs["importances_mean"], atol=0.03 * 27
    )


class _Exact(Estimator):
    def __init__(self, function=None):
        self.function = function

    def predict(self, x):
        return np.asarray(self.function(jnp.asarray(x)))


def test_one_shuffled_feature_is_that_of_a_slow_loop():
    x = RNG.normal(size=(5, 3))
    y = np.asarray(wave(2.0, jnp.asarray(x)))
    score = lambda outputs, target: -((outputs - target) ** 2)  # noqa: E731
    drop = permutation_importance(wave, score=score, repeats=2, batch_size=2)(
        2.0, jnp.asarray(x), jnp.asarray(y), KEY
    )
    for r, key in enumerate(jax.random.split(KEY, 2)):
        order = np.asarray(jax.random.permutation(key, 5))
        for j in range(3):
            changed = x.copy()
            changed[:, j] = x[order, j]
            outputs = np.asarray(wave(2.0, jnp.asarray(changed)))
            np.testing.assert_allclose(drop[r, j], ((outputs - y) ** 2).mean())


def test_a_feature_that_is_not_read_is_worth_nothing():
    head = jnp.asarray(RNG.normal(size=(3, 2))).at[1].set(0)
    fn = lambda w, x: x @ w  # noqa: E731
    x, labels = jnp.asarray(RNG.normal(size=(20, 3))), jnp.arange(20) % 2
    run = permutation_importance(fn, score=log_probability)
    drop = run(head, x, labels, KEY)
    assert (np.abs(drop[:, 1]) < 1e-12).all()
    assert (np.abs(drop[:, [0, 2]]) > 1e-3).all()
    np.testing.assert_array_equal(drop, run(head, x, labels, KEY))


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "x", "error", "message"),
    [
        ({"feature": 0.5}, (4, 3), TypeError, "one feature along the last axis"),
        ({"feature": 3}, (4, 3), ValueError, "no feature 3: there are 3"),
        ({"feature": 0, "grid": []}, (4, 3), ValueError, r"has the shape \(0,\)"),
        ({"feature": 0, "grid": np.ones((2, 2))}, (4, 3), ValueError, r"\(2, 2\)"),
        ({"feature": 0, "grid": 0}, (4, 3), ValueError, "grid"),
        ({"feature": 0, "grid": 2.5}, (4, 3), ValueError, "grid"),
        ({"feature": 0, "batch_size": 0}, (4, 3), ValueError, "batch_size"),
        ({"feature": 0}, (3,), ValueError, r"Write `inputs\[None\]`"),
    ],
)
def test_what_has_no_curve(options, x, error, message):
    with pytest.raises(error, match=message):
        ice(wave, score=total, **options)(2.0, jnp.ones(x))


def test_samples_of_two_shapes():
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(5, 3\).*indices\(variables"):
        sobol_indices(wave, score=total)(2.0, jnp.ones((4, 3)), jnp.ones((5, 3)))


def test_without_a_key_or_repeats():
    with pytest.raises(TypeError, match="needs one key"):
        permutation_importance(wave, score=total)(2.0, jnp.ones((4, 3)))
    with pytest.raises(ValueError, match="repeats"):
        permutation_importance(wave, score=total, repeats=0)


def test_what_is_no_score_of_each_example_is_an_error():
    """Sums over the batch would be drawn without a word."""
    x, key = jnp.ones((5, 3)), jax.random.key(0)
    for score in (lambda y, target: y.sum(), lambda y, target: y):
        calls = (
            lambda s: ice(identity, feature=0, score=s)(None, x),
            lambda s: partial_dependence(identity, feature=0, score=s)(None, x),
            lambda s: permutation_importance(identity, score=s)(None, x, key=key),
            lambda s: sobol_indices(identity, score=s)(None, x, -x),
        )
        for call in calls:
            with pytest.raises(ValueError, match="must return one number per example"):
                call(score)


def identity(variables, inputs):
    return inputs


def test_a_grid_fits_integers_and_a_batch():
    whole = jnp.arange(12).reshape(4, 3)
    real = lambda v, x: x + 0.0  # noqa: E731
    with pytest.raises(ValueError, match="`grid` has fractions"):
        ice(real, feature=0, grid=[0.5], score="total")(None, whole)
    curves = ice(real, feature=0, grid=3, score="total")(None, whole)
    assert curves.grid.tolist() == [0, 4, 9]  # of 4.5 the even one
    with pytest.raises(ValueError, match="no quantiles of an empty batch"):
        ice(identity, feature=0, score="total")(None, jnp.ones((0, 3)))
    with pytest.raises(TypeError, match="inputs are one array"):
        ice(identity, feature=0, score="total")(None, {"a": jnp.ones((2, 3))})
