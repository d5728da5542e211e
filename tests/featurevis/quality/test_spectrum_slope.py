"""The slope of the spectrum against NumPy, and on noise whose slope is known."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.quality.spectrum_slope import spectrum_slope
from tests.networks.images import SHAPE, noise


def textbook_slope(image: np.ndarray) -> float:
    """Ring by ring, of one picture `(*sizes, channels)`."""
    sizes, power = image.shape[:-1], np.zeros(image.shape[:-1])
    window = functools.reduce(
        np.multiply.outer,
        [[np.sin(np.pi * (i + 0.5) / n) ** 2 for i in range(n)] for n in sizes],
    )
    for channel in np.moveaxis(image.astype(np.float64), -1, 0):
        centered = channel - np.average(channel, weights=window)
        power = power + np.abs(np.fft.fftn(centered * window)) ** 2
    rings: dict[int, list[tuple[float, float]]] = {}
    for k in np.ndindex(*sizes):
        cycles = [
            (i if i <= n // 2 else i - n) / n for i, n in zip(k, sizes, strict=True)
        ]
        frequency = np.sqrt(sum(c**2 for c in cycles))
        ring = round(frequency * min(sizes))
        if ring >= 2 and frequency <= 0.5:
            rings.setdefault(ring, []).append((frequency, float(power[k])))
    means = [np.mean(rings[ring], axis=0) for ring in sorted(rings)]
    frequencies, powers = np.log(np.array(means)).T
    return np.polyfit(frequencies, powers, 1)[0]


@pytest.mark.parametrize(
    "shape", [(16, 16, 3), (9, 14, 1), (15, 11, 7), (31, 2), (8, 9, 10, 1)]
)
def test_the_slope_is_the_textbook_one(shape):
    images = noise(3, shape=shape, dtype=jnp.float64)
    expected = [textbook_slope(np.asarray(image)) for image in images]
    np.testing.assert_allclose(spectrum_slope(images), expected, rtol=1e-9)


def power_law(exponent: float, sizes: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Noise whose power is `f ** exponent`; a part of it, which does not wrap."""
    random = np.random.default_rng(seed)
    large = [2 * size for size in sizes]
    axes = np.meshgrid(*map(np.fft.fftfreq, large), indexing="ij")
    frequency = np.hypot(*axes)
    frequency[0, 0] = np.inf if exponent < 0 else 0
    spectrum = np.fft.fft2(random.normal(size=large)) * frequency ** (exponent / 2)
    return np.fft.ifft2(spectrum).real[: sizes[0], : sizes[1]]


@pytest.mark.parametrize("exponent", [-3.0, -2.0, -1.0, 0.0, 1.0])
def test_the_slope_of_power_law_noise_is_its_exponent(exponent):
    noise = [power_law(exponent, (71, 96), seed) for seed in range(6)]
    images = jnp.asarray(np.stack(noise, axis=-1)[None], jnp.float32)
    # Six draws of about thirty rings, and a window that mixes neighboring frequencies.
    np.testing.assert_allclose(spectrum_slope(images)[0], exponent, atol=0.2)


def test_a_smooth_picture_is_not_taken_for_a_natural_one_because_of_its_borders():
    ramp = jnp.linspace(0.0, 1.0, 64, dtype=jnp.float32)
    image = jnp.broadcast_to((ramp**2)[None, :, None, None], (1, 64, 48, 1))
    assert spectrum_slope(image)[0] < -4


def test_the_slope_does_not_depend_on_brightness_contrast_or_chunks():
    images = noise(5, shape=(12, 16, 3), dtype=jnp.float64)
    whole = spectrum_slope(images)
    np.testing.assert_allclose(spectrum_slope(0.1 * images + 0.4), whole, rtol=1e-9)
    np.testing.assert_allclose(spectrum_slope(images, batch_size=2), whole, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(spectrum_slope)(images), whole, rtol=1e-12)


def test_a_plain_picture_has_no_slope_and_spoils_no_other():
    images = jnp.concatenate([noise(1), jnp.full((1, *SHAPE), 0.3, jnp.float32)])
    slopes = spectrum_slope(images)
    assert np.isfinite(slopes[0])
    assert np.isnan(slopes[1])
    assert slopes.dtype == jnp.float32


def test_the_slope_of_bfloat16_is_computed_in_float32():
    noise = power_law(-2.0, (32, 40))[None, ..., None]
    exact = spectrum_slope(jnp.asarray(noise, jnp.float32))
    rounded = spectrum_slope(jnp.asarray(noise, jnp.bfloat16))
    assert rounded.dtype == jnp.float32
    # Rounding to eight bits is white noise, 50 dB below the rest.
    np.testing.assert_allclose(rounded, exact, atol=0.2)


@pytest.mark.parametrize("shape", [(2, 3), (1, 7, 30, 3), (0, 9, 9, 1)])
def test_a_slope_needs_axes_that_are_long_enough(shape):
    with pytest.raises(ValueError, match="one to three sizes of at least 8"):
        spectrum_slope(jnp.ones(shape))


def test_a_slope_needs_floats():
    with pytest.raises(TypeError, match=r"uint8\[1, 9, 9, 3\].*\n.*/ 255"):
        spectrum_slope(jnp.zeros((1, 9, 9, 3), jnp.uint8))


@pytest.mark.real_data
def test_photographs_have_a_slope_of_about_minus_two(real_data: Path):
    images = pytest.importorskip("PIL.Image")
    paths = sorted((real_data / "imagenet_samples").glob("*.jpg"))[::12]
    photographs = np.stack(
        [np.asarray(images.open(path).convert("RGB"), np.float32) for path in paths]
    )
    slopes = spectrum_slope(jnp.asarray(photographs) / 255, batch_size=8)
    # A few photographs are out of focus, or of something with a pattern.
    assert -2.8 < float(np.median(slopes)) < -1.8
