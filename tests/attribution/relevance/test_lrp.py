"""LRP and deep Taylor decomposition, against the textbook and their own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import (
    deconvnet,
    deep_taylor,
    gradient,
    guided_backprop,
    input_x_gradient,
    lrp,
)
from jaxinterp.objectives import logit
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import networks as oracle_networks
from tests.oracles import relu_rules as oracle_relu
from tests.oracles import rules as oracle
from tests.rules.replay import NETWORKS, below, distance, golden

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
LRP_0 = rules.Composite([(ji.of_role("activation"), rules.Gradient())]) + (
    rules.Composite([("*", rules.Zero())])
)


def picked(logits):
    return np.asarray(logits)[np.arange(len(TARGET)), TARGET]


# --- LRP ------------------------------------------------------------------------------


def test_without_biases_lrp_0_is_input_times_gradient():
    received = compiled(lrp(models.unbiased_mlp, composite=LRP_0))(LAYERS, X, TARGET)
    expected = compiled(input_x_gradient(models.unbiased_mlp))(LAYERS, X, TARGET)
    np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-13)


def test_with_biases_lrp_0_is_input_times_gradient_too():
    args = models.cnn_weights(), models.images(), TARGET
    received = compiled(lrp(models.cnn, composite=LRP_0 + rules.epsilon_plus()))(*args)
    expected = compiled(input_x_gradient(models.cnn))(*args)
    np.testing.assert_allclose(received, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    "composite",
    [rules.epsilon_plus(0.0), rules.excitation_backprop()],
    ids=["epsilon_plus", "excitation_backprop"],
)
def test_without_biases_relevance_adds_up_to_the_score(composite):
    attribute = compiled(lrp(models.unbiased_mlp, composite=composite))
    received = attribute(LAYERS, X, TARGET)
    expected = picked(models.unbiased_mlp(LAYERS, X))
    np.testing.assert_allclose(received.sum(axis=1), expected, rtol=1e-4)


def test_the_default_composite_is_epsilon_plus_flat():
    explicit = compiled(lrp(models.cnn, composite=rules.epsilon_plus_flat()))
    args = models.cnn_weights(), models.images(), TARGET
    np.testing.assert_array_equal(compiled(lrp(models.cnn))(*args), explicit(*args))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vgg", "zennit_vgg.npz"),
        pytest.param(
            *("resnet", "zennit_resnet.npz"),
            marks=pytest.mark.slow(reason="explains a residual network four times"),
        ),
    ],
)
def test_the_seed_is_the_score(name, file):
    data = golden(file)
    parameters = below(data, "params")
    for key, method in (
        ("epsilon_plus", lrp(NETWORKS[file], composite=rules.epsilon_plus())),
        ("gradient", gradient(NETWORKS[file])),
        ("guided_backprop", guided_backprop(NETWORKS[file])),
        ("deconvnet", deconvnet(NETWORKS[file])),
    ):
        received = compiled(method)(parameters, data["input"], data["target"])
        assert distance(received, data[f"{key}/relevance"]) <= 1e-9, key


# --- Relative attributing propagation -------------------------------------------------


def rap_of_one_image(parameters, image, target):
    """RAP of the small VGG as the paper's code has it, written out in NumPy."""

    def first(matrix, bias, x, relevance):
        return oracle.z_box(matrix, bias, x, relevance, low=x.min(), high=x.max())

    def last(matrix, bias, x, relevance):
        return oracle.absolute_ratio(matrix, 0 * bias, x, relevance)

    relative = oracle.relative_influence
    composite = oracle_networks.Composite(first, relative, relative, last=last)
    network = oracle_networks.Network(parameters)
    logits, back = oracle_networks.vgg(network, image, composite)
    return back(logits * (np.arange(len(logits)) == target))


def test_rap_of_a_network_is_that_of_its_definition():
    data = golden("zennit_vgg.npz")
    parameters = below(data, "params")
    images, targets = data["input"][:1], data["target"][:1]
    attribute = compiled(lrp(NETWORKS["zennit_vgg.npz"], composite="rap"))
    received = attribute(parameters, images, targets)
    expected = rap_of_one_image(parameters, images[0], targets[0])
    assert distance(received, expected[None]) <= 1e-9


