"""Maps of activations alone, by their oracles and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import eigen_cam, fem
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import masking as oracle

X, KERNEL = models.images(), models.normal(0, 3, 3, 2, 4)


def model(v, x):
    with jax.named_scope("stem"):
        x = jnp.tanh(models.convolve(x, v))
    return x.mean((1, 2))


def identity(v, x):
    with jax.named_scope("stem"):
        x = jnp.maximum(x, -9)
    return x.mean((1, 2))


def of(method, activation, **options):
    return method(identity, at="stem", resize=False, **options)(None, activation)


@pytest.mark.parametrize("options", [{}, {"deviations": 1.0}], ids=["pca", "fem"])
def test_the_map_is_that_of_the_textbook(options):
    method = fem if options else eigen_cam
    attribute = compiled(method(model, at="stem/tanh", resize=False, **options))
    received = attribute(KERNEL, X)
    activation = np.tanh(np.asarray(models.convolve(X, KERNEL)))
    for i in range(3):
        expected = getattr(oracle, method.__name__)(activation[i], *options.values())
        np.testing.assert_allclose(received[i], expected, rtol=1e-9, atol=1e-12)
    assert np.abs(received).max() > 0.1


def test_two_deviations_are_the_default():
    activation = np.array([0.0] * 5 + [6.0]).reshape(1, 6, 1, 1)  # 2.24 from the mean
    assert of(fem, activation)[0, :, 0].tolist() == [0, 0, 0, 0, 0, 1]
    assert of(fem, activation, deviations=2.5).max() == 0


def test_the_sign_is_that_of_the_mean_activation():
    x = np.abs(models.normal(3, 8, 4, 4, 3))
    maps = of(eigen_cam, x)
    assert np.min(maps) > 0
    np.testing.assert_allclose(of(eigen_cam, -x), maps, rtol=1e-9)
    mixed = of(eigen_cam, models.normal(4, 8, 4, 4, 3))
    assert (np.asarray(mixed).sum((1, 2)) >= 0).all()
    assert np.min(mixed) < 0


def test_it_keeps_the_largest_part_of_the_activation():
    x = models.normal(5, 2, 4, 4, 3)
    for map_, a in zip(of(eigen_cam, x), x, strict=True):
        largest = np.linalg.norm(a.reshape(16, 3), ord=2)
        np.testing.assert_allclose(np.linalg.norm(map_), largest, rtol=1e-10)


def test_more_channels_than_positions_and_one_axis_of_positions():
    x = models.normal(6, 2, 3, 8)
    received = of(eigen_cam, x)
    assert received.shape == (2, 3)
    np.testing.assert_allclose(received[0], oracle.eigen_cam(x[0]), rtol=1e-8)


def test_a_channel_that_is_the_same_everywhere_marks_nothing():
    x = np.full((1, 7, 7, 1), 0.1, np.float32)
    for deviations in (0, 2):
        np.testing.assert_array_equal(of(fem, x, deviations=deviations), 0)


@pytest.mark.parametrize("method", [eigen_cam, fem])
def test_zeros_have_a_map_of_zeros_and_nan_stays_nan(method):
    x = np.zeros((2, 4, 4, 3))
    np.testing.assert_array_equal(of(method, x), 0)
    x[1, 2, 2, 1] = np.nan
    received = of(method, x)
    np.testing.assert_array_equal(received[0], 0)
    assert np.isnan(received[1]).all()
    assert of(method, x[:0]).shape == (0, 4, 4)


def test_its_derivative_is_that_of_small_changes():
    """Also with channels that are never active, whose singular values coincide."""
    x = models.normal(7, 1, 4, 4, 5)
    x[..., 3:] = 0
    weights, change = models.normal(8, 1, 4, 4), models.normal(9, 1, 4, 4, 5)

    def number(t):
        return (of(eigen_cam, x + t * change) * weights).sum()

    slope = compiled(jax.grad(number))(0.0)
    expected = (number(1e-6) - number(-1e-6)) / 2e-6
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


@pytest.mark.parametrize("method", [eigen_cam, fem])
def test_integer_inputs_have_a_map_of_real_numbers(method):
    def scaled(v, x):
        with jax.named_scope("stem"):
            x = jnp.tanh(x.astype(jnp.float32) / 255)
        return x.mean((1, 2))

    x = np.random.default_rng(0).integers(256, size=(1, 4, 4, 3)).astype(np.uint8)
    received = method(scaled, at="stem/tanh")(None, x)
    assert received.dtype == jnp.float32
    assert received.shape == x.shape


@pytest.mark.parametrize("method", [eigen_cam, fem])
def test_a_glob_gives_a_map_of_each_site(method):
    maps = method(model, at="stem/*")(KERNEL, X)
    assert len(maps) > 1
    for address, value in maps.items():
        np.testing.assert_array_equal(value, method(model, at=address)(KERNEL, X))


@pytest.mark.parametrize("method", [eigen_cam, fem])
def test_the_planted_object_is_found(method):
    data = ji.data.shapes(jax.random.key(1), 4, size=32)

    def outlined(v, x):  # only the target has a white outline
        with jax.named_scope("white"):
            x = jax.nn.relu(x.min(-1, keepdims=True) - 0.8)
        return x.mean((1, 2))

    received = method(outlined, at="white/relu")(None, data.images).sum(-1)
    for values, target in zip(np.asarray(received), np.asarray(data.mask), strict=True):
        assert values[target].sum() > 0.9 * values.sum() > 0


@pytest.mark.parametrize("method", [eigen_cam, fem])
def test_what_has_no_map_is_an_error(method):
    with pytest.raises(ValueError, match=f"{method.__name__}: .*no positions between"):
        method(models.mlp, at="relu")(models.mlp_weights(), models.vectors())
    with pytest.raises(ValueError, match="resized to one array"):
        method(models.tagger, at="tanh")(models.token_weights(), models.tokens())

    def looped(v, x):
        return jax.lax.scan(lambda h, _: (jnp.tanh(h), None), x, None, length=2)[0]

    with pytest.raises(ValueError, match="inside a loop"):
        method(looped, at="*tanh*", resize=False)(None, X)


@pytest.mark.parametrize("method", [eigen_cam, fem])
def test_inputs_that_are_no_batch_are_an_error(method):
    pair = {"a": X, "b": X[:2]}
    with pytest.raises(ValueError, match="must have the same batch size"):
        method(lambda v, x: model(v, x["a"]), at="stem/tanh")(KERNEL, pair)


@pytest.mark.parametrize("method", [eigen_cam, fem])
def test_float64_inputs_of_numpy_are_taken_without_float64(method):
    with jax.enable_x64(False):  # where a warning is an error
        received = method(model, at="stem/tanh")(KERNEL.astype(np.float32), X)
        assert received.dtype == jnp.float32


@pytest.mark.parametrize("deviations", [-1, float("nan"), "two"])
def test_deviations_are_a_number(deviations, unchecked):
    with pytest.raises(ValueError, match=r"fem.*`deviations` must be"):
        fem(model, at="stem/tanh", deviations=deviations)
