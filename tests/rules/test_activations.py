"""Modified derivatives of activations, in whatever spelling the activation comes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import rules
from jaxinterp.tracing.errors import BatchAxisError
from tests.compiled import compiled
from tests.oracles import relu_rules as oracle

from .replay import below, distance, golden, relevance_through

X = np.random.default_rng(0).normal(size=(3, 4, 5)) * 4
G = np.random.default_rng(1).normal(size=X.shape)
SPELLINGS = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum the other way": lambda x: jnp.maximum(0, x),
    "where greater": lambda x: jnp.where(x > 0, x, 0),
    "where less": lambda x: jnp.where(x < 0, 0.0, x),
    "times a mask": lambda x: x * (x > 0),
    "clip": lambda x: jnp.clip(x, 0),
    "under jit": jax.jit(lambda x: jnp.maximum(x, 0.0)),
    "under checkpoint": jax.checkpoint(jax.nn.relu),
}
SMOOTH = {
    "gelu": jax.nn.gelu,
    "exact gelu": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "swish by hand": lambda x: x / (1 + jnp.exp(-x)),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "square": jnp.square,
    "mish by hand": lambda x: x * jnp.tanh(jnp.log(1 + jnp.exp(x))),
}


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


BETA = 3.0
KINKED = {
    "leaky relu": (
        lambda x: jax.nn.leaky_relu(x, 0.1),
        lambda x: sigmoid(BETA * x) + 0.1 * (1 - sigmoid(BETA * x)),
    ),
    "leaky relu by maximum": (
        lambda x: jnp.maximum(x, 0.1 * x),
        lambda x: sigmoid(BETA * 0.9 * x) + 0.1 * (1 - sigmoid(BETA * 0.9 * x)),
    ),
    "relu6": (
        jax.nn.relu6,
        lambda x: sigmoid(BETA * x) * sigmoid(BETA * (6 - np.maximum(x, 0))),
    ),
    "abs": (jnp.abs, lambda x: 2 * sigmoid(BETA * x) - 1),
    "shifted": (lambda x: jnp.maximum(x, 1.5), lambda x: sigmoid(BETA * (x - 1.5))),
    "minimum": (lambda x: jnp.minimum(x, 1.0), lambda x: sigmoid(BETA * (1 - x))),
}


def received(f, rule, x=X, g=G):
    run = functools.partial(relevance_through, lambda _, x: f(x), rule, None)
    return compiled(run)(x, g)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_any_spelling_of_relu(spelling):
    f = SPELLINGS[spelling]
    expected = {
        rules.DeconvReLU(): oracle.deconvnet(G),
        rules.GuidedReLU(): oracle.guided(X, G),
        rules.Pass(): G,
        rules.Gradient(): oracle.relu_gradient(X, G),
    }
    for percentile in (10.0, 60.0, 97.0):
        rows = [oracle.rectified(x, g, percentile) for x, g in zip(X, G, strict=True)]
        expected[rules.RectGrad(percentile)] = np.stack(rows)
    if spelling != "times a mask":  # a product with a mask has no kink, only a jump
        expected[rules.BetaSmooth()] = oracle.beta_smooth(X, G)
    for rule, value in expected.items():
        np.testing.assert_allclose(received(f, rule), value, rtol=1e-12, atol=1e-14)


def test_relu_of_zennit():
    data = below(golden("zennit_rules.npz"), "relu")
    table = {
        "pass": rules.Pass(),
        "deconvnet": rules.DeconvReLU(),
        "guided_backprop": rules.GuidedReLU(),
        "beta_smooth": rules.BetaSmooth(10.0),
        "beta_smooth_1": rules.BetaSmooth(1.0),
    }
    for key, rule in table.items():
        value = received(jax.nn.relu, rule, data["input"], data["relevance_out"])
        assert distance(value, data[f"{key}/relevance"]) <= 1e-12
    data = below(golden("zennit_rules.npz"), "tanh")
    value = received(jnp.tanh, rules.Pass(), data["input"], data["relevance_out"])
    assert distance(value, data["pass/relevance"]) == 0


SIZES = {"sigmoid": 0.25}  # as `0.5 + 0.5 * tanh(x / 2)` has it


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_activations(name):
    f = SMOOTH[name]
    slope = jax.grad(lambda x: f(x).sum())(X)
    expected = {
        rules.DeconvReLU(): SIZES.get(name, 1) * np.maximum(G, 0),
        rules.GuidedReLU(): slope * np.maximum(G, 0),
        rules.BetaSmooth(): slope * G,
    }
    for rule, value in expected.items():
        np.testing.assert_allclose(received(f, rule), value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH | KINKED)
def test_rectified_gradients_keep_the_slope_of_the_activation(name):
    f = SMOOTH[name] if name in SMOOTH else KINKED[name][0]
    y, pull = jax.vjp(f, X)
    threshold = np.percentile(y * G, 80.0, axis=(1, 2), keepdims=True)
    (expected,) = pull(np.where(y * G > threshold, G, 0))
    value = received(f, rules.RectGrad(80.0))
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)
    assert (value != 0).any()


def test_with_a_threshold_of_zero_rectified_gradients_are_guided():
    x = np.array([[-1.0, -2.0, 3.0, 4.0, 5.0], [1.0, -1.0, -2.0, 2.0, -3.0]])
    g = np.array([[1.0, -2.0, -3.0, 4.0, 0.0], [-1.0, 2.0, 3.0, 7.0, 1.0]])
    assert (np.median(np.maximum(x, 0) * g, axis=1) == 0).all()
    value = received(jax.nn.relu, rules.RectGrad(50.0), x, g)
    np.testing.assert_array_equal(
        value, received(jax.nn.relu, rules.GuidedReLU(), x, g)
    )


def test_the_threshold_itself_is_not_exceeded():
    assert (received(jax.nn.relu, rules.RectGrad(100.0)) == 0).all()
    passed = received(jax.nn.softplus, rules.RectGrad(0.0), g=np.ones_like(X))
    assert [(row == 0).sum() for row in passed] == [1, 1, 1]


def test_an_activation_with_its_sign_turned_is_rectified_alike():
    def turned(x):
        return -jax.nn.relu(x)

    for percentile in (20.0, 90.0):
        rule = rules.RectGrad(percentile)
        value = received(turned, rule, g=-G)
        np.testing.assert_array_equal(value, received(jax.nn.relu, rule))


def test_examples_have_thresholds_of_their_own_in_any_layout():
    rule = rules.RectGrad(70.0)
    whole = received(jax.nn.relu, rule)
    alone = [received(jax.nn.relu, rule, X[[i]], G[[i]])[0] for i in range(len(X))]
    np.testing.assert_array_equal(whole, alone)
    layouts = {
        "last": lambda x: jnp.moveaxis(jax.nn.relu(jnp.moveaxis(x, 0, 2)), 2, 0),
        "merged": lambda x: jax.nn.relu(x.reshape(-1, 5)).reshape(x.shape),
        "mapped": jax.vmap(jax.nn.relu),
    }
    for name, f in layouts.items():
        np.testing.assert_array_equal(received(f, rule), whole, err_msg=name)


def test_a_step_of_a_loop_has_no_threshold_of_its_own():
    def steps(x):
        return lax.scan(lambda h, _: (jax.nn.relu(h), None), x, None, length=2)[0]

    composite = rules.rect_grad()
    with pytest.raises(BatchAxisError, match="RectGrad"):
        relevance_through(lambda _, x: steps(x), composite, None, X, G)


@pytest.mark.parametrize("percentile", [-1.0, 100.5, float("nan"), "98"])
def test_a_percentile_lies_between_0_and_100(percentile, unchecked):
    with pytest.raises(ValueError, match="RectGrad: `percentile` must lie between"):
        rules.rect_grad(percentile)


@pytest.mark.parametrize("name", KINKED)
def test_kinks_are_smoothed(name):
    f, slope = KINKED[name]
    smoothed = received(f, rules.BetaSmooth(BETA))
    np.testing.assert_allclose(smoothed, slope(X) * G, rtol=1e-12, atol=1e-14)
    sharp = received(f, rules.BetaSmooth(1e6))
    np.testing.assert_allclose(sharp, jax.vjp(f, X)[1](G)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KINKED)
def test_guided_gradients_have_the_slope_of_the_activation(name):
    f, _ = KINKED[name]
    slope = jax.grad(lambda x: f(x).sum())(X)
    value = received(f, rules.GuidedReLU())
    # A minimum is a relu with its sign turned, and so is the gradient it rectifies.
    g = np.minimum(G, 0) if name == "minimum" else np.maximum(G, 0)
    np.testing.assert_allclose(value, slope * g, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("f", [jax.nn.softplus, jax.nn.elu, jax.nn.celu])
def test_steps_that_cancel_are_smoothed_a_little(f):
    slope = jax.grad(lambda x: f(x).sum())(X)
    x = received(f, rules.BetaSmooth(1e8), g=np.ones_like(X))
    np.testing.assert_allclose(x, slope, rtol=1e-10, atol=1e-14)
    x = received(f, rules.BetaSmooth(10.0), g=np.ones_like(X))
    np.testing.assert_allclose(x, slope, atol=0.25)
    assert np.abs(x - slope).max() > 1e-3


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize(
    "rule",
    [rules.DeconvReLU(), rules.GuidedReLU(), rules.BetaSmooth(), rules.RectGrad()],
    ids=str,
)
def test_the_dtype_is_kept(rule, dtype):
    x, g = jnp.asarray(X, dtype), jnp.asarray(G, dtype)
    assert received(jax.nn.leaky_relu, rule, x, g).dtype == dtype


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_beta_must_be_positive(beta):
    with pytest.raises(ValueError, match=f"`beta` must be positive, and is {beta}"):
        rules.BetaSmooth(beta)


@pytest.mark.parametrize(
    "rule",
    [rules.DeconvReLU(), rules.GuidedReLU(), rules.BetaSmooth(), rules.RectGrad()],
    ids=str,
)
def test_only_activations_have_these_rules(rule):
    with pytest.raises(rules.RuleSiteError, match="needs an activation") as error:
        relevance_through(lambda w, x: x @ w, rule, np.ones((5, 5)), X, G)
    assert "role dense" in str(error.value)
    assert "test_activations.py" in str(error.value)
