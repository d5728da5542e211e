"""Detection by simplified images: squeezers against SciPy, and what is detected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, special

from jaxinterp.adversarial import bit_depth, feature_squeezing, median_filter
from tests.compiled import compiled, compiled_once
from tests.networks import functions as models

IMAGES = np.random.default_rng(0).random((3, 6, 6, 2))


def test_bits_are_those_of_the_paper():
    squeezed = np.asarray(bit_depth(3)(IMAGES))
    np.testing.assert_allclose(squeezed, np.rint(IMAGES * 7) / 7, rtol=1e-12)
    assert len(np.unique(squeezed)) <= 8


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_median_is_that_of_scipy(size):
    ours = median_filter(size)(jnp.asarray(IMAGES))
    theirs = ndimage.median_filter(IMAGES, size=(1, size, size, 1), mode="reflect")
    np.testing.assert_array_equal(ours, theirs)


def test_the_score_is_the_largest_change_of_the_probabilities():
    v = models.cnn_weights()
    squeezers = [bit_depth(1), median_filter(3)]
    detect = compiled_once(feature_squeezing(models.cnn, squeezers=squeezers))
    scores = np.asarray(detect(v, IMAGES))
    simple = [
        np.rint(IMAGES),
        ndimage.median_filter(IMAGES, size=(1, 3, 3, 1), mode="reflect"),
    ]
    clean = special.softmax(np.asarray(models.cnn(v, IMAGES)), axis=1)
    expected = np.zeros(3)
    for images in simple:
        p = special.softmax(np.asarray(models.cnn(v, images)), axis=1)
        expected = np.maximum(expected, np.abs(p - clean).sum(axis=1))
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    detect(v, IMAGES[::-1].copy())
    by_default = feature_squeezing(models.cnn)(v, IMAGES)
    assert by_default.shape == (3,)
    assert feature_squeezing(models.cnn)(v, IMAGES[:0]).shape == (0,)


def test_a_change_that_the_squeezer_takes_away_is_detected():
    """A classifier of single pixels, fooled by one bright one."""

    def brightest(v, x):
        peak = x.max(axis=(1, 2, 3)) * 8
        return jnp.stack([4 + 0 * peak, peak], axis=1)

    clean = jnp.full((2, 6, 6, 1), 0.25)
    attacked = clean.at[:, 2, 3, 0].set(1.0)
    assert brightest(None, clean).argmax(axis=1).tolist() == [0, 0]
    assert brightest(None, attacked).argmax(axis=1).tolist() == [1, 1]
    detect = compiled(feature_squeezing(brightest, squeezers=[median_filter(3)]))
    assert float(detect(None, clean).max()) < 1e-6
    assert float(detect(None, attacked).min()) > 1.5


def test_what_cannot_be_squeezed_is_an_error():
    with pytest.raises(ValueError, match="`bits` must be an integer of at least 1"):
        bit_depth(0)
    with pytest.raises(ValueError, match="`size` must be an integer of at least 1"):
        median_filter(0)
    with pytest.raises(ValueError, match=r"at least 7x7 pixels.*\(3, 6, 6, 2\)"):
        median_filter(7)(jnp.asarray(IMAGES))
    with pytest.raises(ValueError, match="`squeezers` is empty"):
        feature_squeezing(models.cnn, squeezers=[])
    detect = feature_squeezing(lambda v, x: x, squeezers=[bit_depth(1)])
    with pytest.raises(ValueError, match=r"returns \(3, 6, 6, 2\), not \(batch, cla"):
        jax.eval_shape(detect, None, IMAGES)


def test_images_are_real_numbers_in_their_range():
    """Of pixels up to 255 fewer bits take nothing away, and none looks attacked."""
    model = lambda w, x: w * x.reshape(len(x), -1)  # noqa: E731
    images = jnp.full((2, 4, 4, 1), 0.5)
    detect = feature_squeezing(model)
    with pytest.raises(
        TypeError, match=r"real numbers in \[0, 1\], and was given uint8"
    ):
        detect(1.0, (images * 255).astype(jnp.uint8))
    with pytest.raises(ValueError, match=r"and these from 127\.5 to 127\.5"):
        detect(1.0, images * 255)
    for squeeze in (bit_depth(3), median_filter(2)):
        with pytest.raises(TypeError, match="real numbers"):
            squeeze(jnp.ones((1, 4, 4, 1), int))


def test_squeezers_are_functions_that_keep_the_shape():
    model = lambda w, x: w * x.reshape(len(x), -1)  # noqa: E731
    for wrong in (bit_depth(3), [3]):
        with pytest.raises(TypeError, match="`squeezers`"):
            feature_squeezing(model, squeezers=wrong)
    detect = feature_squeezing(model, squeezers=[lambda x: x[:1]])
    with pytest.raises(ValueError, match=r"the shape \(1, 4, 4, 1\) for images \(2"):
        detect(1.0, jnp.full((2, 4, 4, 1), 0.5))
    with pytest.raises(ValueError, match="`bits` must be at most 24"):
        bit_depth(40)


def test_half_precision_has_scores_in_single():
    images = jax.random.uniform(jax.random.key(0), (2, 4, 4, 1), jnp.bfloat16)
    detect = feature_squeezing(lambda w, x: w * x.reshape(len(x), 16))
    assert detect(jnp.bfloat16(1), images).dtype == jnp.float32
