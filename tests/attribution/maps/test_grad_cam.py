"""Grad-CAM, against the textbook and a peer's published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import (
    grad_cam,
    grad_cam_plus_plus,
    guided_backprop,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    x_grad_cam,
)
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

X, TARGET = models.images(), models.targets()
KERNEL, HEAD = models.normal(0, 3, 3, 2, 4), models.normal(1, 4, 3)


def model(v, x):
    with jax.named_scope("stem"):
        x = jnp.tanh(models.convolve(x, v["kernel"]))
    return jnp.tanh(x.mean((1, 2))) @ v["head"]


def rest(activation, target):
    return np.tanh(activation.mean((0, 1))) @ HEAD[:, target]


WEIGHTS = {"kernel": KERNEL, "head": HEAD}
CLASSES = np.array([1, 2, 0])


VARIANTS = (grad_cam, grad_cam_plus_plus, x_grad_cam, hires_cam, layer_cam)


@pytest.mark.parametrize("method", VARIANTS)
def test_the_map_is_that_of_the_textbook(method):
    attribute = compiled(method(model, at="stem/tanh", resize=False))
    received = attribute(WEIGHTS, X, CLASSES)
    activation = np.tanh(np.asarray(models.convolve(X, KERNEL)))
    of_one = getattr(oracle, method.__name__)
    for i, target in enumerate(CLASSES):
        expected = of_one(lambda a, t=target: rest(a, t), activation[i])
        # slopes by central differences
        np.testing.assert_allclose(received[i], expected, rtol=1e-5, atol=1e-8)
    assert received.max() > 0.01
    assert (received.min() == 0) == (method is not hires_cam)


def test_not_rectified_a_map_is_rectified_by_hand():
    for method in VARIANTS:
        signed = method(model, at="stem/tanh", resize=False, rectify=False)
        positive = method(model, at="stem/tanh", resize=False, rectify=True)
        args = WEIGHTS, X, CLASSES
        np.testing.assert_array_equal(positive(*args), np.maximum(signed(*args), 0))


def test_where_a_linear_layer_follows_global_pooling():
    """Grad-CAM is the class activation map; two others add up to the score."""

    def linear(v, x):
        with jax.named_scope("stem"):
            x = jax.nn.relu(models.convolve(x, v["kernel"]))
        return x.mean((1, 2)) @ v["head"]

    scores = linear(WEIGHTS, X)[np.arange(3), CLASSES]
    activation = np.asarray(jax.nn.relu(models.convolve(X, KERNEL)))
    expected = np.einsum("bhwc,cb->bhw", activation, HEAD[:, CLASSES]) / 36
    for method in (grad_cam, x_grad_cam, hires_cam):
        attribute = method(linear, at="stem/relu", resize=False, rectify=False)
        received = attribute(WEIGHTS, X, CLASSES)
        np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(received.sum((1, 2)), scores, rtol=1e-9)


def test_guided_it_is_the_product_of_both():
    args = WEIGHTS, X, CLASSES
    received = guided_grad_cam(model, at="stem/tanh")(*args)
    coarse = grad_cam(model, at="stem/tanh", resize=False)(*args)
    expected = guided_backprop(model)(*args) * np.asarray(coarse)[..., None]
    np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-14)
    one = guided_grad_cam(model, at="stem/tan*")(*args)
    np.testing.assert_array_equal(one, received)
    with pytest.raises(ValueError, match="takes one site, and 'stem/\\*' matches"):
        guided_grad_cam(model, at="stem/*")(*args)


def test_a_peers_numbers():
    """Captum's test of one convolution, in its layout of `view`."""

    def peer(v, x):
        x = models.convolve(x, jnp.ones((3, 3, 1, 2)))[:, 1:3, 1:3]
        with jax.named_scope("conv1"):
            x = x + jnp.array([-50.0, -75.0]).reshape(1, 1, 1, 2)
        flat = jax.nn.relu(x).transpose(0, 3, 1, 2).reshape(1, 8)
        return jax.nn.relu(flat @ v)

    dense = np.array([1.0] * 5 + [-1.0] * 3)[:, None] * np.ones((1, 4))
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    received = grad_cam(peer, at="conv1", resize=False)(dense, x, 0)
    np.testing.assert_allclose(received, [[[11.25, 13.5], [20.25, 22.5]]], rtol=1e-12)


