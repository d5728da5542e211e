"""DeepLIFT: against its oracle, what it equals elsewhere, and what it refuses."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import rules
from jaxinterp.attribution import deep_lift, deep_lift_shap, lrp
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import deep_lift as oracle

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
BASELINE = models.normal(30, 5)
PLAIN = [(layer["w"], layer["b"][0]) for layer in LAYERS]


@pytest.mark.parametrize(
    ("model", "activation"),
    [(models.mlp, lambda z: np.maximum(z, 0)), (models.smooth_mlp, np.tanh)],
)
def test_of_a_dense_network_it_is_the_oracle(model, activation):
    received = compiled(deep_lift(model, baseline=BASELINE))(LAYERS, X, TARGET)
    for i, target in enumerate(TARGET):
        expected = oracle.rescale(PLAIN, X[i], BASELINE, target, activation)
        np.testing.assert_allclose(received[i], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "activation", "slope"),
    [
        (models.mlp, lambda z: np.maximum(z, 0), lambda z: float(z > 0)),
        (models.smooth_mlp, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    ],
)
def test_of_a_dense_network_reveal_cancel_is_the_oracle(model, activation, slope):
    start = np.where(np.arange(5) == 2, X[0], BASELINE)  # one entry stays as it is
    options = {"baseline": start, "rule": "reveal_cancel"}
    received = compiled(deep_lift(model, **options))(LAYERS, X, TARGET)
    multipliers = deep_lift(model, **options, result="multipliers")(LAYERS, X, TARGET)
    for i, target in enumerate(TARGET):
        call = PLAIN, X[i], start, target, activation, slope
        expected = oracle.reveal_cancel(*call)
        np.testing.assert_allclose(multipliers[i], expected, rtol=1e-8)
        np.testing.assert_allclose(received[i], expected * (X[i] - start), rtol=1e-8)
    dense_alone = deep_lift(model, baseline=start, rule="genomics_default")
    np.testing.assert_allclose(dense_alone(LAYERS, X, TARGET), received, rtol=1e-12)


@pytest.mark.parametrize("by_kernel", [False, True])
def test_a_minimum_is_shared_by_both(by_kernel):
    """Shrikumar et al., 2017, section 3.5: rescale sees but the smaller of the two."""

    def model(w, x):
        difference = x @ w if by_kernel else x[:, :1] - x[:, 1:]
        return x[:, :1] - jax.nn.relu(difference)

    w, x = np.array([[1.0], [-1.0]]), np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
    shared = deep_lift(model, rule="reveal_cancel")(w, x, 0)
    np.testing.assert_allclose(shared, [[0.5, 0.5], [0.5, 0.5], [1.0, 1.0]])
    alone = deep_lift(model)(w, x, 0)
    np.testing.assert_allclose(alone[:2], [[0.0, 1.0], [1.0, 0.0]], atol=1e-15)


def convolutional(v, x):
    h = jax.nn.relu(models.convolve(x, v["conv"]["w"]) + v["conv"]["b"])
    h = h + models.convolve(h, v["skip"]["w"])
    return dense_part(v, jax.nn.relu(h))


def dense_part(v, h):
    h = jnp.tanh(h.mean((1, 2)) @ v["head"]["w"] + v["head"]["b"])
    return h @ v["out"]


def test_genomics_default_takes_apart_what_dense_layers_add_up_alone():
    weights = {**models.cnn_weights(), "out": models.normal(34, 4, 4)}
    x, images = models.images(), (weights, models.images(), TARGET)
    explain = {
        rule: np.asarray(compiled(deep_lift(convolutional, rule=rule))(*images))
        for rule in ("rescale", "reveal_cancel", "genomics_default")
    }
    # At the last layer before dense ones, and from there on by rescale.
    at = {"at": "relu_1", "rule": "reveal_cancel", "result": "multipliers"}

    def body(x):
        h = jax.nn.relu(models.convolve(x, weights["conv"]["w"]) + weights["conv"]["b"])
        return jax.nn.relu(h + models.convolve(h, weights["skip"]["w"]))

    at["baseline"] = np.asarray(body(0 * x))
    upstream = deep_lift(convolutional, **at)(*images)

    def weighted(m, x):
        return body(x) * m

    below = deep_lift(weighted, score=lambda y, _: y.sum((1, 2, 3)))(upstream, x)
    np.testing.assert_allclose(
        explain["genomics_default"], below, rtol=1e-9, atol=1e-14
    )
    change = convolutional(weights, x) - convolutional(weights, 0 * x)
    for shares in explain.values():
        total = shares.sum((1, 2, 3))
        np.testing.assert_allclose(total, change[np.arange(3), TARGET], rtol=1e-10)
    first, second, third = explain.values()
    assert min(abs(first - second).max(), abs(second - third).max()) > 1e-3
    assert abs(first - third).max() > 1e-3


def recurrent(w, x):
    """A step reads gates that are cut out of the sum of two layers."""

    def step(h, x):
        gates = x @ w["in"] + h @ w["own"]
        let_in, new = jnp.split(gates, 2, axis=-1)
        return h + jax.nn.sigmoid(let_in) * jnp.tanh(new), None

    h, _ = lax.scan(step, jnp.zeros((len(x), 4)), jnp.moveaxis(x, 1, 0))
    return h


def joint(w, x):
    """The same with one layer of both, which a checkpoint hides, and without a loop."""
    h, kernel = jnp.zeros((len(x), 4)), jnp.concatenate([w["in"], w["own"]])

    @jax.checkpoint
    def gates_of(x, h):
        return jax.jit(lambda x, w: -2.0 * (x @ w))(jnp.concatenate([x, h], 1), kernel)

    for i in range(x.shape[1]):
        gates = gates_of(x[:, i], h) / -2.0
        h = h + jax.nn.sigmoid(gates[:, :4]) * jnp.tanh(gates[:, 4:])
    return h


def test_reveal_cancel_in_loops_and_calls_is_that_of_one_layer_for_all():
    w = {"in": models.normal(35, 3, 8), "own": models.normal(36, 4, 8)}
    x, start = models.normal(37, 2, 3, 3), models.normal(38, 3, 3)
    options = {"rule": "reveal_cancel", "baseline": start}
    received = compiled(deep_lift(recurrent, **options))(w, x, 1)
    change = (recurrent(w, x) - recurrent(w, np.broadcast_to(start, x.shape)))[:, 1]
    np.testing.assert_allclose(received.sum((1, 2)), change, rtol=1e-10)
    expected = compiled(deep_lift(joint, **options))(w, x, 1)
    np.testing.assert_allclose(received, expected, rtol=1e-9)
    rescaled = compiled(deep_lift(recurrent, baseline=start))(w, x, 1)
    assert abs(rescaled - received).max() > 1e-2


def test_without_biases_and_from_zero_it_is_lrp_zero():
    """Shrikumar et al., 2016, section 3; a relu's slope is then its step."""
    received = deep_lift(models.unbiased_mlp)(LAYERS, X, TARGET)
    plain = lrp(models.unbiased_mlp, composite=rules.epsilon_plus(1e-14))
    np.testing.assert_allclose(received, plain(LAYERS, X, TARGET), rtol=1e-9)


