"""Layers of several resolutions, of one image and of a whole group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.parametrizations.cppn import cppn
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.pixels import pixels
from jaxinterp.featurevis.parametrizations.pyramid import pyramid
from jaxinterp.featurevis.parametrizations.shared import shared
from tests.compiled import compiled
from tests.oracles import images as oracle

KEY = jax.random.key(0)


def test_a_canvas_is_the_sum_of_enlarged_layers():
    parametrization = pyramid((9, 6, 2), factors=(1, 2, 5), dtype=jnp.float64)
    layers = compiled(parametrization.init_one)(KEY)
    assert [layer.shape for layer in layers] == [(9, 6, 2), (5, 3, 2), (2, 2, 2)]
    expected = sum(oracle.enlarged(np.asarray(layer), 9, 6) for layer in layers)
    np.testing.assert_allclose(parametrization.values(layers), expected, rtol=1e-10)


def test_low_resolution_gives_back_what_is_smooth():
    parametrization = pyramid((16, 16, 1), factors=(4,))
    slope = jnp.linspace(0.3, 0.7, 16)[None, :, None, None] * jnp.ones((1, 1, 16, 1))
    again = compiled(lambda x: parametrization.images(parametrization.inverse(x)))
    images = again(slope)
    # Away from the edge, where there is nothing to interpolate with.
    np.testing.assert_allclose(images[:, 3:-3], slope[:, 3:-3], atol=0.01)


def test_a_signal_and_a_volume():
    for shape in ((9, 2), (4, 5, 6, 1)):
        parametrization = pyramid(shape, factors=(1, 2))
        images = jax.random.uniform(KEY, (2, *shape), jnp.float32, 0.1, 0.9)
        again = compiled(lambda x, p=parametrization: p.images(p.inverse(x)))
        np.testing.assert_allclose(again(images), images, atol=1e-5)


# --- Shared ---------------------------------------------------------------------------


def test_a_shared_layer_moves_all_pictures_alike():
    parametrization = shared(pixels((8, 6, 2)), factors=(3,), scale=0.5)
    params = compiled(parametrization.init, static_argnums=1)(KEY, 4)
    images = compiled(parametrization.images)(params)
    values = np.log(images / (1 - images)) - params["own"]
    layer = oracle.enlarged(np.asarray(params["shared"][0][0], np.float64), 8, 6)
    np.testing.assert_allclose(values, np.stack([layer] * 4), atol=1e-5)


@pytest.mark.parametrize(
    ("anchors", "count", "weights"),
    [
        (2, 5, [[1, 0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0, 1]]),
        (3, 5, [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]),
        (2, 1, [[1, 0]]),
    ],
)
def test_layers_change_linearly_from_anchor_to_anchor(anchors, count, weights):
    parametrization = shared(
        pixels((4, 4, 1), scale=0.0), factors=(4,), anchors=anchors, scale=1.0
    )
    params = compiled(parametrization.init, static_argnums=1)(KEY, count)
    images = compiled(parametrization.images)(params)
    values = np.log(images / (1 - images))[:, 0, 0, 0]
    expected = np.array(weights) @ params["shared"][0][:, 0, 0, 0]
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_shared_layers_have_a_key_of_their_own():
    parametrization = shared(pixels((4, 4, 1), scale=1.0), factors=(1,), scale=1.0)
    params = compiled(parametrization.init, static_argnums=1)(KEY, 3)
    assert (params["own"] != params["shared"][0]).all()


@pytest.mark.parametrize("factor", [2, 3])
def test_an_offset_moves_the_grid_by_half_an_entry(factor):
    shape = (7, 8, 1)
    still = pixels(shape, color=None, squash="clip", scale=0.0)
    row = shared(still, factors=(factor,), is_offset=True)
    params = row.init(jax.random.key(0), 2)
    (layer,) = params["shared"]
    assert layer.shape == (1, -(-7 // factor) + 1, -(-8 // factor) + 1, 1)
    small = np.asarray(layer[0, ..., 0], np.float64)
    places = [
        np.clip((np.arange(n) + factor // 2 + 0.5) / factor - 0.5, 0, size - 1)
        for n, size in zip(shape[:2], small.shape, strict=True)
    ]
    along = [
        np.array([np.interp(p, np.arange(size), np.eye(size)[i]) for p in at])
        for at, size in zip(places, small.shape, strict=True)
        for i in range(size)
    ]
    rows = np.stack(along[: small.shape[0]], axis=1)
    columns = np.stack(along[small.shape[0] :], axis=1)
    expected = 0.5 + rows @ small @ columns.T
    images = compiled(row.images)
    np.testing.assert_allclose(images(params)[0, ..., 0], expected, atol=1e-6)
    gray = jnp.asarray(np.full((2, *shape), 0.3, np.float32))
    np.testing.assert_allclose(images(row.inverse(gray)), gray, atol=1e-6)


def test_only_a_canvas_can_share():
    with pytest.raises(TypeError, match=r"Cppn does not let it\. Give `fourier`"):
        shared(cppn((8, 8, 3)))


@pytest.mark.parametrize("factors", [(), (2, 1), (1, 1), (0,), (1.5,), (-1, 2)])
def test_factors_that_do_not_exist(factors, unchecked):
    message = "positive integers that ascend, such as .*and were"
    with pytest.raises(ValueError, match=message):
        pyramid((8, 8, 3), factors=factors)
    with pytest.raises(ValueError, match=message):
        shared(fourier((8, 8, 3)), factors=factors)


@pytest.mark.parametrize("anchors", [0, -1, 1.5])
def test_anchors_that_do_not_exist(anchors, unchecked):
    with pytest.raises(
        ValueError, match=f"`anchors` must be an integer .* is {anchors}"
    ):
        shared(fourier((8, 8, 3)), anchors=anchors)
