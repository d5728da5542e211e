"""Pictures of one unit with a parametrization each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv

SHAPE = (6, 7, 3)
WAYS = (fv.pixels(SHAPE), fv.fourier(SHAPE), fv.pyramid(SHAPE))
KEY = jax.random.key(2)


def test_each_picture_is_that_of_its_own_parametrization():
    ways = fv.stacked(WAYS)
    params = ways.init(KEY, 3)
    for part, own, image in zip(WAYS, params, ways.images(params), strict=True):
        np.testing.assert_array_equal(part.images(own)[0], image)


def test_images_come_back_from_their_parameters():
    images = jax.random.uniform(KEY, (3, *SHAPE), jnp.float32, 0.1, 0.9)
    ways = fv.stacked(WAYS)
    np.testing.assert_allclose(ways.images(ways.inverse(images)), images, atol=1e-5)


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
    with pytest.raises(ValueError, match=r"of 3 pictures, and count=2 .*`count=3`"):
        fv.stacked(WAYS).init(KEY, 2)
    with pytest.raises(ValueError, match=r"one shape, .*\(4, 4, 3\)"):
        fv.stacked([fv.pixels((4, 4, 3)), WAYS[0]])
    with pytest.raises(ValueError, match="one shape"):
        fv.stacked([])
    with pytest.raises(TypeError, match="one of them was 'pixels'"):
        fv.stacked(["pixels"])
