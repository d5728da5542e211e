"""The network from coordinates to colors, against itself pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.parametrizations.cppn import cppn
from tests.compiled import compiled
from tests.oracles import images as oracle

KEY = jax.random.key(0)


def random_weights(parametrization):
    """Weights whose last layer is not 0."""
    params = compiled(parametrization.init_one)(KEY)
    last = jax.random.normal(KEY, params[-1]["kernel"].shape, jnp.float64)
    return [*params[:-1], {"kernel": last, "bias": last[0]}]


@pytest.mark.parametrize(("height", "width"), [(5, 5), (4, 7), (6, 1)])
def test_a_picture_is_the_network_at_each_pixel(height, width):
    parametrization = cppn((height, width, 2), width=3, depth=2, dtype=jnp.float64)
    params = random_weights(parametrization)
    layers = [{name: np.asarray(a) for name, a in p.items()} for p in params]
    expected = oracle.sigmoid(oracle.cppn_canvas(layers, height, width))
    image = compiled(parametrization.image)(params)
    np.testing.assert_allclose(image, expected, rtol=1e-10)


def test_it_starts_gray():
    parametrization = cppn((5, 4, 3))
    draw = compiled(lambda key: parametrization.images(parametrization.init(key, 2)))
    assert (draw(KEY) == 0.5).all()


def test_the_same_weights_draw_the_same_picture_at_another_size():
    small, large = (cppn((n, n, 3), width=4, depth=3) for n in (9, 17))
    params = random_weights(small)
    every_second = compiled(large.image)(params)[::2, ::2]
    expected = compiled(small.image)(params)
    np.testing.assert_allclose(every_second, expected, atol=1e-5)


def test_signals_and_volumes():
    for shape in ((9, 2), (3, 4, 5, 1)):
        parametrization = cppn(shape)
        params = jax.eval_shape(lambda p=parametrization: p.init(KEY, 2))
        images = jax.eval_shape(parametrization.images, params)
        assert images.shape == (2, *shape)


@pytest.mark.parametrize("name", ["width", "depth"])
@pytest.mark.parametrize("value", [0, 2.5])
def test_networks_that_do_not_exist(name, value, unchecked):
    with pytest.raises(ValueError, match=f"cppn: `{name}` must be an integer"):
        cppn((8, 8, 3), **{name: value})
