"""Preprocessing gives what a network was trained on, and says what it does."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.weights import preprocess as standard
from jaxinterp.models.weights.preprocess import Preprocess, TokenIds

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
SMALL = Preprocess(None, "BGR", 255.0, (104.0, 117.0, 123.0), (1.0, 2.0, 3.0))


def test_channels_are_turned_around_before_the_mean_goes_off():
    expected = np.empty(IMAGES.shape)
    expected[..., 0] = (IMAGES[..., 2] - 104.0) / 1.0
    expected[..., 1] = (IMAGES[..., 1] - 117.0) / 2.0
    expected[..., 2] = (IMAGES[..., 0] - 123.0) / 3.0
    np.testing.assert_allclose(SMALL(IMAGES), expected, atol=1e-4)


def test_imagenet_follows_torchvisions_constants():
    images = np.full((1, 224, 224, 3), [255, 0, 128], np.uint8)
    expected = (np.array([1.0, 0.0, 128 / 255]) - [0.485, 0.456, 0.406]) / [
        0.229,
        0.224,
        0.225,
    ]
    np.testing.assert_allclose(
        standard.IMAGENET(images)[0, 100, 7], expected, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_in_0_to_1_mean_the_same_as_bytes_and_keep_their_dtype(dtype):
    given = jnp.asarray(IMAGES / 255, dtype)
    outputs = SMALL(given)
    assert outputs.dtype == given.dtype
    np.testing.assert_allclose(outputs, SMALL(IMAGES), atol=1e-4)


def test_bytes_become_float32():
    assert SMALL(IMAGES).dtype == np.float32


@pytest.mark.parametrize(
    "preprocess",
    [SMALL, standard.CIFAR_0_255, Preprocess((32, 32), "RGB", 1.0, (0.5,), (0.5,))],
)
def test_inverse_gives_the_picture_back(preprocess):
    images = preprocess.inverse(preprocess(IMAGES))
    np.testing.assert_allclose(images, IMAGES / 255, atol=1e-6)


def test_inverse_of_integers_is_that_of_the_same_floats():
    preprocess = Preprocess(mean=(0.5,), std=(0.25,))
    ones = np.ones((1, 2, 2, 3), np.int32)
    np.testing.assert_allclose(preprocess.inverse(ones), 0.75)
    assert preprocess.inverse(ones).dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 0, 4, 3), (1, 4, 0, 3)])
def test_pictures_of_no_pixels_are_an_error(shape):
    with pytest.raises(ValueError, match=r"`images` has shape .*of no pixels"):
        Preprocess((4, 4))(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"`inputs` has shape .*of no pixels"):
        Preprocess((4, 4)).inverse(np.zeros(shape, np.float32))


def test_inverse_cuts_off_what_no_picture_has():
    outside = jnp.full((1, 2, 2, 3), 1e4, jnp.float32)
    assert SMALL.inverse(outside).max() == 1
    assert SMALL.inverse(-outside).min() == 0


def test_bounds_are_the_inputs_of_black_and_white():
    shades = np.stack([np.zeros((1, 1, 3)), np.ones((1, 1, 3))])
    np.testing.assert_allclose(SMALL.bounds, SMALL(shades)[:, 0, 0], rtol=1e-6)
    assert Preprocess(std=(0.5,)).bounds == ((0.0, 0.0, 0.0), (2.0, 2.0, 2.0))


def test_bounds_are_what_the_box_rule_takes():
    rule = ji.rules.ZBox(*SMALL.bounds)
    assert rule.low == (-104.0, -58.5, -41.0)


def test_resizing_is_bilinear():
    ramp = np.tile(np.linspace(0, 1, 28, dtype=np.float32)[:, None], (1, 1, 1, 28))
    ramp = np.moveaxis(ramp, 1, -1)
    resized = standard.LENET(ramp)
    assert resized.shape == (1, 32, 32, 1)
    # Pixel centers lie at (i + 1/2) / 32; beyond the outer ones the edge is repeated.
    centers = np.clip((np.arange(32) + 0.5) / 32 * 28 - 0.5, 0, 27) / 27
    np.testing.assert_allclose(resized[0, :, 5, 0], centers, atol=1e-6)


def test_proportions_are_kept_and_the_center_is_cut_out():
    image = np.zeros((1, 8, 24, 3), np.float32)
    image[:, :, 8:16] = 1
    cut = Preprocess((4, 4))(image)
    assert cut.shape == (1, 4, 4, 3)
    assert cut[:, :, 1:3].min() == 1


def test_a_picture_of_the_right_size_is_left_as_it_is():
    given = IMAGES / np.float32(255)
    np.testing.assert_array_equal(Preprocess((32, 32))(given), given)


def test_it_can_be_jitted_and_differentiated():
    given = jnp.asarray(IMAGES / 255, jnp.float32)
    np.testing.assert_allclose(jax.jit(SMALL)(given), SMALL(given), atol=1e-4)
    slope = jax.grad(lambda x: SMALL(x).sum())(given)
    np.testing.assert_allclose(slope[0, 0, 0], [255 / 3, 255 / 2, 255], rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "channels", "advice"),
    [
        ((32, 32, 3), "RGB", r"`images\[None\]`"),
        ((2, 3, 32, 32), "RGB", r"`np\.moveaxis\(images, 1, -1\)`"),
        ((2, 28, 28), "gray", r"`images\[\.\.\., None\]`"),
        ((2, 28, 28, 3), "gray", r"\(batch, height, width, 1\)"),
        ((2, 28, 28, 1), "BGR", r"\(batch, height, width, 3\)"),
    ],
)
def test_wrong_axes_are_an_error_with_advice(shape, channels, advice):
    with pytest.raises(ValueError, match=advice):
        Preprocess(None, channels)(np.zeros(shape, np.uint8))


def test_floats_in_0_to_255_are_an_error():
    with pytest.raises(ValueError, match=r"are in 0\.\.255\. .*`images / 255`"):
        SMALL(IMAGES.astype(np.float32) * 255 / IMAGES.max())


def test_pictures_that_were_resized_before_are_taken():
    white = Preprocess((13, 13))(np.ones((1, 37, 51, 3), np.float32))
    assert white.max() > 1  # in float32, and by rounding alone
    again = Preprocess((9, 9))(white)
    np.testing.assert_allclose(again, 1, atol=1e-6)
    assert SMALL(np.asarray(white, np.float64)).dtype == np.float64


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1 + 1e-5, np.float32), (-1e-5, np.float64), (1.03, jnp.bfloat16)],
)
def test_more_than_rounding_is_an_error(value, dtype):
    with pytest.raises(ValueError, match=r"Floating-point pixels are in 0\.\.1"):
        SMALL(jnp.full((1, 2, 2, 3), value, dtype))


def test_nan_is_an_error():
    with pytest.raises(ValueError, match=r"are in nan\.\.nan"):
        SMALL(np.full((1, 2, 2, 3), np.nan, np.float32))


def test_other_integers_are_an_error():
    with pytest.raises(TypeError, match="has dtype int32"):
        SMALL(IMAGES.astype(np.int32))


def test_a_mean_for_another_number_of_channels_is_an_error():
    with pytest.raises(ValueError, match="one entry or 3 for RGB"):
        Preprocess(mean=(0.0, 0.0))


def test_it_says_which_order_of_channels_it_takes_and_gives():
    text = repr(standard.CAFFE)
    assert "takes RGB as uint8 0..255 or floats 0..1" in text
    assert "gives BGR 224x224 in 0..255, minus (104.0, 117.0, 123.0)" in text


def test_token_ids_pass_unchanged():
    tokens = np.array([[1, 2, 511]])
    np.testing.assert_array_equal(TokenIds(512)(tokens), tokens)
    np.testing.assert_array_equal(TokenIds(512).inverse(tokens), tokens)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ([[1, 512]], ValueError, r"in 0\.\.511, and those of `tokens` are in 1\.\.512"),
        ([[-1, 2]], ValueError, r"are in -1\.\.2"),
        ([1, 2], ValueError, r"`tokens\[None\]`"),
        ([[1, 2, 3, 4, 5]], ValueError, r"at most 4: `tokens\[:, :4\]`"),
        ([[1.0, 2.0]], TypeError, "Token ids are integers"),
    ],
)
def test_wrong_token_ids_are_an_error(tokens, error, message):
    with pytest.raises(error, match=message):
        TokenIds(512, 4)(np.array(tokens))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": "bgr"}, r"one of \('RGB', 'BGR', 'gray'\), and is 'bgr'"),
        ({"size": 224}, r"\(height, width\), and is 224.*size=\(224, 224\)"),
        ({"size": (0, 4)}, r"at least one pixel each way, and is \(0, 4\)"),
        ({"size": (4, -1)}, r"at least one pixel each way, and is \(4, -1\)"),
        ({"scale": 0.0}, r"`scale` is .*, and is 0\.0\. Write 1\.0 or 255\.0"),
        ({"std": (0.0,)}, "must be positive"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message):
            Preprocess(**options)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_ids_of_64_bits_do_not_wrap():
    with jax.enable_x64(False), pytest.raises(ValueError, match="4294967303"):
        TokenIds(512)(np.array([[2**32 + 7]]))