def test_resized_the_sum_over_channels_is_the_map_where_sizes_agree():
    args = WEIGHTS, X, CLASSES
    raw = grad_cam(model, at="stem/tanh", resize=False)(*args)
    full = grad_cam(model, at="stem/tanh")(*args)
    assert full.shape == X.shape
    np.testing.assert_allclose(full.sum(-1), raw, atol=1e-12)
    np.testing.assert_array_equal(full[..., 0], full[..., 1])


def test_a_coarse_map_is_resized_between_the_centers_of_its_positions():
    def pooled(v, x):
        with jax.named_scope("pool"):
            x = x.reshape(1, 2, 2, 2, 2, 1).mean((2, 4))
        return jnp.tanh(x).sum((1, 2))

    x = np.kron([[1.0, 0.0], [2.0, 4.0]], np.ones((2, 2))).reshape(1, 4, 4, 1)
    received = grad_cam(pooled, at="pool", score=total)(None, x)[0, ..., 0]
    coarse = grad_cam(pooled, at="pool", score=total, resize=False)(None, x)[0]
    places = np.clip((np.arange(4) + 0.5) / 2 - 0.5, 0, 1)
    rows = np.stack([1 - places, places], axis=1)
    np.testing.assert_allclose(received, rows @ coarse @ rows.T, rtol=1e-10)


def test_the_opposite_score_shows_what_spoke_against():
    def against(outputs, target):
        return -outputs[:, 0]

    down = grad_cam(model, at="stem/tanh", resize=False, score=against)(WEIGHTS, X)
    up = grad_cam(model, at="stem/tanh", resize=False)(WEIGHTS, X, 0)
    assert down.max() > 0
    np.testing.assert_array_equal(np.minimum(down, up), 0)


def test_a_glob_gives_a_map_of_each_site():
    maps = grad_cam(model, at="stem/*", resize=False)(WEIGHTS, X, CLASSES)
    assert len(maps) > 1
    for address, value in maps.items():
        alone = grad_cam(model, at=address, resize=False)(WEIGHTS, X, CLASSES)
        np.testing.assert_allclose(value, alone, atol=1e-12)


def test_the_planted_object_is_found():
    data = ji.data.shapes(jax.random.key(1), 4, size=32)

    def outlined(v, x):  # only the target has a white outline
        with jax.named_scope("white"):
            x = jax.nn.relu(x.min(-1, keepdims=True) - 0.8)
        return x.mean((1, 2))

    received = grad_cam(outlined, at="white/relu")(None, data.images, 0).sum(-1)
    for values, target in zip(np.asarray(received), np.asarray(data.mask), strict=True):
        assert target[np.unravel_index(values.argmax(), values.shape)]
        assert values[target].sum() > 0.9 * values.sum()


def test_a_site_without_positions_is_an_error():
    with pytest.raises(ValueError, match="no positions between"):
        grad_cam(models.mlp, at="relu")(models.mlp_weights(), models.vectors(), TARGET)


def test_a_map_that_does_not_fit_the_inputs_is_an_error():
    weights, tokens = models.token_weights(), models.tokens()
    with pytest.raises(ValueError, match="Write `resize=False`"):
        grad_cam(models.tagger, at="tanh")(weights, tokens, TARGET)
    raw = grad_cam(models.tagger, at="tanh", resize=False)(weights, tokens, TARGET)
    assert raw.shape == tokens.shape
    pair = models.pair()
    with pytest.raises(ValueError, match="resized to one array"):
        grad_cam(models.two_inputs, at="max_pool")(models.two_weights(), pair, TARGET)


@pytest.mark.parametrize("method", [grad_cam, grad_cam_plus_plus, guided_grad_cam])
def test_a_layer_in_a_loop_has_no_single_map(method):
    """Its activation has the steps in front, and no map is meant by their mean."""

    def looped(w, x):
        x, _ = jax.lax.scan(lambda h, _: (jnp.tanh(h * w), None), x, None, 3)
        return x.mean((1, 2))

    with pytest.raises(ValueError, match="is inside a loop or branch"):
        method(looped, at="*tanh")(2.0, np.ones((2, 4, 4, 3)), 0)