def test_rap_keeps_the_sum_of_relevance_in_every_layer():
    """Whatever the biases are; what stabilizers take is little, and in the books."""
    args = models.cnn_weights(), models.images(), TARGET
    relevance = compiled(lrp(models.cnn, composite="rap", at="*"))(*args)
    received = compiled(lrp(models.cnn, composite="rap"))(*args)
    scores = picked(models.cnn(*args[:2]))
    assert len(set(np.sign(scores))) == 2
    for value in (received, relevance["max_pool"], relevance["relu"]):
        sums = np.asarray(value).reshape(3, -1).sum(1)
        np.testing.assert_allclose(sums, scores, rtol=1e-4)
    for entry in ji.ledger(models.cnn, "rap", *args).entries:
        assert entry.bias == pytest.approx(0, abs=1e-12)
        assert entry.handed_on == pytest.approx(entry.received, rel=1e-4)
    # The last layer hands on influence, all of the sign of the score; others compare.
    signs = np.asarray(relevance["mean"]) * np.sign(scores)[:, None]
    assert (signs >= 0).all()
    assert (received > 0).any()
    assert (received < 0).any()


@pytest.mark.parametrize("composite", [rules.epsilon_plus, None, 3])
def test_a_composite_is_made_with_parentheses(composite, unchecked):
    with pytest.raises(
        TypeError, match=r"(?s)must be a Composite.*parentheses"
    ) as error:
        lrp(models.mlp, composite=composite)
    assert "composite=jaxinterp.rules.epsilon_plus()" in str(error.value)


def test_an_unmatched_site_is_an_error():
    def model(v, x):
        return models.mlp(v, x / (1 + jnp.square(x) @ (np.eye(5) + 0.5)))

    with pytest.raises(rules.UnmatchedSiteError, match="role quotient"):
        lrp(model)(LAYERS, X, TARGET)


# --- Relevance everywhere at once -----------------------------------------------------


def test_relevance_at_every_site_comes_from_one_pass():
    args = models.cnn_weights(), models.images(), TARGET
    all_at_once = lrp(models.cnn, at="*")(*args)

    @compiled
    def one_by_one(*args):
        return {a: lrp(models.cnn, at=a)(*args) for a in all_at_once}

    one = one_by_one(*args)
    assert list(all_at_once)[-1] == "head"
    assert np.abs(all_at_once["relu"]).max() > 0
    for address, relevance in all_at_once.items():
        np.testing.assert_allclose(relevance, one[address], rtol=1e-12, atol=1e-15)


def test_each_layer_holds_the_relevance_of_the_next():
    def composite():
        return rules.epsilon_plus(0.0)

    relevance = lrp(models.unbiased_mlp, composite=composite(), at="*")(
        LAYERS, X, TARGET
    )
    expected = picked(models.unbiased_mlp(LAYERS, X))
    for value in relevance.values():
        np.testing.assert_allclose(value.sum(axis=1), expected, rtol=1e-10)


def test_many_targets_share_one_forward_pass():
    attribute = lrp(models.cnn)
    variables, x = models.cnn_weights(), models.images()
    many = jax.vmap(attribute, in_axes=(None, None, 0))
    targets = np.stack([np.full(3, c) for c in range(models.CLASSES)])
    received = compiled(many)(variables, x, targets)
    each = [attribute(variables, x, t) for t in targets]
    np.testing.assert_allclose(received, each, rtol=1e-9, atol=1e-12)

    def flops(fn, *args):
        return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]

    # On a wider network, where the passes and not the bookkeeping are what counts.
    wide = models.mlp_weights((64, 256, 256, models.CLASSES))
    x = models.normal(0, 3, 64)
    forward = flops(models.mlp, wide, x)
    one = flops(lrp(models.mlp), wide, x, TARGET)
    four = flops(jax.vmap(lrp(models.mlp), in_axes=(None, None, 0)), wide, x, targets)
    assert four <= 4 * one - 2.5 * forward


# --- Deep Taylor decomposition --------------------------------------------------------


def by_the_textbook(low, high):
    """Deep Taylor decomposition of the tiny VGG, without biases in the denominators."""
    data = golden("zennit_vgg.npz")
    network = oracle_networks.Network(below(data, "params"))

    def no_bias(rule, **options):
        def without(matrix, bias, x, relevance):
            return rule(matrix, 0 * bias, x, relevance, **options)

        return without

    plus = no_bias(oracle.z_plus)
    first = (
        no_bias(oracle.w_square)
        if low is None
        else no_bias(oracle.z_box, low=low, high=high)
    )
    composite = oracle_networks.Composite(first, plus, plus)
    received = []
    for x, target in zip(data["input"], data["target"], strict=True):
        logits, back = oracle_networks.vgg(network, x, composite)
        seed = np.zeros_like(logits)
        seed[target] = max(logits[target], 0.0)
        received.append(back(seed))
    return data, np.stack(received)


