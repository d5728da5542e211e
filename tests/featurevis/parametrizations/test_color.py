"""Matrices of colors: the published constants, and fits against the textbook."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.parametrizations.color import (
    COLOR_MATRICES,
    decorrelate,
    fit_color_matrix,
    recorrelate,
)
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.pixels import pixels
from tests.oracles import images as oracle

# The constants that lucid and its successors use, transposed where they multiply from
# the right.
GOLDEN = [
    [0.56282854, 0.19482528, 0.0432945],
    [0.5844758, 0.0, -0.10823626],
    [0.5844758, -0.19482528, 0.06494176],
]
RNG = np.random.default_rng(0)


def correlated(channels, shape=(6, 5, 4)):
    mixture = RNG.uniform(size=(channels, channels))
    images = RNG.uniform(size=(*shape, channels)) @ mixture.T
    return (images / images.max()).astype(np.float64)


def test_imagenet_is_the_published_matrix():
    np.testing.assert_allclose(COLOR_MATRICES["imagenet"], GOLDEN, atol=5e-8)


def test_the_coordinates_of_i1i2i3_are_those_of_ohta():
    red, green, blue = color = np.array([0.2, 0.5, 0.9])
    coordinates = decorrelate(color, COLOR_MATRICES["i1i2i3"])
    expected = [
        (red + green + blue) / 3,
        (red - blue) / 2,
        (2 * green - red - blue) / 4,
    ]
    np.testing.assert_allclose(
        coordinates / coordinates[0], np.array(expected) / expected[0], rtol=1e-12
    )


@pytest.mark.parametrize("matrix", COLOR_MATRICES.values())
def test_the_longest_column_has_length_1(matrix):
    assert np.linalg.norm(matrix, axis=0).max() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_fitted_matrix_is_a_root_of_the_covariance(channels):
    images = correlated(channels)
    matrix = fit_color_matrix(images)
    covariance = oracle.color_covariance(images)
    factor = np.trace(covariance) / np.trace(matrix @ matrix.T)
    np.testing.assert_allclose(factor * matrix @ matrix.T, covariance, rtol=1e-9)


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_columns_of_a_fitted_matrix(channels):
    matrix = fit_color_matrix(correlated(channels))
    lengths = np.linalg.norm(matrix, axis=0)
    np.testing.assert_allclose(
        matrix.T @ matrix, np.diag(lengths**2), atol=1e-12, err_msg="not orthogonal"
    )
    assert lengths[0] == pytest.approx(1, rel=1e-12)
    assert (np.diff(lengths) <= 0).all()
    assert (matrix[0] >= 0).all()


def test_batches_are_as_good_as_an_array():
    images = correlated(3, (130, 3, 3))  # more than are looked at together
    expected = fit_color_matrix(images)
    for given in (
        jnp.asarray(images),
        (images[i : i + 7] for i in range(0, 130, 7)),
        images.reshape(-1, 3),
    ):
        np.testing.assert_allclose(fit_color_matrix(given), expected, rtol=1e-10)


def test_little_variation_about_a_large_mean_is_not_lost():
    images = correlated(3)
    expected = fit_color_matrix(images)
    np.testing.assert_allclose(
        fit_color_matrix(0.9 + 1e-5 * images), expected, atol=1e-8
    )


def test_a_color_that_never_occurs_keeps_a_thousandth():
    gray = np.repeat(RNG.uniform(size=(5, 4, 4, 1)), 3, axis=-1)
    matrix = fit_color_matrix(gray)
    lengths = np.linalg.norm(matrix, axis=0)
    np.testing.assert_allclose(lengths, [1, 1e-3, 1e-3], rtol=1e-9)


def test_photographs_have_the_published_colors(real_data):
    image = pytest.importorskip("PIL.Image")
    paths = sorted((real_data / "imagenet_samples").glob("*.jpg"))[::4]
    batches = (
        np.asarray(image.open(path).convert("RGB").resize((32, 32)))[None] / 255
        for path in paths
    )
    np.testing.assert_allclose(fit_color_matrix(batches), GOLDEN, atol=0.05)


def test_recorrelating_is_a_matrix_times_each_pixel():
    values, matrix = RNG.normal(size=(4, 3, 7)), RNG.normal(size=(7, 7))
    expected = oracle.recorrelated(values, matrix)
    np.testing.assert_allclose(recorrelate(values, matrix), expected, rtol=1e-10)
    np.testing.assert_allclose(decorrelate(expected, matrix), values, rtol=1e-8)


# --- As an argument -------------------------------------------------------------------


@pytest.mark.parametrize("color", ["imagenet", "i1i2i3", np.array(GOLDEN)])
def test_pictures_are_recorrelated_and_squashed(color):
    matrix = COLOR_MATRICES[color] if isinstance(color, str) else color
    params = RNG.normal(size=(1, 4, 3, 3))
    images = pixels((4, 3, 3), color=color, dtype=jnp.float64).images(params)
    expected = oracle.sigmoid(oracle.recorrelated(params[0], matrix))
    np.testing.assert_allclose(images[0], expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("shape", "has_colors"),
    [((4, 5, 3), True), ((4, 5, 1), False), ((4, 5, 7), False), ((5, 3), False)],
)
def test_auto_is_imagenet_for_pictures_of_three_channels(shape, has_colors):
    params = fourier(shape).init(jnp.zeros(2, jnp.uint32), 1)
    images = fourier(shape).images(params)
    named = fourier(shape, color="imagenet" if has_colors else None).images(params)
    np.testing.assert_array_equal(images, named)
    if has_colors:
        assert (fourier(shape, color=None).images(params) != images).any()


@pytest.mark.parametrize(
    ("shape", "color", "message"),
    [
        ((4, 4, 7), "imagenet", r"shape \(3, 3\) was given for images of 7 channels"),
        ((4, 4, 3), np.eye(4), r"shape \(4, 4\) was given for images of 3 channels"),
        ((4, 4, 3), "klt", "no color='klt'. There are 'auto', 'imagenet', 'i1i2i3'"),
    ],
)
def test_colors_that_do_not_fit(shape, color, message, unchecked):
    with pytest.raises(ValueError, match=message):
        fourier(shape, color=color)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.full((2, 3, 3, 3), 0.3), ValueError, "All 18 pixels have the same color"),
        (np.zeros((2, 3, 3, 3), np.uint8), ValueError, "these are uint8.*images / 255"),
        (np.full((2, 3, 3, 3), 7.0), ValueError, r"these are in \[7, 7\]"),
        ([], ValueError, "no images to fit to"),
        (np.zeros((0, 3, 3, 3)), ValueError, "no images to fit to"),
        ([np.zeros((0, 3, 3, 3))], ValueError, r"array of shape \(0, 3, 3, 3\)"),
        ([np.zeros((1, 3, 3)), np.zeros((1, 3, 4))], ValueError, "must have one shape"),
        ([(np.zeros((1, 3)), 0)], TypeError, "one of tuple.*batch.images for batch in"),
    ],
)
def test_images_that_nothing_can_be_fitted_to(images, error, message, unchecked):
    with pytest.raises(error, match=message):
        fit_color_matrix(images)
