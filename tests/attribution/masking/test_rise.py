"""RISE, by hand from its masks, and on a planted object."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import rise
from jaxinterp.keys import each_folded, steady
from jaxinterp.perturbation.masks import smooth_mask
from tests.compiled import compiled
from tests.networks import functions as models

KEY = jax.random.key(5)
WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()


def test_it_is_the_mean_of_masks_weighted_by_scores():
    attribute = compiled(rise(models.cnn, samples=5, grid=3, baseline=0.3))
    received = attribute(WEIGHTS, X, TARGET, KEY)
    total, shown = np.zeros((3, 6, 6)), np.zeros((6, 6))
    for key in each_folded(steady(KEY), jnp.arange(5)):
        mask = np.asarray(smooth_mask(key, (6, 6), 3, 0.5), np.float64)
        mixed = X * mask[None, ..., None] + 0.3 * (1 - mask[None, ..., None])
        scores = np.asarray(models.cnn(WEIGHTS, mixed))[np.arange(3), TARGET]
        total += scores[:, None, None] * mask
        shown += mask
    expected = total / np.where(shown == 0, 1, shown)
    np.testing.assert_allclose(received.sum(-1), expected, rtol=1e-6)
    np.testing.assert_array_equal(received[..., 0], received[..., 1])


def test_masks_are_smooth_shifted_and_as_dense_as_asked():
    keys = jax.random.split(KEY, 400)
    masks = np.asarray(jax.vmap(lambda k: smooth_mask(k, (9, 14), 4, 0.3))(keys))
    assert masks.shape == (400, 9, 14)
    assert masks.min() >= 0
    assert masks.max() <= 1
    np.testing.assert_allclose(masks.mean(0), 0.3, atol=0.1)
    np.testing.assert_allclose(masks.mean(), 0.3, atol=0.02)
    assert np.abs(np.diff(masks, axis=2)).max() <= 0.26  # cells of four positions


def test_the_planted_object_is_found():
    data = ji.data.shapes(jax.random.key(1), 2, size=32)

    def outlined(v, x):  # only the target has a white outline
        return jax.nn.relu(x.min(-1, keepdims=True) - 0.8).sum((1, 2))

    attribute = compiled(rise(outlined, samples=500, batch_size=50))
    received = np.asarray(attribute(None, data.images, 0, KEY).sum(-1))
    for values, target in zip(received, np.asarray(data.mask), strict=True):
        assert values[target].mean() > values[~target].mean() + values.std()


def test_positions_of_a_site_and_none_of_tokens():
    tokens, weights = models.tokens(), models.token_weights()
    embedded = rise(models.tagger, samples=4, grid=2, at="embed")
    assert embedded(weights, tokens, TARGET, KEY).shape == (3, 4, 6)
    with pytest.raises(TypeError, match="int64 cannot be mixed"):
        rise(models.tagger, samples=4, grid=2)(weights, tokens, TARGET, KEY)
    at_site = rise(models.cnn, samples=4, grid=2, at="max_pool")
    assert at_site(WEIGHTS, X, TARGET, KEY).shape == (3, 3, 3, 4)


def test_several_inputs_have_no_common_positions():
    with pytest.raises(ValueError, match="rise hides positions of one array"):
        rise(models.two_inputs, samples=2)(
            models.two_weights(), models.pair(), TARGET, KEY
        )
    with pytest.raises(TypeError, match="key"):
        rise(models.cnn, samples=2)(WEIGHTS, X, TARGET)
    with pytest.raises(ValueError, match="share"):
        rise(models.cnn, share=1.5)
