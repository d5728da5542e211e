"""Where derivatives end: rounding, integers, stops, and calls with one of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.rules.composite import UnmatchedSiteError
from jaxinterp.tracing.errors import NoDerivativeError
from tests.tracing.arrays import normal, roles

X, W, T = normal(2, 6), normal(6, 4, seed=1), jnp.array([0, 3])


@jax.custom_vjp
def quantized(x, w):
    codes = [jnp.round(v / 0.05).astype(jnp.int8) for v in (x, w)]
    product = jax.lax.dot(*codes, preferred_element_type=jnp.int32)
    return product.astype(x.dtype) * 0.05**2


quantized.defvjp(
    lambda x, w: (quantized(x, w), (x, w)),
    lambda kept, g: (g @ kept[1].T, kept[0].T @ g),
)


@jax.custom_jvp
def spike(v, sharpness):  # which its derivative alone reads
    return (v > 0).astype(v.dtype)


spike.defjvp(lambda p, t: (spike(*p), t[0] / (1 + p[1] * p[0] ** 2)))


def network(w, x):
    return jax.nn.relu(quantized(x, w)) @ w.T


def test_a_quantized_product_keeps_its_derivative():
    def plain(w, x):
        return jax.nn.relu(x @ w) @ w.T

    guided = ji.attribution.guided_backprop(network)(W, X, T)
    active = quantized(X, W) > 0
    expected = (jnp.maximum(W.T[:, T].T, 0) * active) @ W.T
    np.testing.assert_allclose(guided, expected, rtol=1e-12)
    assert jnp.abs(ji.attribution.gradient(plain)(W, X, T)).max() > 0


def test_relevance_through_a_quantized_product_is_an_error_that_names_it():
    with pytest.raises(UnmatchedSiteError, match=r"(?s)round.*quantized"):
        ji.attribution.lrp(network, composite=rules.epsilon_plus())(W, X, T)
    (site,) = [n.address for n in ji.trace(network, W, X).nodes if n.role == "unknown"]
    composite = rules.Composite([(site, rules.Norm())]) + rules.epsilon_plus()
    ledger = ji.ledger(network, composite, W, X, T)
    assert abs(ledger.attributed) > 0.1 * abs(ledger.score)
    assert ledger.error < 1e-6


@pytest.mark.parametrize(
    "model",
    [
        lambda w, x: (x @ w > 0).astype(float),
        lambda w, x: jnp.round(x @ w).astype(jnp.int8) * 0.5,
        lambda w, x: jax.lax.stop_gradient(x @ w) * 2,
    ],
)
def test_a_model_without_a_derivative_is_an_error_that_names_the_step(model):
    with pytest.raises(NoDerivativeError, match=r"test_derivatives\.py"):
        ji.attribution.lrp(model, composite=rules.epsilon_plus())(W, X, T)


def test_a_call_that_only_rounds_is_a_site_that_passes_relevance():
    @jax.custom_vjp
    def rounded(x):
        return jnp.round(x)

    rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))
    model = lambda w, x: rounded(3 * (x @ w)) @ w.T  # noqa: E731
    assert "pointwise" in roles(model, W, X)
    assert ji.ledger(model, rules.epsilon_plus(1e-12), W, X, T).error < 1e-9


def test_a_step_with_a_derivative_of_its_own_passes_relevance():
    def model(w, x):
        return spike(x @ w, jnp.exp(w[0, 0])) @ w.T

    assert roles(model, W, X) == ["dense", "pointwise", "dense"]
    ledger = ji.ledger(model, rules.epsilon_plus(1e-12), W, X, T)
    assert ledger.error < 1e-9
    assert abs(ledger.attributed) > 0


@pytest.mark.parametrize("fill", [-jnp.inf, -1e5])
def test_masks_of_minus_infinity_give_finite_relevance_everywhere(fill):
    mask = jnp.tril(jnp.ones((6, 6), bool))
    weights = {name: normal(3, 5, seed=i) for i, name in enumerate("qkv")}

    def model(w, x):
        q, k, v = (x @ w[name] for name in "qkv")
        scores = jnp.einsum("bqd,bkd->bqk", q, k) + jnp.where(mask, 0, fill)[None]
        return (jax.nn.softmax(scores) @ v)[:, -1]

    x, composite = normal(2, 6, 3, seed=5), rules.epsilon_plus()
    relevance = ji.attribution.lrp(model, composite=composite, at="*")(weights, x, T)
    assert all(jnp.isfinite(r).all() for r in relevance.values())
    assert ji.ledger(model, composite, weights, x, T).error < 1e-4


def test_fourier_layers_are_linear_and_keep_the_books():
    def model(w, x):
        modes = jnp.fft.rfft(x)[:, :4] * w["modes"][None]
        padded = jnp.zeros((len(x), 9), modes.dtype).at[:, :4].set(modes)
        y = jnp.fft.irfft(padded, n=16).at[:, 2].multiply(3.0)
        mixed = jnp.fft.irfft(jnp.einsum("bc,cd->bd", jnp.fft.rfft(y), w["mix"]), n=16)
        return jax.nn.relu(mixed) @ w["head"]

    w = {
        "modes": normal(4) + 1j * normal(4, seed=1),
        "mix": normal(9, 9) + 1j * normal(9, 9, seed=1),
        "head": normal(16, 4),
    }
    x = normal(2, 16)
    assert set(roles(model, w, x)) == {"linear", "activation", "dense"}
    ledger = ji.ledger(model, rules.epsilon_plus(1e-12), w, x, T)
    assert ledger.error < 1e-9
    assert ledger.leak is None or abs(ledger.unexplained) < 1e-9


def test_a_layer_that_is_the_first_in_one_step_alone_is_an_error():
    def model(w, x):
        step = lambda y, _: (y + jnp.tanh(y @ w), None)  # noqa: E731
        return jax.lax.scan(step, x, None, length=3)[0]

    w = normal(6, 6)
    with pytest.raises(ValueError, match=r"first\(\) would mean .* in the first step"):
        ji.plan(model, rules.epsilon_plus_flat(), w, X)

    def recurrent(w, x):
        step = lambda h, v: (jnp.tanh(v @ w + h @ w), h)  # noqa: E731
        return jax.lax.scan(step, jnp.zeros((2, 6)), x)[0]

    sequence = normal(4, 2, 6)
    nodes = ji.trace(recurrent, w, sequence).nodes
    assert [n.is_first for n in nodes if n.role == "dense"] == [True, False]


def test_a_glob_does_not_mean_the_arithmetic_of_indices():
    def model(w, tokens):
        return w[jnp.where(tokens < 0, tokens + 7, tokens)].mean(1)

    _, arrays = ji.capture(model, "*")(normal(7, 3), jnp.array([[1, 2]]))
    assert all(jnp.issubdtype(a.dtype, jnp.inexact) for a in arrays.values())


def by_real_numbers(h):
    a, b = h[:, :3], h[:, 3:]
    c, s = np.cos(np.arange(3.0))[None], np.sin(np.arange(3.0))[None]
    return jnp.concatenate([a * c - b * s, b * c + a * s], -1)


def by_complex_numbers(h):
    turn = np.exp(1j * np.arange(3.0))[None]
    z = jax.lax.complex(h[:, :3], h[:, 3:]) * turn
    return jnp.concatenate([z.real, z.imag], -1)


@pytest.mark.parametrize("preset", ["epsilon_plus_flat", "excitation_backprop"])
def test_a_complex_number_counts_as_two(preset):
    def explained(turned):
        model = lambda w, x: turned(x @ w["in"]) @ w["out"]  # noqa: E731
        w = {"in": normal(6, 6), "out": normal(6, 4, seed=1)}
        lines = [  # without stabilizers, of which the spellings have unlike numbers
            (s, type(r)(epsilon=1e-14) if hasattr(r, "epsilon") else r)
            for s, r in getattr(rules, preset)().lines
        ]
        return ji.attribution.lrp(model, composite=lines)(w, X, T)

    expected, found = explained(by_real_numbers), explained(by_complex_numbers)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_a_nonlinear_function_of_complex_numbers_is_a_named_error():
    with pytest.raises(UnmatchedSiteError, match="role unknown, primitive exp"):
        ji.attribution.lrp(lambda w, x: jnp.exp(1j * (x @ w)).real)(W, X, T)
