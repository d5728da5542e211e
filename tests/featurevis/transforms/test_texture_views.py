"""A texture on objects, against one that is sampled pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from tests.compiled import compiled

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def by_hand(texture, u, v):
    """Bilinear sampling, written slowly."""
    height, width = texture.shape[:2]
    x, y = u * width - 0.5, (1 - v) * height - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for j in (y0, y0 + 1):
        for i in (x0, x0 + 1):
            weight = (1 - abs(x - i)) * (1 - abs(y - j))
            total = total + weight * texture[j % height, i % width]
    return total


def test_it_is_bilinear_and_repeats():
    texture = RNG.random((5, 7, 3))
    places = RNG.uniform(-1.5, 2.5, (1, 4, 6, 2))
    seen = compiled(fv.texture_views(places))(KEY, jnp.asarray(texture))
    wanted = [[by_hand(texture, u, v) for u, v in row] for row in places[0]]
    np.testing.assert_allclose(seen, wanted, atol=1e-12)


def test_the_first_row_is_up_and_beside_the_object_is_the_fill():
    texture = jnp.array([[0.0, 0.1], [0.2, 0.3]])[..., None]
    places = np.full((1, 3, 3, 2), np.nan)
    places[0, 0, 0] = 0.25, 0.75  # left, high up
    seen = np.asarray(compiled(fv.texture_views(places, fill=0.9))(KEY, texture))
    assert seen[0, 0] == 0.0
    assert (seen.ravel()[1:] == 0.9).all()


def test_every_view_is_seen():
    places = np.stack([np.full((1, 1, 2), 0.25), np.full((1, 1, 2), 0.75)])
    texture = jnp.array([[0.0, 1.0], [2.0, 3.0]])[..., None]
    keys = jax.random.split(KEY, 64)
    views = compiled(jax.vmap(fv.texture_views(places), (0, None)))
    seen = views(keys, texture)
    found, counts = np.unique(np.asarray(seen), return_counts=True)
    assert found.tolist() == [1.0, 2.0]
    assert counts.min() > 16


@pytest.mark.parametrize(
    "dtype",
    [
        jnp.bfloat16,
        pytest.param(jnp.float32, marks=pytest.mark.slow(reason="less can fail")),
    ],
)
def test_a_texture_is_found_from_its_views(dtype):
    """Two views show half of a texture each; the unit wants both white."""
    u, v = np.meshgrid((np.arange(8) + 0.5) / 8, 1 - (np.arange(6) + 0.5) / 6)
    whole = np.stack([u, v], axis=-1)
    result = fv.maximize(
        lambda w, x: jnp.exp(x.mean((1, 2))),
        "exp:0",
        None,
        key=KEY,
        parametrization=fv.pixels((6, 8, 1), dtype=dtype),
        transforms=[fv.texture_views(np.stack([whole[:, :4], whole[:, 4:]]))],
        steps=100,
        progress=False,
    )
    assert result.images.dtype == dtype
    assert float(result.images.astype(jnp.float32).min()) > 0.7


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        (np.zeros((4, 4, 2)), r"uv\[None\]"),
        (np.zeros((1, 4, 4, 3)), "views, height, width, 2"),
        (np.zeros((0, 4, 4, 2)), "views, height, width, 2"),
        (np.zeros((1, 4, 4, 2), int), "takes floats"),
        (np.full((1, 4, 4, 2), np.inf), "infinite"),
    ],
)
def test_coordinates_that_are_none(coordinates, message):
    with pytest.raises(ValueError, match=message):
        fv.texture_views(coordinates)


def test_a_texture_is_one_picture():
    with pytest.raises(ValueError, match="height, width, channels"):
        fv.texture_views(np.zeros((1, 2, 2, 2)))(KEY, jnp.zeros((3, 4, 4, 1)))
