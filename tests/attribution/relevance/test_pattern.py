"""PatternNet and PatternAttribution against the paper, and where the truth is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import (
    fit_patterns,
    gradient,
    pattern_attribution,
    pattern_net,
)
from jaxinterp.rules import (
    Composite,
    MissingPatternError,
    PatternNet,
    RuleSiteError,
)
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import patterns as oracle

IMAGES, TARGET = models.images(), models.targets()
WEIGHTS = models.cnn_weights()
METHODS = {"net": pattern_net, "attribution": pattern_attribution}


@pytest.fixture(scope="module")
def patterns():
    batch = models.normal(41, 12, 6, 6, 2) + 0.5
    return fit_patterns(models.cnn, WEIGHTS, [batch]).patterns


@pytest.mark.parametrize("kind", ["net", "attribution"])
def test_it_is_the_backward_pass_of_the_paper(kind, patterns):
    matrices = {a: np.asarray(p).reshape(-1, p.shape[-1]) for a, p in patterns.items()}
    network = oracle.Network(WEIGHTS)
    expected = network.explained(IMAGES, TARGET, matrices, kind)

    # Patterns are an argument: other ones need no new program.
    explain = compiled(
        lambda p, v, x, t: METHODS[kind](models.cnn, patterns=p)(v, x, t)
    )
    received = explain(patterns, WEIGHTS, IMAGES, TARGET)
    np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def pairs():
    batch = models.normal(41, 12, 6, 6, 2) + 0.5
    options = {"estimator": "two_component"}
    return fit_patterns(models.cnn, WEIGHTS, [batch], **options).patterns


@pytest.mark.parametrize("kind", ["net", "attribution"])
def test_each_unit_goes_back_by_the_component_of_its_sign(kind, pairs):
    matrices = {
        site: [np.asarray(p).reshape(-1, p.shape[-1]) for p in pair]
        for site, pair in pairs.items()
        if site != "head"
    }
    matrices["head"] = np.asarray(pairs["head"])
    expected = oracle.Network(WEIGHTS).explained(IMAGES, TARGET, matrices, kind)
    explain = compiled(
        lambda p, v, x, t: METHODS[kind](models.cnn, patterns=p)(v, x, t)
    )
    received = explain(pairs, WEIGHTS, IMAGES, TARGET)
    np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-12)


def test_where_a_relu_cuts_all_units_the_positive_component_decides_alone():
    layers, x = models.mlp_weights(), models.vectors()
    fits = [
        fit_patterns(models.mlp, layers, [models.normal(53, 64, 5)], estimator=e)
        for e in ("relu.positive", "two_component")
    ]
    one, two = (
        pattern_net(models.mlp, patterns=fit.patterns)(layers, x, TARGET)
        for fit in fits
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_it_has_a_derivative_in_the_patterns(patterns):
    def size(p):
        method = pattern_net(models.cnn, patterns=p)
        return (method(WEIGHTS, IMAGES, TARGET) ** 2).sum()

    slope = compiled(jax.grad(size))(patterns)
    # A signal is linear in the patterns of the last layer, and its square quadratic.
    inner = float((slope["head"] * patterns["head"]).sum())
    assert inner == pytest.approx(2 * float(size(patterns)), rel=1e-9)


def test_it_finds_the_signal_where_a_gradient_finds_the_distractor():
    signal, distractor = [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.5, 0.0]
    data = ji.data.linear_distractor(
        jax.random.key(0), 1 << 14, signal=signal, distractor=distractor
    )

    def model(w, x):
        return x @ w + 1.0

    w, x = data.optimal_filter[:, None], data.inputs
    patterns = fit_patterns(model, w, [x], estimator="linear").patterns
    found = pattern_net(model, patterns=patterns)(w, x, target=0)
    shares = pattern_attribution(model, patterns=patterns)(w, x, target=0)
    slopes = gradient(model)(w, x, target=0)
    np.testing.assert_allclose(shares.sum(axis=1), model(w, x)[:, 0], atol=1e-5)

    def share_of(feature, values):
        return float(jnp.abs(values[:, feature]).sum() / jnp.abs(values).sum())

    # The third feature has a distractor alone.
    assert share_of(2, found) < 0.02
    assert share_of(2, shares) < 0.05
    assert share_of(2, slopes) > 0.6
    scores = data.targets[:, None] + 1
    truth = scores * data.pattern[None]
    np.testing.assert_allclose(found, truth, atol=0.06)
    np.testing.assert_allclose(shares, truth * w.T, atol=0.06)


def test_a_site_and_a_hidden_unit_are_explained_too(patterns):
    method = pattern_attribution(models.cnn, patterns=patterns, at="max_pool")
    relevance = method(WEIGHTS, IMAGES, TARGET)
    assert relevance.shape == (3, 3, 3, 4)
    unit = pattern_net(models.cnn, patterns=patterns, score="conv:1")
    signal = unit(WEIGHTS, IMAGES)
    assert signal.shape == IMAGES.shape
    with pytest.raises(ValueError, match="'conv' lies inside of the affine map"):
        pattern_net(models.cnn, patterns=patterns, at="conv")(WEIGHTS, IMAGES, TARGET)


def test_a_scale_of_its_own_is_divided_by():
    def model(w, x):
        return jax.nn.relu(w * jax.nn.relu(x)).sum(axis=1)

    w, x = np.array([[2.0, 0.5, 0.0]]), np.array([[1.0, 3.0, 2.0]])
    score = ji.objectives.total
    signal = pattern_net(model, patterns={}, score=score)(w, x)
    np.testing.assert_allclose(signal, 3.5 * np.array([[0.5, 2.0, 0.0]]))
    shares = pattern_attribution(model, patterns={}, score=score)(w, x)
    np.testing.assert_allclose(shares, 3.5 * np.array([[1.0, 1.0, 0.0]]))


def test_patterns_of_other_sites_are_errors(patterns):
    def explain(patterns):
        return pattern_net(models.cnn, patterns=patterns)(WEIGHTS, IMAGES, TARGET)

    missing = {a: p for a, p in patterns.items() if a != "skip"}
    with pytest.raises(MissingPatternError, match="no pattern for 'skip'"):
        explain(missing)
    with pytest.raises(ji.tracing.AddressError, match="neck"):
        explain({**patterns, "neck": patterns["head"]})
    with pytest.raises(ValueError, match=r"has the shape \(4, 4\), and the kernel"):
        explain({**patterns, "skip": patterns["head"]})
    with pytest.raises(TypeError, match="`patterns` is a mapping"):
        explain([patterns])
    composite = Composite([("*", PatternNet())])
    on_relu = ji.with_rules(lambda w, x: jax.nn.relu(x), composite)
    with pytest.raises(RuleSiteError, match="an affine site"):
        jax.grad(lambda x: on_relu(None, x).sum())(IMAGES)
