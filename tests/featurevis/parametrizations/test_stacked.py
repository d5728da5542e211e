"""Images of one unit with a parametrization each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from tests.compiled import compiled

SHAPE = (6, 7, 3)
WAYS = (fv.pixels(SHAPE), fv.fourier(SHAPE), fv.pyramid(SHAPE))
KEY = jax.random.key(2)


@pytest.mark.slow(reason="compiles three parametrizations at once")
def test_each_picture_is_that_of_its_own_parametrization():
    ways = fv.stacked(WAYS)
    params = ways.init(KEY, 3)
    for part, own, image in zip(WAYS, params, ways.images(params), strict=True):
        np.testing.assert_array_equal(part.images(own)[0], image)


def test_images_come_back_from_their_parameters():
    images = jax.random.uniform(KEY, (3, *SHAPE), jnp.float32, 0.1, 0.9)
    ways = fv.stacked(WAYS)
    again = compiled(lambda images: ways.images(ways.inverse(images)))(images)
    np.testing.assert_allclose(again, images, atol=1e-5)


def test_one_image_is_that_of_all():
    image = jnp.full(SHAPE, 0.3)
    start = fv.from_image(fv.stacked(WAYS), image)
    images = compiled(lambda key: start.images(start.init(key, 3)))(KEY)
    np.testing.assert_allclose(images, 0.3, atol=1e-5)


@pytest.mark.slow(reason="compiles three parametrizations at once")
def test_after_the_last_comes_the_first():
    ways = fv.stacked(WAYS)
    params = ways.init(KEY, 5)
    shapes = [jax.tree.map(jnp.shape, p) for p in params]
    assert shapes[3:] == shapes[:2]
    assert ways.images(params).shape == (5, *SHAPE)
    np.testing.assert_array_equal(
        ways.images(ways.init(KEY, 2)), ways.images(params)[:2]
    )


def test_it_goes_inside_of_others():
    transparent = fv.with_alpha(fv.stacked(WAYS))
    images = jax.eval_shape(lambda: transparent.images(transparent.init(KEY, 3)))
    assert images.shape == (3, 6, 7, 4)


@pytest.mark.slow(reason="compiles the ascent of three parametrizations at once")
def test_every_part_is_optimized():
    def apply_fn(w, x):
        return jnp.tanh(x)

    found = fv.maximize(
        apply_fn,
        "tanh:1",
        None,
        key=KEY,
        parametrization=fv.from_image(fv.stacked(WAYS), jnp.full((3, *SHAPE), 0.4)),
        count=3,
        steps=20,
        progress=False,
    )
    assert found.images.shape == (3, *SHAPE)
    assert (found.images[..., 1].mean((1, 2)) > 0.43).all()


def test_what_cannot_be_stacked(unchecked):
    with pytest.raises(ValueError, match=r"one shape and .* float32\[4, 4, 3\]"):
        fv.stacked([fv.pixels((4, 4, 3)), WAYS[0]])
    with pytest.raises(ValueError, match=r"bfloat16.*float32"):
        fv.stacked([fv.pixels(SHAPE, dtype=jnp.bfloat16), WAYS[0]])
    with pytest.raises(ValueError, match="those of none"):
        fv.stacked([])
    with pytest.raises(TypeError, match="one of them was 'pixels'"):
        fv.stacked(["pixels"])
