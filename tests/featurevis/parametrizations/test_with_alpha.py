"""Opacity as a channel, and what is seen through it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.pixels import pixels
from jaxinterp.featurevis.parametrizations.with_alpha import with_alpha
from jaxinterp.featurevis.transforms.collapse_alpha import collapse_alpha
from tests.compiled import compiled

KEY = jax.random.key(0)


def test_opacity_is_the_last_channel():
    parametrization = with_alpha(
        fourier((5, 4, 3)), opacity=pixels((5, 4, 1), squash="clip")
    )
    params = parametrization.init(KEY, 2)
    images = parametrization.images({**params, "opacity": jnp.ones((2, 5, 4, 1))})
    assert (images[..., 3] == 1).all()
    picture = fourier((5, 4, 3)).images(params["color"])
    np.testing.assert_array_equal(images[..., :3], picture)


def test_picture_and_opacity_start_independently():
    parametrization = with_alpha(pixels((5, 4, 1)), opacity=pixels((5, 4, 1)))
    params = parametrization.init(KEY, 2)
    assert (params["color"] != params["opacity"]).all()


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, jnp.float32), (3, jnp.bfloat16), (7, jnp.float32)]
)
def test_collapsing_blends_by_opacity(channels, dtype):
    picture = jax.random.uniform(KEY, (5, 4, channels), dtype)
    opacity = jax.random.uniform(jax.random.key(1), (5, 4, 1), dtype)
    collapse, key = compiled(collapse_alpha()), jax.random.key(2)
    seen = collapse(key, jnp.concatenate([picture, opacity], -1))
    behind = collapse(key, jnp.zeros((5, 4, channels + 1), dtype))
    a, p, b = (np.asarray(x, np.float64) for x in (opacity, picture, behind))
    tolerance = 1e-6 if dtype == jnp.float32 else 0.02
    np.testing.assert_allclose(
        seen.astype(np.float64), a * p + (1 - a) * b, atol=tolerance
    )
    assert seen.dtype == dtype
    assert ((behind >= 0) & (behind <= 1)).all()


def test_a_background_is_random_and_opacity_hides_it():
    collapse = compiled(jax.vmap(collapse_alpha(), in_axes=(0, None)))
    keys = jax.random.split(KEY, 3)
    picture = jnp.full((5, 4, 3), 0.25)
    for alpha, differ in ((0.0, True), (1.0, False)):
        image = jnp.concatenate([picture, jnp.full((5, 4, 1), alpha)], -1)
        views = collapse(keys, image)
        assert (views[0] != views[1]).any() == differ
    np.testing.assert_allclose(views, np.full((3, 5, 4, 3), 0.25), atol=1e-6)


def test_deviation_of_the_background():
    def deviation(sd):
        return compiled(collapse_alpha(sd))(KEY, jnp.zeros((32, 32, 4))).std()

    assert deviation(0.0) == 0
    assert 0 < deviation(0.1) < deviation(0.5)


@pytest.mark.parametrize("background", [0.25, np.array([0.25, 0.5, 1.0])])
def test_a_given_background(background):
    collapse = collapse_alpha(background=background)
    image = jnp.zeros((5, 4, 4)).at[..., 3].set(0.5)
    expected = np.broadcast_to(0.5 * np.asarray(background), (5, 4, 3))
    np.testing.assert_allclose(collapse(KEY, image), expected)


@pytest.mark.parametrize(
    "options", [{}, {"background": 0.5}, {"color": np.eye(3)}, {"color": None}]
)
def test_it_goes_through_transformations_as_an_argument(options):
    collapse, image = collapse_alpha(**options), jnp.zeros((5, 4, 4))
    seen = compiled(lambda transform, image: transform(KEY, image))(collapse, image)
    np.testing.assert_allclose(seen, collapse(KEY, image), atol=1e-6)


def test_opacity_has_a_gradient():
    image = jnp.full((5, 4, 4), 0.5)
    gradient = jax.grad(lambda image: collapse_alpha()(KEY, image)[0, 0, 0])(image)
    assert (gradient[0, 0] != 0).tolist() == [True, False, False, True]


@pytest.mark.parametrize("shape", [(5, 4, 3), (4, 5, 1), (5, 1)])
def test_opacity_of_another_shape(shape):
    message = r"has shape \(5, 4, 1\).*Write `opacity=fourier\(\(5, 4, 1\)\)`"
    with pytest.raises(ValueError, match=message):
        with_alpha(fourier((5, 4, 3)), opacity=pixels(shape))


def test_backgrounds_that_do_not_exist():
    with pytest.raises(ValueError, match="at least 0, and is -1"):
        collapse_alpha(-1.0)
    with pytest.raises(ValueError, match=r"these are in \[2, 2\]"):
        collapse_alpha(background=2.0)
