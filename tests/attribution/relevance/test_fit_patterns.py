"""Patterns against the paper's means, streams cut elsewhere, and data with a truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxinterp as ji
from jaxinterp.attribution import fit_patterns
from tests.networks import functions as models
from tests.oracles import patterns as oracle

IMAGES = models.normal(41, 12, 6, 6, 2) + 0.5
WEIGHTS = models.cnn_weights()


def linear(w, x):
    return x @ w


def only(fitted):
    (pattern,) = fitted.patterns.values()
    return np.asarray(pattern)


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("estimator", ["relu.positive", "relu.negative", "linear"])
def test_they_are_those_of_the_paper(estimator):
    # Batches of unequal size: the last is filled up, and copies must not count.
    batches = [IMAGES[:5], IMAGES[5:12]]
    fitted = fit_patterns(models.cnn, WEIGHTS, batches, estimator=estimator)
    expected = oracle.Network(WEIGHTS).patterns(IMAGES, estimator)
    assert fitted.patterns.keys() == expected.keys()
    for site, pattern in fitted.patterns.items():
        ours = np.asarray(pattern).reshape(expected[site].shape)
        np.testing.assert_allclose(ours, expected[site], rtol=1e-9, atol=1e-11)


def test_two_components_are_the_patterns_of_both_signs():
    options = {"estimator": "two_component"}
    half = fit_patterns(models.cnn, WEIGHTS, [IMAGES[:6]], **options)
    both = fit_patterns(models.cnn, WEIGHTS, [IMAGES[6:]], **options, resume=half)
    network = oracle.Network(WEIGHTS)
    for part, regime in enumerate(("relu.positive", "relu.negative")):
        expected = network.patterns(IMAGES, regime)
        for site in ("conv", "skip"):
            ours = np.asarray(both.patterns[site][part]).reshape(expected[site].shape)
            np.testing.assert_allclose(ours, expected[site], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(both.patterns["head"], expected["head"], rtol=1e-9)
    with pytest.raises(ValueError, match="Go on with the arguments"):
        fit_patterns(models.cnn, WEIGHTS, [IMAGES[6:]], resume=half)


def test_a_stopped_pass_goes_on_where_it_was():
    whole = fit_patterns(models.cnn, WEIGHTS, [IMAGES[:4], IMAGES[4:8], IMAGES[8:]])
    part = fit_patterns(models.cnn, WEIGHTS, [IMAGES[:4]])
    part = fit_patterns(models.cnn, WEIGHTS, [IMAGES[4:8], IMAGES[8:]], resume=part)
    for a, b in zip(jax.tree.leaves(part), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_example_of_the_paper_in_two_dimensions():
    """x = a_s y + a_d e, with an e that is exactly uncorrelated with y."""
    y = np.tile(np.linspace(-1, 1, 8), 2)[:, None]
    e = np.repeat([[-3.0], [3.0]], 8, axis=0)
    a_s, a_d, w = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]]), [[1.0], [-1.0]]
    x, w = y * a_s + e * a_d, np.array(w)
    np.testing.assert_allclose(linear(w, x), y, atol=1e-14)
    fitted = fit_patterns(linear, w, [x], estimator="linear")
    np.testing.assert_allclose(only(fitted)[:, 0], a_s[0], atol=1e-14)


def test_a_pattern_finds_the_signal_and_the_weights_the_distractor():
    signal, distractor = [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.5, 0.0]
    data = ji.data.linear_distractor(
        jax.random.key(0), 1 << 14, signal=signal, distractor=distractor
    )
    w = data.optimal_filter[:, None]
    batches = [data.inputs[:8192], data.inputs[8192:]]
    pattern = only(fit_patterns(linear, w, batches, estimator="linear"))[:, 0]
    assert cosine(pattern, np.array(signal)) > 0.999
    # The feature with the largest weight tells nothing of the target.
    assert np.abs(w[:, 0]).argmax() == 2
    assert cosine(w[:, 0], np.array(signal)) < 0.4


def test_a_mean_far_from_zero_costs_few_digits():
    x = (models.normal(42, 64, 3) + 1000).astype(np.float32)
    w = models.normal(43, 3, 2).astype(np.float32)
    fitted = fit_patterns(linear, w, [x[:32], x[32:]], estimator="linear")
    wide = x.astype(np.float64), w.astype(np.float64)
    expected = oracle.pattern(*wide, np.zeros(2), "linear")
    assert only(fitted).dtype == np.float32
    np.testing.assert_allclose(only(fitted), expected, atol=1e-5)


def test_units_that_say_nothing_have_no_pattern():
    x = np.abs(models.normal(44, 32, 3)) + 1
    w = np.stack([-np.ones(3), np.zeros(3), np.ones(3)], axis=1)  # dead, idle, alive
    weights = [{"w": w, "b": np.zeros((1, 3))}, {"w": np.ones((3, 1)), "b": 0.0}]
    fitted = fit_patterns(models.mlp, weights, [x])
    first = np.asarray(fitted.patterns["0"])
    np.testing.assert_array_equal(first[:, :2], 0)
    assert first[:, 2] @ w[:, 2] == pytest.approx(1)
    assert np.isfinite(jax.tree.leaves(fitted.patterns)[1]).all()

    constant = np.full((8, 3), 0.1, np.float32)  # rounding is no direction
    w = models.normal(45, 3, 2).astype(np.float32)
    parts = fit_patterns(linear, w, [constant], estimator="linear")
    np.testing.assert_array_equal(only(parts), 0)


def test_units_that_never_fire_are_named_and_those_that_do_have_their_pattern():
    """One unit of the first layer never fires; the second layer is the last."""

    def model(w, x):
        return jax.nn.relu(x @ w["first"] + w["bias"]) @ w["second"]

    w = {
        "first": models.normal(1, 4, 3),
        "bias": np.array([[0.0, -100.0, 0.0]]),
        "second": models.normal(2, 3, 2),
    }
    fitted = fit_patterns(model, w, [models.normal(3, 40, 4)])
    assert fitted.silent_units == {"first": [1], "second": []}
    sums = (w["first"] * fitted.patterns["first"]).sum(axis=0)
    np.testing.assert_allclose(sums, [1, 0, 1], rtol=1e-12)
    pair = fit_patterns(model, w, [models.normal(3, 40, 4)], estimator="two_component")
    assert pair.silent_units == fitted.silent_units
    never = fit_patterns(model, w, [models.normal(3, 40, 4)], estimator="linear")
    assert never.silent_units == {"first": [], "second": []}


def test_groups_strides_layouts_and_steps_before_the_kernel():
    """Weights times pattern are 1 for each unit, and a linear pattern is covariance."""
    x = models.normal(46, 9, 4, 8, 8)  # channels first

    def model(w, x):
        x = 2.0 * x - 1.0
        return lax.conv_general_dilated(
            *(x, w, (2, 2), "VALID"),
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
            feature_group_count=2,
        )

    w = models.normal(47, 6, 2, 3, 3)
    pattern = only(fit_patterns(model, w, [x], estimator="linear"))
    ones = (pattern * 2.0 * w).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(ones, 1, rtol=1e-12)
    y = np.asarray(model(w, x))
    unit, channel, row, column = 4, 1, 2, 0  # of the second group
    read = x[:, 2 + channel, row : row + 5 : 2, column : column + 5 : 2]
    corner = x[:, 2, 0:5:2, 0:5:2]
    one, other = (
        np.cov(values.ravel(), y[:, unit].ravel())[0, 1] for values in (read, corner)
    )
    ratio = pattern[unit, channel, row, column] / pattern[unit, 0, 0, 0]
    assert ratio == pytest.approx(one / other)


def test_half_precision_and_pytrees_of_inputs():
    x, w = models.normal(48, 64, 3) + 1, models.normal(49, 3, 2)
    exact = only(fit_patterns(linear, w, [x]))
    half = [jnp.asarray(array, jnp.bfloat16) for array in (w, x)]
    fitted = fit_patterns(lambda w, x: x["a"] @ w, half[0], [{"a": half[1]}])
    assert only(fitted).dtype == np.float32
    assert cosine(only(fitted)[:, 0].astype(float), exact[:, 0]) > 0.999


def test_what_cannot_be_fitted_is_an_error():
    x = models.vectors()
    with pytest.raises(ValueError, match="`estimator` is 'relu'"):
        fit_patterns(linear, np.ones((5, 2)), [x], estimator="relu")  # pyright: ignore[reportArgumentType]  what is wrong
    with pytest.raises(ValueError, match="no affine site"):
        fit_patterns(lambda w, x: jnp.tanh(x), None, [x])

    def in_loop(w, x):
        return lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, length=2)[0]

    with pytest.raises(ValueError, match="inside a loop or branch"):
        fit_patterns(in_loop, np.eye(5), [x])
    bad = x.copy()
    bad[2, 1] = np.nan
    with pytest.raises(FloatingPointError, match="not finite for example 2"):
        fit_patterns(linear, np.ones((5, 2)), [bad])
    fitted = fit_patterns(linear, np.ones((5, 2)), [x])
    with pytest.raises(ValueError, match="Go on with the arguments"):
        fit_patterns(linear, np.ones((5, 3)), [x], resume=fitted)
    with pytest.raises(TypeError, match="`resume` is what an earlier call"):
        fit_patterns(linear, np.ones((5, 2)), [x], resume=fitted.patterns)
    with pytest.raises(ValueError, match="no example"):
        fit_patterns(linear, np.ones((5, 2)), [x[:0]])
