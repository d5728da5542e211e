"""Blur integrated gradients against a sum over small steps, and their sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import blur_integrated_gradients
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import paths as oracle

WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()


def wave(w, x):
    return jnp.sin((x * w).sum((1, 2, 3)))[:, None]


def slope(x, w):
    return np.cos((x * w).sum()) * w


def test_it_is_the_integral_over_the_standard_deviation():
    """Of many differences of blurred images, by the slopes between them."""
    w, x = models.normal(30, 1, 5, 4, 2), models.normal(31, 2, 5, 4, 2)
    attribute = compiled(blur_integrated_gradients(wave, max_sigma=2.0, steps=60))
    received = attribute(w, x, 0)
    sigmas = np.concatenate([[1e-3], np.linspace(0.1, 2, 1500)])
    for i in range(2):
        points = [oracle.blurred(x[i], s, (0, 1)) for s in sigmas[::-1]]
        expected = oracle.along(lambda x: slope(x, w[0]), points)
        np.testing.assert_allclose(received[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("max_sigma", [0.4, 50.0])
def test_it_adds_up_to_the_difference_to_the_blurred_input(max_sigma):
    def smooth(v, x):
        return jnp.tanh(models.convolve(x, v["conv"]["w"])).mean((1, 2))

    attribute = compiled(
        blur_integrated_gradients(smooth, max_sigma=max_sigma, steps=100)
    )
    received = attribute(WEIGHTS, X, TARGET % 4)
    ends = [smooth(WEIGHTS, x) for x in (X, oracle.blurred(X, max_sigma, (1, 2)))]
    expected = (ends[0] - ends[1])[np.arange(3), TARGET]
    np.testing.assert_allclose(received.sum((1, 2, 3)), expected, rtol=1e-7)


def test_a_linear_function_gets_what_the_blur_takes_away():
    """Channels are not blurred, and a sequence without channels is."""
    w, x = models.normal(30, 1, 7, 3), models.normal(31, 1, 7, 3)
    attribute = blur_integrated_gradients(
        lambda w, x: x * w, max_sigma=3, score=total, steps=80
    )
    received = compiled(attribute)(w, x)
    expected = w * (x - oracle.blurred(x, 3, (1,)))
    np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-12)
    received = compiled(attribute)(w[..., 0], x[..., 0])
    np.testing.assert_allclose(received, expected[..., 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_the_last_step_is_right_in_every_chunk(batch_size):
    options = {"max_sigma": 4.0, "steps": 9}
    whole = compiled(blur_integrated_gradients(models.cnn, **options))
    parts = blur_integrated_gradients(models.cnn, batch_size=batch_size, **options)
    args = WEIGHTS, X, TARGET
    np.testing.assert_allclose(parts(*args), whole(*args), rtol=1e-10, atol=1e-14)


def test_a_gaussian_too_narrow_to_be_a_number_is_none():
    with jax.enable_x64(False):
        attribute = blur_integrated_gradients(
            lambda w, x: x, score=total, steps=2, max_sigma=1e-8
        )
        np.testing.assert_array_equal(attribute(None, jnp.ones((1, 3))), 0)


def test_fifty_positions_and_a_hundred_gradients_are_the_default():
    args = WEIGHTS, X, TARGET
    default = compiled(blur_integrated_gradients(models.cnn))(*args)
    same = compiled(blur_integrated_gradients(models.cnn, max_sigma=50, steps=100))
    np.testing.assert_array_equal(default, same(*args))


def test_nan_and_an_empty_batch():
    x = X.copy()
    x[1, 2, 2, 0] = np.nan
    received = blur_integrated_gradients(wave, steps=2)(np.ones((1, 6, 6, 2)), x, 0)
    assert np.isnan(received[1]).all()
    assert np.isfinite(np.asarray(received)[[0, 2]]).all()
    empty = blur_integrated_gradients(models.cnn, steps=2)(WEIGHTS, X[:0], TARGET[:0])
    assert empty.shape == (0, 6, 6, 2)


def test_float64_inputs_of_numpy_are_taken_without_float64():
    with jax.enable_x64(False):  # where a warning is an error
        weights = jax.tree.map(np.float32, WEIGHTS)
        received = blur_integrated_gradients(models.cnn, steps=2)(weights, X, TARGET)
        assert received.dtype == jnp.float32


def test_heat_lies_on_the_object():
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = draw(jax.random.key(1), 2)
    attribute = jax.jit(blur_integrated_gradients(apply_fn, steps=16, batch_size=4))
    heat = np.abs(attribute(variables, data.images, data.labels)).sum(-1)
    mask = np.asarray(data.mask)
    assert (heat * mask).sum() > 3 * mask.mean() * heat.sum()


@pytest.mark.parametrize(
    ("name", "message"),
    [("max_sigma", "positive"), ("steps", "at least 1"), ("batch_size", "at least 1")],
)
def test_what_hyperparameters_have_to_be(name, message, unchecked):
    with pytest.raises(ValueError, match=f"blur_.*`{name}` must be.*{message}"):
        blur_integrated_gradients(models.cnn, **{name: 0})


def test_what_has_no_positions_is_an_error():
    attribute = blur_integrated_gradients(lambda w, x: x, score=total)
    with pytest.raises(ValueError, match=r"blurs positions, and .*\(3,\) has none"):
        attribute(None, jnp.ones(3))
