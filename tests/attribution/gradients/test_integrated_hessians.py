"""Integrated Hessians against a double integral, and what they add up to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import integrated_gradients, integrated_hessians
from jaxinterp.objectives import total
from tests.compiled import compiled, compiled_once
from tests.networks import functions as models
from tests.oracles import paths as oracle

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
START = models.normal(20, 5)


def wave(w, x):
    return jnp.sin(x @ w)


def test_it_is_the_double_integral_of_the_paper():
    w = models.normal(30, 5, 1)
    attribute = compiled(integrated_hessians(wave, baseline=START, steps=30))
    received = attribute(w, X, 0)
    for i in range(3):
        expected = oracle.integrated_hessians(
            lambda x: np.cos(x @ w[:, 0]) * w[:, 0], X[i], START, 16
        )
        # Hessians by differences have five digits after 1e-5.
        np.testing.assert_allclose(received[i], expected, rtol=1e-7, atol=1e-8)


def test_a_row_adds_up_to_integrated_gradients():
    received = compiled(integrated_hessians(models.smooth_mlp))(LAYERS, X, TARGET)
    expected = integrated_gradients(models.smooth_mlp)(LAYERS, X, TARGET)
    np.testing.assert_allclose(received.sum(2), expected, rtol=1e-8)
    np.testing.assert_allclose(received, received.swapaxes(1, 2), rtol=1e-12)
    assert np.abs(received[:, 0, 1]).min() > 1e-4


def test_what_does_not_interact_and_a_product():
    def model(w, x):
        return x[:, :1] * x[:, 1:2] + jnp.exp(x[:, 2:])

    x = np.array([[2.0, 6.0, 1.0]])
    received = integrated_hessians(model)(None, x, 0)[0]
    expected = [[3, 3, 0], [3, 3, 0], [0, 0, np.e - 1]]
    np.testing.assert_allclose(received, expected, rtol=1e-8, atol=1e-14)


def test_segments_are_sums_of_their_entries():
    labels = np.array([1, 0, 1, -1, 0])
    whole = integrated_hessians(models.smooth_mlp, steps=5)(LAYERS, X, TARGET)
    parts = integrated_hessians(models.smooth_mlp, steps=5, segments=labels)
    received = parts(LAYERS, X, TARGET)
    for i, j in np.ndindex(2, 2):
        expected = whole[:, labels == i][:, :, labels == j].sum((1, 2))
        np.testing.assert_allclose(received[:, i, j], expected, rtol=1e-10)


def test_of_images_and_of_several_inputs_at_once():
    def image_model(v, x):
        return jnp.tanh(models.convolve(x, v)).mean((1, 2))

    kernel, x = models.normal(0, 3, 3, 2, 4), models.images()
    segments = ji.perturbation.grid_segments((6, 6), 3)
    attribute = compiled(integrated_hessians(image_model, segments=segments, steps=20))
    received = attribute(kernel, x, TARGET)
    assert received.shape == (3, 4, 4)
    expected = image_model(kernel, x)[np.arange(3), TARGET]
    np.testing.assert_allclose(received.sum((1, 2)), expected, rtol=1e-6)
    # Corners that no kernel covers together do not interact.
    assert np.abs(received[:, 0, 1]).min() > 1e-5

    def two(w, x):
        return x["a"] * x["b"].sum(1, keepdims=True)

    pair = {"a": np.array([[2.0]]), "b": np.array([[1.0, 3.0]])}
    received = integrated_hessians(two)(None, pair, 0)[0]
    np.testing.assert_allclose(
        received,
        [[2, 0.5, 1.5], [0.5, 0.5, 0], [1.5, 0, 1.5]],
        rtol=1e-8,
        atol=1e-14,
    )


def test_chunks_jit_and_single_examples_give_the_same():
    attribute = integrated_hessians(models.smooth_mlp, steps=7, baseline=0.1)
    jitted = compiled_once(attribute)
    expected = jitted(LAYERS, X, TARGET)
    jitted(LAYERS, X + 1, TARGET)
    parts = integrated_hessians(models.smooth_mlp, steps=7, baseline=0.1, batch_size=3)
    for other in (attribute, parts, compiled(parts)):
        received = other(LAYERS, X, TARGET)
        np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-14)
    single = attribute(LAYERS, X[1:2], TARGET[1:2])
    np.testing.assert_allclose(single[0], expected[1], rtol=1e-10, atol=1e-14)
    assert attribute(LAYERS, X[:0], TARGET[:0]).shape == (0, 5, 5)


def test_it_maps_and_has_a_gradient():
    attribute = integrated_hessians(models.smooth_mlp, steps=3)

    def loss(layers, x):
        return (attribute(layers, x, TARGET) ** 2).sum()

    both = compiled(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0)))
    values, slopes = both(LAYERS, np.stack([X, 1 - X]))
    np.testing.assert_allclose(values[0], loss(LAYERS, X), rtol=1e-10)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(dtype):
    x = jnp.array([[2.0, 6.0]], dtype)
    received = integrated_hessians(lambda w, x: x[:, :1] * x[:, 1:])(None, x, 0)
    assert received.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(received, float), 3 * np.ones((1, 2, 2)), rtol=0.01
    )


def test_at_a_site_and_nan():
    attribute = integrated_hessians(models.smooth_mlp, at="tanh_1", steps=4)
    received = attribute(LAYERS, X, TARGET)
    # What follows is linear: units do not interact.
    expected = integrated_gradients(models.smooth_mlp, at="tanh_1")(LAYERS, X, TARGET)
    diagonal = expected[:, :, None] * np.eye(6)[None]
    np.testing.assert_allclose(received, diagonal, rtol=1e-3, atol=1e-12)
    x = np.array([[1.0, 2.0], [np.nan, 2.0]])
    received = integrated_hessians(lambda w, x: x**3, score=total)(None, x)
    assert np.isfinite(received[0]).all()
    assert np.isnan(received[1]).any()


def test_a_relu_network_needs_a_softplus():
    """As the docstring says; without it rows do not add up."""

    def model(activation):
        return lambda w, x: activation(x @ w - 1)

    w, x = np.array([[1.0], [1.0]]), np.array([[1.0, 2.0]])
    sharp = integrated_hessians(model(jax.nn.relu), steps=200)(w, x, 0)
    assert sharp[0, 0, 1] == 0
    assert abs(sharp.sum() - 2) > 0.1
    soft = integrated_hessians(model(lambda z: jax.nn.softplus(20 * z) / 20), steps=200)
    received = soft(w, x, 0)
    assert received[0, 0, 1] > 0.1
    np.testing.assert_allclose(received.sum(), 2, rtol=1e-3)


@pytest.mark.parametrize("name", ["steps", "batch_size"])
def test_counts_are_positive(name, unchecked):
    message = f"integrated_hessians.*`{name}` must be an integer of at least 1"
    with pytest.raises(ValueError, match=message):
        integrated_hessians(models.mlp, **{name: 0})


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match=r"baseline.*does not broadcast"):
        integrated_hessians(models.mlp, baseline=np.zeros(4))(LAYERS, X, TARGET)
    with pytest.raises(ValueError, match="segment map of shape"):
        integrated_hessians(models.mlp, segments=np.zeros(4, int))(LAYERS, X, TARGET)
    with pytest.raises(TypeError, match="array of integers"):
        integrated_hessians(models.mlp, segments=np.zeros(5))(LAYERS, X, TARGET)
    with pytest.raises(TypeError, match="have a gradient"):
        integrated_hessians(models.mlp)(LAYERS, np.ones((3, 5), int), TARGET)