def test_input_and_baseline_in_turn_change_the_sign():
    there = deep_lift(models.smooth_mlp, baseline=BASELINE)(LAYERS, X, TARGET)
    others = np.broadcast_to(BASELINE, X.shape)
    back = deep_lift(models.smooth_mlp, baseline=X)(LAYERS, others, TARGET)
    np.testing.assert_allclose(there, -back, rtol=1e-10)


class Transformer(nn.Module):
    """Two blocks with everything: masked attention, norms, a gate, gelu."""

    @nn.compact
    def __call__(self, x):
        h = nn.Dense(8)(x)
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2]))
        for _ in range(2):
            h = h + nn.MultiHeadDotProductAttention(num_heads=2)(
                nn.LayerNorm()(h), mask=mask
            )
            inner = nn.LayerNorm()(h)
            h = h + nn.Dense(8)(nn.gelu(nn.Dense(12)(inner)) * nn.Dense(12)(inner))
        return nn.Dense(3)(nn.RMSNorm()(h).mean(1))


@pytest.mark.slow(reason="compiles two blocks of a transformer twice")
def test_a_transformer_loses_nothing_even_in_float32():
    """From zeros, of which each norm divides by the root of its epsilon."""
    model, x = Transformer(), models.normal(31, 2, 5, 4)
    weights = model.init(jax.random.key(0), x)
    received = compiled(deep_lift(model.apply))(weights, x, 0)
    difference = (model.apply(weights, x) - model.apply(weights, 0 * x))[:, 0]
    np.testing.assert_allclose(received.sum((1, 2)), difference, rtol=0, atol=1e-13)
    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (weights, x))
    in_float32 = compiled(deep_lift(model.apply))(*single, 0)
    assert in_float32.dtype == jnp.float32
    scale = np.abs(received).max()
    np.testing.assert_allclose(in_float32, received, rtol=0, atol=1e-4 * scale)


