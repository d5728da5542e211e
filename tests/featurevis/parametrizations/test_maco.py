"""MACO: the magnitudes are given and stay, the phases are free."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxinterp.featurevis.optimize.maximize import maximize
from jaxinterp.featurevis.parametrizations.from_image import from_image
from jaxinterp.featurevis.parametrizations.maco import fit_spectrum, maco
from jaxinterp.objectives.output import output
from tests.compiled import compiled
from tests.oracles import images as oracle

KEY = jax.random.key(0)
SIZES = [(6, 8), (5, 7), (6, 7), (7, 6)]


def uniform(*shape):
    return np.asarray(jax.random.uniform(KEY, shape, jnp.float64, 0.05, 0.95))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_canvas_is_a_sum_of_waves_of_given_magnitudes(height, width):
    spectrum = fit_spectrum(uniform(1, height, width, 2))
    parametrization = maco((height, width, 2), spectrum=spectrum, dtype=jnp.float64)
    phase = parametrization.init_one(KEY)
    expected = oracle.maco_canvas(spectrum, np.asarray(phase), height, width)
    np.testing.assert_allclose(parametrization.values(phase), expected, atol=1e-10)


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_the_spectrum_is_the_mean_magnitude(channels):
    images = uniform(3, 5, 4, channels)
    expected = oracle.mean_magnitude(np.log(images / (1 - images)))
    np.testing.assert_allclose(fit_spectrum(images), expected, rtol=1e-4)


def test_the_spectrum_is_that_of_decorrelated_colors():
    images, matrix = uniform(3, 5, 4, 3), np.array([[2.0, 1, 0], [0, 1, 0], [0, 0, 1]])
    decorrelated = (images - 0.5) @ np.linalg.inv(matrix).T
    np.testing.assert_allclose(
        fit_spectrum(images, color=matrix, squash="clip"),
        oracle.mean_magnitude(decorrelated),
        rtol=1e-4,
    )


def test_batches_are_as_good_as_an_array():
    images = uniform(70, 4, 5, 1)  # more than are looked at together
    batches = (images[i : i + 9] for i in range(0, 70, 9))
    np.testing.assert_allclose(fit_spectrum(batches), fit_spectrum(images), rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 27), (32, 27)])
@pytest.mark.parametrize("color", ["imagenet", None])
def test_the_default_has_the_contrast_and_the_decay(height, width, color):
    parametrization = maco(
        (height, width, 3), contrast=0.7, decay=1.2, color=color, dtype=jnp.float64
    )
    phase = parametrization.init(KEY, 4)
    images = np.asarray(compiled(parametrization.images)(phase))
    channels = np.log(images / (1 - images))
    deviation = np.sqrt(channels.var(axis=(1, 2)).mean())
    # Phases of the coordinates are independent, and some waves have none.
    assert deviation == pytest.approx(0.7, rel=0.02)
    magnitude = parametrization.magnitude[..., 0]
    assert magnitude[0, 2] / magnitude[0, 4] == pytest.approx(2**1.2, rel=1e-9)


@pytest.mark.parametrize("shape", [(8, 9, 3), (7, 6, 1), (9, 2), (8, 1), (4, 3, 6, 1)])
def test_no_step_changes_the_magnitudes(shape):
    parametrization = maco(shape, dtype=jnp.float64)
    phase = parametrization.init_one(KEY)
    axes = tuple(range(len(shape) - 1))
    values = np.asarray(compiled(parametrization.values)(phase + 1.0))
    spectrum = np.fft.rfftn(values, axes=axes, norm="ortho")
    kept = np.isclose(abs(spectrum), parametrization.magnitude, rtol=1e-9)
    has_phase = np.ones(spectrum.shape, bool)
    own_mirrors = ({0, n // 2} if n % 2 == 0 else {0} for n in shape[:-1])
    for place in itertools.product(*own_mirrors):
        has_phase[place] = False
    np.testing.assert_array_equal(kept, has_phase)


@pytest.mark.parametrize(
    "shape",
    [
        (8, 9, 3),
        (9, 2),
        pytest.param((7, 6, 1), marks=pytest.mark.slow(reason="a third size")),
    ],
)
def test_masks_lower_magnitudes_and_never_raise_them(shape):
    plain = maco(shape, dtype=jnp.float64)
    masked = maco(shape, masked=True, dtype=jnp.float64)
    params = masked.init_one(KEY)
    np.testing.assert_array_equal(params["phase"], plain.init_one(KEY))
    np.testing.assert_allclose(
        masked.values(params), 1 / (1 + np.exp(-5)) * plain.values(params["phase"])
    )
    mask = jax.random.normal(KEY, params["mask"].shape[-1:], jnp.float64)
    params["mask"] = jnp.broadcast_to(mask, params["mask"].shape)
    expected = np.asarray(plain.values(params["phase"])) / (1 + np.exp(-5 - mask))
    np.testing.assert_allclose(masked.values(params), expected, atol=1e-12)
    axes = tuple(range(len(shape) - 1))
    rng = np.random.default_rng(0)
    params["mask"] = 5 * rng.standard_normal(params["mask"].shape)
    values = np.asarray(masked.values(params))
    spectrum = np.fft.rfftn(values, axes=axes, norm="ortho")
    assert (abs(spectrum) <= masked.magnitude * (1 + 1e-9)).all()


@pytest.mark.slow(reason="two optimizations of 150 steps")
def test_masks_leave_out_the_waves_that_are_not_looked_for():
    # The target is the sum of two waves; the unit's score falls with the others.
    rows, columns = np.mgrid[:16, :16] / 16
    waves = np.cos(2 * np.pi * 2 * rows) + np.cos(2 * np.pi * 3 * columns)
    target = jnp.asarray(0.5 + 0.2 * waves, jnp.float32)[..., None]

    def distance(masked):
        result = maximize(
            lambda _, x: {"away": -((x - target[None]) ** 2).mean((1, 2))},
            output(0, head="away"),
            {},
            key=KEY,
            parametrization=maco((16, 16, 1), contrast=3.0, masked=masked),
            optimizer=optax.nadam(0.3),
            steps=150,
            progress=False,
        )
        return float(jnp.abs(result.images[0] - target).mean())

    assert distance(masked=True) < 0.5 * distance(masked=False)


@pytest.mark.parametrize("louder", [0.5, 2.0])
def test_masks_take_magnitudes_from_an_image_as_far_as_they_reach(louder):
    image = uniform(1, 8, 7, 3)
    spectrum = louder * fit_spectrum(image)
    parametrization = maco((8, 7, 3), spectrum=spectrum, masked=True, dtype=jnp.float64)

    @compiled
    def there_and_back(image):
        values = parametrization.to_image.inverse(image)
        return values, parametrization.values(parametrization.params(values))

    values, found = there_and_back(image[0])
    reach = 1.0 if louder > 1 else louder / (1 + np.exp(-5))
    np.testing.assert_allclose(found, reach * values, rtol=1e-4, atol=1e-5)


def test_noise_on_an_image_opens_no_masks():
    image = 0.5 + 0.1 * (uniform(8, 7, 3) - 0.5)
    masked = maco((8, 7, 3), masked=True, dtype=jnp.float64)
    still = from_image(masked, image).init(KEY, 1)
    noisy = from_image(masked, image, noise=1.0).init(KEY, 1)
    np.testing.assert_array_equal(still["mask"], noisy["mask"])
    assert float(jnp.abs(still["phase"] - noisy["phase"]).max()) > 1


def contrast_and_decay(spectrum):
    """What a spectrum of 64 x 64 amounts to, by Parseval and by a straight line."""
    # All columns but the first and the last stand for their mirror image as well.
    power = spectrum**2
    power[:, 1:-1] *= 2
    power[0, 0] = 0  # the mean
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    chosen = (f > 0) & (f < 0.5)
    slope, _ = np.polyfit(np.log(f[chosen]), np.log(spectrum[chosen].mean(axis=1)), 1)
    return np.sqrt(power.sum(axis=(0, 1)) / 64**2).mean(), -slope


def test_photographs_have_the_default_contrast_and_decay(real_data):
    image = pytest.importorskip("PIL.Image")
    paths = sorted((real_data / "imagenet_samples").glob("*.jpg"))[::10]
    # A softer kernel weakens the highest frequencies, and so steepens the decay.
    opened = [image.open(path).convert("RGB") for path in paths]
    photographs = np.stack(
        [np.asarray(o.resize((64, 64), image.Resampling.LANCZOS)) / 255 for o in opened]
    )
    contrast, decay = contrast_and_decay(fit_spectrum(photographs, color=None))
    default = np.asarray(maco((64, 64, 3), color=None).magnitude, np.float64)
    default_contrast, default_decay = contrast_and_decay(default)
    assert contrast == pytest.approx(default_contrast, rel=0.15)
    assert decay == pytest.approx(default_decay, abs=0.1)


@pytest.mark.parametrize(
    ("shape", "spectrum", "message"),
    [
        ((8, 8, 3), np.ones((8, 4, 3)), r"\(8, 4, 3\).*\(8, 8, 3\) is \(8, 5, 3\)"),
        ((8, 8, 3), np.ones((8, 5)), "resize them with `jax.image.resize`"),
        ((1, 1, 3), None, r"Images of one pixel, \(1, 1, 3\), have no phases"),
    ],
)
def test_spectra_that_do_not_fit(shape, spectrum, message):
    with pytest.raises(ValueError, match=message):
        maco(shape, spectrum=spectrum)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((2, 3, 3, 3), 7.0), r"these are in \[7, 7\]"),
        ([], "no images to fit to"),
        ([np.zeros((1, 3, 3, 1)), np.zeros((1, 3, 4, 1))], "must have one shape"),
        ([np.zeros((1, 3))], "2 to 4 axes"),
    ],
)
def test_images_without_a_spectrum(images, message, unchecked):
    with pytest.raises(ValueError, match=message):
        fit_spectrum(images)
    with pytest.raises(TypeError, match="one of tuple"):
        fit_spectrum([(np.zeros((1, 3)),)])
