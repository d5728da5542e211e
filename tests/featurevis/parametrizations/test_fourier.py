"""The Fourier parametrization against a sum of waves, at every kind of size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.parametrizations.fourier import fourier
from tests.compiled import compiled
from tests.oracles import images as oracle

KEY = jax.random.key(0)
SIZES = [(4, 6), (5, 7), (4, 7), (7, 4), (1, 5), (6, 1), (1, 1)]
DECAYS = [1.0, 1.5, 0.0, 1.0, 1.0, 1.5, 1.0]


@pytest.mark.parametrize(
    ("height", "width", "decay"),
    [(*size, decay) for size, decay in zip(SIZES, DECAYS, strict=True)],
)
def test_a_canvas_is_a_sum_of_waves(height, width, decay):
    parametrization = fourier(
        (height, width, 2), decay=decay, scale=1.0, dtype=jnp.float64
    )
    params = np.random.default_rng(0).normal(size=(2, height, width // 2 + 1, 2))
    values = parametrization.values(jnp.asarray(params))
    expected = oracle.fourier_canvas(params, height, width, decay)
    np.testing.assert_allclose(values, expected, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "deviation"), [(128, 0.0186), (224, 0.0202), (512, 0.0215)]
)
def test_noise_at_the_start_is_that_of_the_published_code(size, deviation):
    parametrization = fourier((size, size, 3))
    values = compiled(
        lambda key: jax.vmap(parametrization.values)(parametrization.init(key, 4))
    )(KEY)
    assert values.std() == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize("shape", [(9, 2), (8, 2), (5, 4, 3, 2), (4, 5, 6, 1)])
def test_signals_and_volumes(shape):
    parametrization = fourier(shape, dtype=jnp.float64)
    images = jax.random.uniform(KEY, (2, *shape), jnp.float64, 0.1, 0.9)
    again = compiled(lambda x: parametrization.images(parametrization.inverse(x)))
    np.testing.assert_allclose(again(images), images, rtol=1e-10)


def test_a_signal_is_a_picture_of_height_1():
    signal, picture = (
        fourier(shape, dtype=jnp.float64, color=None) for shape in ((9, 2), (1, 9, 2))
    )
    params = signal.init(KEY, 1)
    wide = picture.images(params[:, :, None])
    np.testing.assert_allclose(signal.images(params), wide[:, 0], rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_amplitudes_fall_with_the_decay(decay):
    parametrization = fourier((32, 32, 1), decay=decay, dtype=jnp.float64)
    values = compiled(
        lambda key: jax.vmap(parametrization.values)(parametrization.init(key, 50))
    )(KEY)
    amplitude = np.abs(np.fft.rfft2(values[..., 0])).mean(axis=0)
    assert amplitude[0, 4] / amplitude[0, 8] == pytest.approx(2**decay, rel=0.25)