def test_over_a_background_it_is_the_mean_and_adds_up_exactly():
    background = models.normal(32, 7, 5)
    attribute = compiled(
        deep_lift_shap(models.mlp, background=background, batch_size=3)
    )
    received = attribute(LAYERS, X, TARGET)
    each = compiled(lambda b: deep_lift(models.mlp, baseline=b)(LAYERS, X, TARGET))
    expected = np.mean([each(b) for b in background], axis=0)
    np.testing.assert_allclose(received, expected, rtol=1e-9)
    scores = models.mlp(LAYERS, X)[np.arange(3), TARGET]
    mean = models.mlp(LAYERS, background).mean(0)[TARGET]
    np.testing.assert_allclose(received.sum(1), scores - mean, rtol=1e-9)
    options = {"background": background, "rule": "reveal_cancel"}
    taken_apart = compiled(deep_lift_shap(models.mlp, **options))(LAYERS, X, TARGET)
    one = {"rule": "reveal_cancel", "result": "multipliers"}
    each = compiled(
        lambda b: deep_lift(models.mlp, baseline=b, **one)(LAYERS, X, TARGET)
    )
    expected = np.mean([(X - b) * each(b) for b in background], axis=0)
    np.testing.assert_allclose(taken_apart, expected, rtol=1e-9)


def test_a_hidden_layer_shares_the_difference_as_well():
    attribute = deep_lift(models.cnn, at="max_pool", baseline=0.2)
    weights, x = models.cnn_weights(), models.images()
    received = attribute(weights, x, TARGET)
    assert received.shape == (3, 3, 3, 4)

    def rest(v, h):
        h = jax.nn.relu(h + models.convolve(h, v["skip"]["w"]))
        return h.mean((1, 2)) @ v["head"]["w"] + v["head"]["b"]

    pooled = jax.nn.relu(
        (models.convolve(x, weights["conv"]["w"]) + weights["conv"]["b"])
        * weights["norm"]["scale"]
        + weights["norm"]["shift"]
    )
    pooled = lax.reduce_window(
        pooled, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
    )
    expected = deep_lift(rest, baseline=0.2)(weights, pooled, TARGET)
    np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-14)


def test_a_baseline_must_fit():
    with pytest.raises(ValueError, match="one example at least"):
        deep_lift_shap(models.mlp, background=X[:0])(LAYERS, X, TARGET)
    with pytest.raises(ValueError, match="baseline"):
        deep_lift(models.mlp, baseline=np.zeros(4))(LAYERS, X, TARGET)


def test_multipliers_and_what_other_letters_would_contribute():
    def model(w, x):
        return jnp.tanh(x.reshape(len(x), -1) @ w)

    w = models.normal(31, 12, 3)
    x = np.eye(4)[np.array([[0, 3, 1], [2, 2, 0]])]
    start = np.array([0.1, 0.2, 0.3, 0.4])

    @compiled
    def all_of_them(x):
        results = ("contributions", "multipliers", "hypothetical")
        return [deep_lift(model, baseline=start, result=r)(w, x, 1) for r in results]

    shares, multipliers, hypothetical = map(np.asarray, all_of_them(x))
    np.testing.assert_allclose(shares, multipliers * (x - start))
    for example, place, letter in np.ndindex(2, 3, 4):
        other = np.eye(4)[letter] - start
        expected = (multipliers[example, place] * other).sum()
        assert hypothetical[example, place, letter] == pytest.approx(expected)
    there = (hypothetical * x).sum(axis=-1)
    np.testing.assert_allclose(there, shares.sum(axis=-1), atol=1e-12)

    background = np.stack([np.broadcast_to(start, (3, 4)), x[1]])
    options = {"background": background, "result": "hypothetical"}
    averaged = deep_lift_shap(model, **options)(w, x, 1)
    second = deep_lift(model, baseline=x[1], result="hypothetical")(w, x, 1)
    np.testing.assert_allclose(averaged, (hypothetical + second) / 2, rtol=1e-9)
    with pytest.raises(ValueError, match="`rule` is 'reveal'"):
        deep_lift(model, rule="reveal")  # pyright: ignore[reportArgumentType]  what is wrong
    for method in (deep_lift, functools.partial(deep_lift_shap, background=x)):
        with pytest.raises(ValueError, match="`result` is 'shares'"):
            method(model, result="shares")
