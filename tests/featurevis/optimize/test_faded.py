"""Pictures that fade where nobody looked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis import faded

KEY = jax.random.key(0)


def test_it_is_the_picture_where_it_matters_and_background_elsewhere():
    images = jax.random.uniform(KEY, (2, 5, 4, 3), jnp.float32)
    importance = jnp.zeros((2, 5, 4), jnp.float32).at[:, 1:3].set(7.0)
    seen = faded(images, importance, percentile=60.0, background=0.25)
    np.testing.assert_allclose(seen[:, 1:3], images[:, 1:3], atol=1e-7)
    np.testing.assert_allclose(seen[:, 3:], 0.25, atol=1e-7)


def test_it_is_the_formula():
    images = np.asarray(jax.random.uniform(KEY, (3, 6, 5, 1), jnp.float64))
    importance = np.asarray(jax.random.uniform(jax.random.key(1), (3, 6, 5)))
    level = np.percentile(importance, 70, axis=(1, 2))[:, None, None]
    opacity = np.minimum(importance / level, 1)[..., None]
    wanted = opacity * images + (1 - opacity)
    np.testing.assert_allclose(
        faded(jnp.asarray(images), jnp.asarray(importance), percentile=70.0),
        wanted,
        atol=1e-12,
    )


def test_few_important_places_are_opaque_although_the_percentile_is_zero():
    images = jnp.zeros((1, 4, 4, 3))
    seen = faded(images, jnp.zeros((1, 4, 4)).at[0, 0, 0].set(1e-9))
    assert float(seen[0, 0, 0, 0]) == 0
    assert float(seen[0, 1, 1, 0]) == 1
    assert (np.asarray(faded(images, jnp.zeros((1, 4, 4)))) == 1).all()


def test_signals_and_half_precision():
    images = jnp.full((2, 9, 1), 0.5, jnp.bfloat16)
    seen = faded(images, jnp.ones((2, 9)))
    assert seen.dtype == jnp.bfloat16
    assert (np.asarray(seen, np.float32) == 0.5).all()


@pytest.mark.parametrize(
    ("importance", "options", "message"),
    [
        (jnp.ones((1, 3, 4)), {}, "has shape \\(1, 4, 4\\)"),
        (jnp.ones((1, 4, 4)), {"percentile": 101}, "between 0 and 100"),
        (jnp.ones((1, 4, 4)), {"background": 2.0}, "between 0 and 1"),
        (jnp.ones((1, 4, 4)), {"percentile": "80"}, "`percentile` .* is '80'"),
        (jnp.ones((1, 4, 4)), {"cut": 50.0}, "`cut` .* from 0 to below 50, and is 50"),
    ],
)
def test_what_does_not_fit_is_an_error(unchecked, importance, options, message):
    with pytest.raises(ValueError, match=message):
        faded(jnp.zeros((1, 4, 4, 3)), importance, **options)


@pytest.mark.slow(reason="compiles an ascent of its own")
def test_the_darkest_and_the_brightest_are_cut_off():
    ramp = jnp.linspace(0.2, 0.6, 101)[None, :, None]
    seen = np.asarray(faded(ramp, jnp.ones((1, 101)), cut=10.0))[0, :, 0]
    np.testing.assert_allclose(seen[:11], 0, atol=1e-6)
    np.testing.assert_allclose(seen[10:91], np.linspace(0, 1, 81), atol=1e-5)
    np.testing.assert_allclose(seen[90:], 1, atol=1e-6)
    constant = faded(jnp.full((1, 9, 1), 0.4), jnp.ones((1, 9)), cut=1.0)
    np.testing.assert_array_equal(constant, 0)
    half = faded(ramp.astype(jnp.bfloat16), jnp.ones((1, 101)), cut=1.0)
    assert half.dtype == jnp.bfloat16


def test_images_out_of_range_are_an_error():
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        faded(jnp.full((1, 2, 2, 3), 2.0), jnp.ones((1, 2, 2)))


def test_a_picture_that_is_no_number_stays_none_beside_the_others():
    images = jnp.full((3, 4, 4, 3), 0.5).at[1, 0, 0, 0].set(jnp.nan)
    importance = jnp.ones((3, 4, 4)).at[2].set(jnp.nan)
    seen = np.asarray(faded(images, importance))
    np.testing.assert_allclose(seen[0], 0.5)
    assert np.isnan(seen[1:]).all()
    with pytest.raises(ValueError, match="must not be negative"):
        faded(images, -importance)


def test_it_runs_under_jit_on_arrays_from_outside():
    images, importance = jnp.full((1, 4, 4, 3), 0.5), jnp.ones((1, 4, 4))
    np.testing.assert_allclose(jax.jit(lambda: faded(images, importance))(), 0.5)
