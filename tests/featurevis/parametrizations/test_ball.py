"""Images within a radius of an image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.parametrizations.ball import ball

KEY = jax.random.key(0)
IMAGE = np.linspace(0, 1, 5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", np.inf)])
@pytest.mark.parametrize("factor", [0.0, 1e-3, 10.0])
def test_no_picture_leaves_the_ball(norm, order, factor):
    parametrization = ball(IMAGE, 0.3, norm=norm, scale=1.0)
    params = factor * parametrization.init(KEY, 4)
    changes = np.reshape(parametrization.images(params) - IMAGE[None], (4, -1))
    distances = np.linalg.norm(changes, order, axis=1)
    assert (distances <= 0.3 + 1e-6).all()
    if factor < 1:
        inside = np.clip(IMAGE[None] + params, 0, 1)
        np.testing.assert_allclose(parametrization.images(params), inside, atol=1e-6)


def test_a_change_is_scaled_to_the_sphere():
    gray = np.full((5, 4, 3), 0.5, np.float32)
    params = 2 * jax.random.normal(KEY, (5, 4, 3))
    image = ball(gray, 0.3, norm="l2").images(params[None])[0]
    expected = gray + 0.3 * params / np.linalg.norm(params)
    np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_starts_at_the_image_with_a_gradient(norm):
    parametrization = ball(IMAGE, 0.3, norm=norm)
    params = parametrization.init(KEY, 2)
    np.testing.assert_array_equal(parametrization.images(params), np.stack([IMAGE] * 2))
    gradient = jax.grad(lambda params: parametrization.images(params).sum())(params)
    np.testing.assert_allclose(gradient, np.ones((2, 5, 4, 3)))


@pytest.mark.parametrize(
    ("image", "radius", "options", "message"),
    [
        (IMAGE, 0.3, {"norm": "l1"}, "ball: `norm` is 'l1'. There are: 'l2', 'linf'"),
        (IMAGE, 0.0, {}, "`radius` is positive and finite, and was 0.0"),
        (255 * IMAGE, 0.3, {}, r"these are in \[0, 255\]"),
        (IMAGE, 0.3, {"scale": -1.0}, "at least 0, and is -1.0"),
    ],
)
def test_balls_that_do_not_exist(image, radius, options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        ball(image, radius, **options)
    with pytest.raises(TypeError, match="and was int32"):
        ball(IMAGE, 0.3, dtype=jnp.int32)