@pytest.mark.parametrize("bounds", [{}, {"low": -6.0, "high": 6.0}], ids=str)
def test_deep_taylor_is_that_of_the_textbook(bounds):
    data, expected = by_the_textbook(bounds.get("low"), bounds.get("high"))
    attribute = compiled(deep_taylor(NETWORKS["zennit_vgg.npz"], **bounds))
    received = attribute(below(data, "params"), data["input"], data["target"])
    assert (picked_of(data) > 0).any(), "nothing would be tested"
    assert distance(received, expected) <= 1e-9


def picked_of(data):
    return data["output"][np.arange(3), data["target"]]


def test_deep_taylor_of_a_score_below_zero_is_nothing():
    logits = np.asarray(models.mlp(LAYERS, X))
    worst, best = logits.argmin(axis=1), logits.argmax(axis=1)
    assert (logits.min(axis=1) < 0).all()
    assert (logits.max(axis=1) > 0).all()
    attribute = deep_taylor(models.mlp)
    np.testing.assert_array_equal(attribute(LAYERS, X, worst), 0)
    received = attribute(LAYERS, X, best)
    assert (received >= 0).all()
    np.testing.assert_allclose(received.sum(axis=1), logits.max(axis=1), rtol=1e-4)


def test_deep_taylor_of_one_bound_is_an_error():
    with pytest.raises(ValueError, match=r"both bounds or none.*low=0.0, high=None"):
        deep_taylor(models.mlp, low=0.0)


# --- Modified gradients ---------------------------------------------------------------


@pytest.mark.parametrize("method", [deconvnet, guided_backprop])
def test_modified_gradients_are_those_of_the_textbook(method):
    received = method(models.mlp)(LAYERS, X, TARGET)
    for b, target in enumerate(TARGET):
        hidden, x = [], X[b]
        for layer in LAYERS[:-1]:
            z = x @ layer["w"] + layer["b"][0]
            hidden.append(z)
            x = np.maximum(z, 0)
        g = LAYERS[-1]["w"][:, target]
        for layer, z in zip(LAYERS[-2::-1], hidden[::-1], strict=True):
            if method is deconvnet:
                g = oracle_relu.deconvnet(g)
            else:
                g = oracle_relu.guided(z, g)
            g = layer["w"] @ g
        np.testing.assert_allclose(received[b], g, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", [deconvnet, guided_backprop])
def test_the_seed_of_modified_gradients_is_one(method):
    double = method(models.mlp, score=lambda y, t: 2 * logit(y, t))
    once = method(models.mlp)
    np.testing.assert_allclose(
        double(LAYERS, X, TARGET), 2 * once(LAYERS, X, TARGET), rtol=1e-12
    )


BEHIND_A_BARRIER = {
    "a weight": lambda w, x, barrier: jnp.matmul(*barrier((x, w))),
    "a gate": lambda w, x, barrier: jnp.multiply(*barrier((jax.nn.sigmoid(x @ w), x))),
    "an exponential": lambda w, x, barrier: jnp.divide(
        *barrier((jnp.exp(x), jnp.exp(x).sum(1, keepdims=True)))
    ),
}


@pytest.mark.parametrize("name", BEHIND_A_BARRIER)
def test_a_barrier_around_several_arrays_mixes_none_of_them(name):
    w, x = models.normal(0, 5, 5), models.normal(1, 2, 5)
    with_barrier, without = (
        lrp(
            lambda w, x, b=barrier: BEHIND_A_BARRIER[name](w, x, b),
            composite="epsilon_plus",
            score="total",
        )(w, x)
        for barrier in (jax.lax.optimization_barrier, lambda arrays: arrays)
    )
    np.testing.assert_allclose(with_barrier, without, rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 4), (0, 2, 2)])
def test_a_kernel_of_no_features_explains_nothing(shape):
    def model(w, x):
        return jnp.tensordot(x, w, 1).reshape(2, 4)

    attribute = lrp(model, composite="epsilon_plus")
    assert attribute(np.zeros(shape), np.zeros((2, 0)), 0).shape == (2, 0)
