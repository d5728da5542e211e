"""The low frequencies of an attribution, against a sum of waves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import forgrad, gradient, saliency
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import paths as oracle


def given(w, x):
    """A model whose gradient is its weights."""
    return w * x


def filtered(values, cutoff):
    attribute = forgrad(gradient(given, score=total), cutoff=cutoff)
    return attribute(values, jnp.ones(values.shape, values.dtype))


@pytest.mark.parametrize("shape", [(6, 6), (5, 7), (4, 9)])
@pytest.mark.parametrize("cutoff", [0, 1, 2.3])
def test_it_keeps_the_waves_up_to_the_limit(shape, cutoff):
    values = models.normal(1, 2, *shape, 3)
    received = filtered(values, cutoff)
    for i, channel in np.ndindex(2, 3):
        expected = oracle.low_pass(values[i, ..., channel], cutoff)
        np.testing.assert_allclose(received[i, ..., channel], expected, atol=1e-12)
    sums = values.sum((1, 2))
    np.testing.assert_allclose(np.sum(received, (1, 2)), sums, rtol=1e-10)


def test_above_all_frequencies_nothing_is_lost():
    for shape in ((2, 5), (2, 6), (2, 4, 3), (1, 4, 3, 5, 2)):
        values = models.normal(2, *shape)
        np.testing.assert_allclose(filtered(values, 9), values, atol=1e-12)
        again = filtered(np.asarray(filtered(values, 1)), 1)
        np.testing.assert_allclose(again, filtered(values, 1), atol=1e-12)


def test_of_a_wave_all_or_nothing_is_kept():
    wave = np.cos(2 * np.pi * 3 * np.arange(16) / 16)[None]
    np.testing.assert_allclose(filtered(wave, 3), wave, atol=1e-12)
    np.testing.assert_allclose(filtered(wave, 2.9), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_dtypes_an_empty_batch_and_nan(dtype):
    values = jnp.asarray(models.normal(3, 2, 4, 4, 1), dtype)
    received = filtered(values, 1)
    assert received.dtype == dtype
    assert filtered(values[:0], 1).shape == (0, 4, 4, 1)
    received = filtered(values.at[1, 0, 0, 0].set(jnp.nan), 1)
    assert np.isnan(np.asarray(received[1], float)).all()
    assert np.isfinite(np.asarray(received[0], float)).all()


def test_of_sites_by_address_and_random_methods():
    args = models.cnn_weights(), models.images(), models.targets()
    maps = forgrad(gradient(models.cnn, at="relu*"), cutoff=1)(*args)
    assert len(maps) == 2
    for address, values in gradient(models.cnn, at="relu*")(*args).items():
        expected = oracle.low_pass(np.asarray(values)[0, ..., 1], 1)
        np.testing.assert_allclose(maps[address][0, ..., 1], expected, atol=1e-12)
    noisy = ji.attribution.smooth(gradient(models.cnn), samples=2)
    received = compiled(forgrad(noisy, cutoff=9))(*args, jax.random.key(1))
    expected = noisy(*args, jax.random.key(1))
    np.testing.assert_allclose(received, expected, atol=1e-12)


def test_heat_lies_on_the_object():
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = draw(jax.random.key(1), 4)
    attribute = jax.jit(forgrad(saliency(apply_fn), cutoff=8))
    heat = np.maximum(attribute(variables, data.images, data.labels), 0).sum(-1)
    mask = np.asarray(data.mask)
    assert (heat * mask).sum() > 3 * mask.mean() * heat.sum()


@pytest.mark.parametrize("cutoff", [-1, float("nan"), "low"])
def test_a_cutoff_is_a_number(cutoff, unchecked):
    with pytest.raises(ValueError, match=r"forgrad.*`cutoff` must be"):
        forgrad(gradient(given), cutoff=cutoff)


@pytest.mark.parametrize("shape", [(2,), (2, 3, 3, 3, 3, 1)])
def test_what_has_no_or_too_many_positions_is_an_error(shape):
    with pytest.raises(ValueError, match=r"axes of positions, and 1 to 3 are"):
        filtered(np.ones(shape), 1)
