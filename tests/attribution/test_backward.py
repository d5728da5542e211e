"""What every method shares: which site is explained, and what is wrong with inputs."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import objectives, rules
from jaxinterp.attribution import (
    deconvnet,
    deep_taylor,
    gradient,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    lrp,
    saliency,
    smooth,
)
from jaxinterp.objectives import channel, total
from jaxinterp.tracing import AddressError
from tests.compiled import compiled
from tests.networks import functions as models

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
CNN, IMAGES = models.cnn_weights(), models.images()
METHODS = {
    "gradient": gradient,
    "saliency": saliency,
    "input_x_gradient": input_x_gradient,
    "integrated_gradients": functools.partial(integrated_gradients, steps=3),
    "lrp": lrp,
    "deconvnet": deconvnet,
    "guided_backprop": guided_backprop,
    "deep_taylor": deep_taylor,
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


# --- At a site ------------------------------------------------------------------------


def split_gradient(apply_fn, site, variables, x):
    """The gradient at a site by hand: of the second half of the model."""
    encode, decode = ji.split(apply_fn, site)

    def score(h):
        return decode(variables, h, x)[np.arange(3), TARGET].sum()

    return jax.grad(score)(encode(variables, x))


@pytest.mark.parametrize("site", ["relu", "max_pool", "add", "mean", "head", "conv"])
def test_the_gradient_at_one_address(site):
    expected = split_gradient(models.cnn, site, CNN, IMAGES)
    actual = gradient(models.cnn, at=site)(CNN, IMAGES, TARGET)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-14)
    hidden = ji.split(models.cnn, site)[0](CNN, IMAGES)
    times = input_x_gradient(models.cnn, at=site)(CNN, IMAGES, TARGET)
    np.testing.assert_allclose(times, hidden * expected, rtol=1e-10, atol=1e-14)


def normed(v, x):
    with jax.named_scope("net"):
        with jax.named_scope("conv"):
            z = models.convolve(x, v["conv"]["w"]) + v["conv"]["b"]
        with jax.named_scope("norm"):
            z = z * v["norm"]["scale"] + v["norm"]["shift"]
        x = jax.nn.relu(z)
    return x.mean((1, 2)) @ v["head"]["w"]


def test_a_site_inside_a_fused_map_splits_it():
    graph = ji.trace(normed, CNN, IMAGES)
    assert graph.nodes[0].role == "convolution"
    actual = gradient(normed, at="net/conv")(CNN, IMAGES, TARGET)
    expected = split_gradient(normed, "net/conv", CNN, IMAGES)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-14)
    # Relevance passes the scale that is left over as it is.
    composite = rules.epsilon_plus()
    outer = lrp(normed, composite=composite, at="net/norm")(CNN, IMAGES, TARGET)
    inner = lrp(normed, composite=composite, at="net/conv")(CNN, IMAGES, TARGET)
    np.testing.assert_allclose(inner, outer, rtol=1e-10)
    steps = integrated_gradients(normed, at="net/conv", steps=2)(CNN, IMAGES, TARGET)
    assert steps.shape == inner.shape


def test_a_glob_gives_a_dict_in_network_order():
    received = gradient(models.cnn, at="*")(CNN, IMAGES, TARGET)
    addresses = list(ji.trace(models.cnn, CNN, IMAGES).sites)
    assert list(received) == [a for a in addresses if a in received]
    captured = ji.capture(models.cnn, "*")(CNN, IMAGES)[1]
    for address, value in received.items():
        assert value.shape == captured[address].shape
        one = gradient(models.cnn, at=address)(CNN, IMAGES, TARGET)
        np.testing.assert_allclose(value, one, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("at", ["relu*", ji.of_role("activation")], ids=str)
def test_patterns_and_selectors_give_dicts(at):
    received = lrp(models.cnn, at=at)(CNN, IMAGES, TARGET)
    assert list(received) == ["relu", "relu_1"]
    single = lrp(models.cnn, at=ji.at("relu_1"))(CNN, IMAGES, TARGET)
    assert list(single) == ["relu_1"]
    np.testing.assert_allclose(single["relu_1"], received["relu_1"], rtol=1e-12)
    array = lrp(models.cnn, at="relu_1")(CNN, IMAGES, TARGET)
    np.testing.assert_allclose(array, received["relu_1"], rtol=1e-12)


@every_method
def test_tokens_are_explained_at_their_embedding(method):
    tokens, variables = models.tokens(), models.token_weights()
    best = np.asarray(models.tagger(variables, tokens)).argmax(axis=1)
    received = method(models.tagger, at="embed")(variables, tokens, best)
    assert received.shape == (*tokens.shape, 6)
    assert np.isfinite(received).all()
    assert (np.abs(received).sum((1, 2)) > 0).any()


def test_relevance_of_tokens_adds_up():
    composite = rules.epsilon_plus(0.0)
    received = lrp(models.tagger, at="embed", composite=composite)(
        models.token_weights(), models.tokens(), TARGET
    )
    logits = models.tagger(models.token_weights(), models.tokens())
    expected = logits[np.arange(3), TARGET]
    np.testing.assert_allclose(received.sum((1, 2)), expected, rtol=1e-4)


@every_method
def test_an_unknown_address_lists_the_nearest(method):
    attribute = method(models.cnn, at="rellu_1")
    with pytest.raises(AddressError, match="No site matches 'rellu_1'") as error:
        attribute(CNN, IMAGES, TARGET)
    assert "    relu_1" in str(error.value)


def test_a_site_of_integers_cannot_be_explained():
    def model(v, x):
        return models.mlp(v, x) * jnp.argmax(x, axis=1)[:, None]

    with pytest.raises(TypeError, match=r"'argmax' has dtype int.*only real numbers"):
        gradient(model, at="argmax")(LAYERS, X, TARGET)


def test_at_must_be_an_address_or_a_selector(unchecked):
    with pytest.raises(TypeError, match=r"address, a selector .* and 3 is none"):
        gradient(models.mlp, at=3)(LAYERS, X, TARGET)


# --- Inputs ---------------------------------------------------------------------------


@every_method
def test_integers_need_an_embedding(method):
    with pytest.raises(TypeError, match="`inputs` has dtype int64; only real") as error:
        method(models.one_hot_tagger)(models.token_weights(), models.tokens(), TARGET)
    assert "`at='Model/Embed_0'`" in str(error.value)
    assert "inputs.astype(jnp.float32)" in str(error.value)


@every_method
@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (X.tolist(), TypeError, r"`inputs\[0\]\[0\]` must be an array.*jnp.asarray"),
        (1.5, TypeError, "`inputs` must be an array.*float 1.5"),
        ("image", TypeError, "`inputs` must be an array.*str 'image'"),
        (None, TypeError, "`inputs` holds no array"),
        ({}, TypeError, "`inputs` holds no array"),
        (np.float64(1.5), ValueError, "`inputs` is a scalar.*inputs\\[None\\]"),
        (jnp.zeros(()), ValueError, "`inputs` is a scalar.*batch"),
        ((X, X[:2]), ValueError, r"same batch size.*'inputs\[0\]': 3.*: 2"),
        ({"a": X, "b": X > 0}, TypeError, r"`inputs\['b'\]` has dtype bool"),
    ],
    ids=range(9),
)
def test_inputs_that_are_no_batch(method, inputs, error, message):
    attribute = method(models.mlp)
    with pytest.raises(error, match="(?s)" + message):
        attribute(LAYERS, inputs, TARGET)


@every_method
def test_a_wrong_call_is_told_what_to_write(method):
    def model(v, x, train):
        return models.mlp(v, x)

    attribute = method(model)
    for run in (attribute, smooth(attribute, samples=2)):
        with pytest.raises(TypeError, match="argument 'train'") as error:
            run(LAYERS, X, TARGET, train=False)
        (_, _, mended) = re.findall(r"`([^`]+)`", str(error.value))
        mended = eval(mended, {"functools": functools, "apply_fn": model})
        assert method(mended)(LAYERS, X, TARGET).shape == X.shape
        with pytest.raises(TypeError, match="missing a required argument: 'inputs'"):
            run(X)


@pytest.mark.parametrize("shape", [(3, 4, 4, 1), (3, 4, 4)])
def test_images_of_integers_are_told_to_be_cast_alone(shape):
    with pytest.raises(TypeError) as error:
        gradient(models.cnn)(CNN, np.zeros(shape, np.uint8), TARGET)
    assert "inputs.astype(jnp.float32)" in str(error.value)
    assert "token" not in str(error.value)


BEHIND = {
    "gradient": gradient,
    "lrp": lrp,
    "integrated_gradients": integrated_gradients,
    "ledger": lambda f, **options: (
        lambda v, x, t: ji.ledger(f, rules.epsilon_plus(), v, x, t, **options)
    ),
}


def two_heads(v, x):
    hidden = jnp.tanh(models.mlp(v, x))
    return {"first": jnp.sin(hidden), "second": jnp.cos(hidden)}


@pytest.mark.parametrize("method", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize(
    ("model", "score", "at"),
    [
        (models.mlp, "relu:3", "relu_1"),
        (models.mlp, channel("relu", 3), "relu_1"),
        (two_heads, lambda y, t: y["first"][:, 0], "cos"),
        (two_heads, objectives.output(1, head="first"), "cos"),
        (two_heads, "tanh:1", "sin"),
    ],
    ids=["behind a unit", "behind an objective", "another head", "output", "a head"],
)
def test_a_site_behind_the_score_is_an_error(method, model, score, at):
    message = f"does not depend on the activation at '{at}'"
    with pytest.raises(ValueError, match=message):
        method(model, score=score, at=at)(LAYERS, X, TARGET)


@pytest.mark.parametrize("method", BEHIND.values(), ids=BEHIND)
def test_a_site_before_the_score_or_of_it_is_explained(method):
    for at in ("relu", "relu_1"):
        received = method(models.mlp, score="relu_1:3", at=at)(LAYERS, X, TARGET)
        if isinstance(received, ji.attribution.Ledger):
            assert received.score != 0
            assert received.error <= 1e-6
        else:
            assert received.any()
            is_itself = np.arange(received.shape[-1]) == 3
            assert at == "relu" or not received[:, ~is_itself].any()


def test_a_slope_that_is_zero_is_no_error():
    received = gradient(models.mlp, score=lambda y, t: 0 * y[:, 0], at="relu")(
        LAYERS, X, TARGET
    )
    assert not received.any()
    everywhere = gradient(models.mlp, score="relu:3", at="*")(LAYERS, X)
    assert not everywhere["relu_1"].any()
    assert everywhere["relu"].any()


@every_method
def test_a_wrong_rank_or_width_is_the_error_of_the_model(method):
    """The model says it best; nothing in between swallows or renames it."""
    attribute = method(models.mlp)
    with pytest.raises(TypeError, match=r"dot_general.*\(7,\).*\(5,\)|contracting"):
        attribute(LAYERS, np.ones((3, 7)), TARGET)
    with pytest.raises((ValueError, TypeError)):
        attribute(LAYERS, np.ones((3, 2, 2, 5)), TARGET)


@every_method
def test_a_target_for_another_batch_is_an_error(method):
    with pytest.raises(ValueError, match=r"a target of shape \(3,\).*shape \(2,\)"):
        method(models.mlp)(LAYERS, X, TARGET[:2])


@every_method
def test_a_target_out_of_range_is_an_error(method):
    attribute = method(models.mlp)
    for run in (attribute, smooth(attribute, samples=2)):
        with pytest.raises(ValueError, match=r"target 4 is out of range for 4 classes"):
            run(LAYERS, X, np.array([0, 4, 1]), jax.random.key(0))


@every_method
def test_under_jit_a_target_out_of_range_gives_nan(method):
    """It cannot be an error, and must not look like an explanation."""
    attribute = method(models.smooth_mlp)
    received = np.asarray(compiled(attribute)(LAYERS, X, np.array([0, 4, 1])))
    assert np.isnan(received[1]).all()
    assert np.isfinite(received[[0, 2]]).all()


@every_method
def test_a_target_is_needed(method):
    with pytest.raises(ValueError, match="score=logit needs a target"):
        method(models.mlp)(LAYERS, X)
    assert method(models.mlp, score=total)(LAYERS, X).shape == X.shape


# Deconvnet is left out: its way back never looks at an input, unless it is pooled.
@pytest.mark.parametrize("name", [name for name in METHODS if name != "deconvnet"])
def test_nan_in_gives_nan_out_in_its_own_example_alone(name):
    method = METHODS[name]
    x = X.copy()
    x[1, 2] = np.nan
    received = np.asarray(method(models.smooth_mlp)(LAYERS, x, TARGET))
    clean = np.asarray(method(models.smooth_mlp)(LAYERS, X, TARGET))
    assert np.isnan(received[1]).any()
    np.testing.assert_allclose(received[[0, 2]], clean[[0, 2]], rtol=1e-12)


@every_method
def test_an_empty_batch_gives_an_empty_result(method):
    received = method(models.cnn)(CNN, IMAGES[:0], TARGET[:0])
    assert received.shape == (0, *IMAGES.shape[1:])


@every_method
def test_unknown_hyperparameters_are_errors(method):
    with pytest.raises(TypeError, match="strength"):
        method(models.mlp, strength=3)
    with pytest.raises(TypeError):
        method(models.mlp, total)  # hyperparameters are named


@every_method
def test_numpy_and_jax_arrays_alike(method):
    attribute = method(models.mlp)
    ours = attribute(LAYERS, jnp.asarray(X), jnp.asarray(TARGET))
    theirs = attribute(jax.tree.map(jnp.asarray, LAYERS), X, TARGET.astype(np.uint8))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
