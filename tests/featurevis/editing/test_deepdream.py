"""DeepDream: octaves, and the steps on a function whose gradient is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv

KEY = jax.random.key(0)
IMAGES = jax.random.uniform(jax.random.key(1), (2, 12, 10, 3), jnp.float32, 0.3, 0.6)


def brightness(w, x):
    return jnp.tanh(x * w)


def dream(objective="tanh:0", images=IMAGES, **options):
    options = {"key": KEY, "octaves": 1, "jitter": 3, "progress": False, **options}
    return fv.deepdream(brightness, objective, 1.0, images, **options)


def test_a_step_has_the_mean_size_that_was_asked_for():
    # The gradient is that of one channel of three, nearly the same at all places.
    result = dream(steps=1, step_size=0.01)
    change = np.asarray(result - IMAGES)
    assert np.abs(change).mean() == pytest.approx(0.01, rel=1e-3)
    assert (change[..., 0] > 0).all()
    np.testing.assert_array_equal(change[..., 1:], 0)


def test_one_step_without_jitter_is_the_normalized_gradient():
    slope = np.asarray(1 - jnp.tanh(IMAGES[..., :1]) ** 2)
    slope = np.concatenate([slope, 0 * slope, 0 * slope], axis=-1)
    step = 0.01 * slope / np.abs(slope).mean(axis=(1, 2, 3), keepdims=True)
    result = dream(steps=1, step_size=0.01, jitter=0)
    np.testing.assert_allclose(result, np.asarray(IMAGES) + step, atol=1e-6)


def test_rolling_an_image_there_and_back_moves_nothing():
    # Every place of a mean is worth the same, so a shift makes no difference.
    still, rolled = (dream(steps=3, jitter=jitter) for jitter in (0, 4))
    np.testing.assert_allclose(still, rolled, atol=1e-6)


@pytest.mark.slow(reason="compiles an ascent for each octave")
def test_an_image_does_not_depend_on_its_neighbor():
    together, alone = dream(steps=2), dream(images=IMAGES[1:], steps=2, jitter=0)
    np.testing.assert_allclose(dream(steps=2, jitter=0)[1:], alone, atol=1e-6)
    assert together.shape == IMAGES.shape


@pytest.mark.slow(reason="compiles an ascent for each octave")
def test_octaves_keep_the_detail_of_the_image():
    # Where nothing is to be gained, nothing changes at any size.
    flat = fv.custom(lambda view: 0.0 * view.images.sum((1, 2, 3)))
    np.testing.assert_allclose(dream(flat, octaves=2), IMAGES, atol=1e-6)
    more = dream("tanh:0", octaves=2, steps=2)
    assert (np.asarray(more - IMAGES)[..., 0] > 0).all()
    assert ((more >= 0) & (more <= 1)).all()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (IMAGES[0], {}, r"images\[None\]"),
        (IMAGES * 255, {}, "divide by 255"),
        (IMAGES, {"octaves": 0}, "at least 1"),
        (IMAGES, {"octave_scale": 0.5}, "at least 1"),
        (IMAGES, {"octave_scale": "2"}, "deepdream: `octave_scale` .* is '2'"),
        (IMAGES, {"octaves": 12}, "Take fewer"),
        (IMAGES, {"step_size": "1"}, "deepdream: `step_size` .* is '1'"),
        (IMAGES, {"step_size": -0.1}, "deepdream: `step_size` .* at least 0, .* -0.1"),
        (IMAGES, {"jitter": 2.5}, "deepdream: `jitter` .* an integer .* is 2.5"),
        (IMAGES, {"jitter": -1}, "deepdream: `jitter` .* at least 0, and is -1"),
        (IMAGES, {"objective": "tanh:0-1"}, "of one unit, and this one has 2"),
    ],
)
def test_what_cannot_be_dreamt_is_an_error(images, options, message):
    with pytest.raises(ValueError, match=message):
        dream(images=images, **options)
