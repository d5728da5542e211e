"""Blur, noise and roll, which are no warps and take any rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.transforms.blur import blur
from jaxinterp.featurevis.transforms.noise import noise
from jaxinterp.featurevis.transforms.roll import roll
from tests.compiled import compiled
from tests.oracles import warps

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("shape", [(7, 9, 3), (6, 4, 1)])
def test_a_blur_is_a_weighted_mean(sigma, shape):
    image = RNG.uniform(size=shape)
    seen = compiled(blur(sigma))(KEY, jnp.asarray(image))
    np.testing.assert_allclose(seen, warps.gaussian_blur(image, sigma), atol=1e-12)


def test_the_width_of_a_blur_is_random():
    image = jnp.zeros((21, 1)).at[10].set(1.0)
    keys = jax.random.split(KEY, 300)

    def widths(transform):
        seen = compiled(jax.vmap(transform, (0, None)))(keys, image)
        seen = np.asarray(seen)[:, :, 0]
        # Far from the border, neighbors of the middle are exp(-1 / 2 sigma**2) of it.
        return np.sqrt(-1 / (2 * np.log(seen[:, 9] / seen[:, 10])))

    found = widths(blur(0.5, 1.5))
    assert found.min() > 0.5
    assert found.max() < 1.5
    assert abs(found.mean() - 1.0) < 0.06
    found = widths(blur(choices=[0.5, 1.0, 1.0]))
    assert set(found.round(6)) == {0.5, 1.0}
    assert 60 < (found < 0.7).sum() < 140

    def falling(key):
        return 0.3 + jax.random.exponential(key, dtype=jnp.float64)

    found = widths(blur(0.5, 1.5, distribution=falling))
    wanted = np.clip(compiled(jax.vmap(falling))(keys), 0.5, 1.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert (found < 0.5001).sum() > 20 < (found > 1.4999).sum()  # it is clipped


def test_a_blur_keeps_constants_up_to_the_border_and_takes_any_rank():
    soft = compiled(blur(2.0))
    for shape in [(9, 2), (5, 6, 4, 3)]:
        constant = jnp.asarray(np.full(shape, 0.7))
        np.testing.assert_allclose(soft(KEY, constant), constant, rtol=1e-12)
    line = RNG.uniform(size=(9, 2))
    as_volume = np.asarray(soft(KEY, jnp.asarray(line[:, None, None])))
    expected = soft(KEY, jnp.asarray(line))
    np.testing.assert_allclose(as_volume[:, 0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(dtype, strict_promotion):
    image = jnp.asarray(RNG.uniform(size=(8, 8, 3))).astype(dtype)
    for transform in (blur(1.0), noise(0.1, uniform=0.1), roll(3)):
        assert jax.eval_shape(transform, KEY, image).dtype == dtype
    soft = compiled(blur(1.0))
    exact = soft(KEY, image.astype(jnp.float64))
    seen = np.asarray(soft(KEY, image), np.float64)
    np.testing.assert_allclose(seen, exact, atol=float(jnp.finfo(dtype).eps))


def test_noise_has_the_spread_that_was_asked_for():
    image = jnp.full((100, 100, 3), 0.5)
    bell = np.asarray(compiled(noise(0.2))(KEY, image)) - 0.5
    assert abs(bell.mean()) < 0.005
    np.testing.assert_allclose(bell.std(), 0.2, rtol=0.02)
    box = np.asarray(compiled(noise(uniform=0.4))(KEY, image)) - 0.5
    assert abs(box.mean()) < 0.005
    assert -0.2 <= box.min() < -0.199
    assert 0.199 < box.max() <= 0.2
    both = np.asarray(compiled(noise(0.2, uniform=0.4))(KEY, image))
    np.testing.assert_allclose(both.var(), 0.2**2 + 0.4**2 / 12, rtol=0.03)


def test_roll_is_every_shift_either_way_as_often():
    image = jnp.asarray(RNG.uniform(size=(7, 5, 2)))
    keys = jax.random.split(KEY, 450)
    seen = np.asarray(compiled(jax.vmap(roll(1), (0, None)))(keys, image))
    counts = [
        (seen == np.roll(np.asarray(image), (i, j), (0, 1))).all((1, 2, 3)).sum()
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]
    assert sum(counts) == 450
    assert min(counts) > 25


def test_roll_takes_any_rank_and_more_than_the_side():
    line = jnp.arange(5.0)[:, None]
    many = compiled(jax.vmap(roll(12), (0, None)))
    seen = np.asarray(many(jax.random.split(KEY, 100), line))
    assert {int(one[0, 0]) for one in seen} == {0, 1, 2, 3, 4}
    steps = np.mod(np.diff(seen[:, :, 0], axis=1), 5)
    np.testing.assert_array_equal(steps, 1)
