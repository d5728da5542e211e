"""Attributions that know nothing of the network."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxinterp import metrics
from jaxinterp.metrics import inverse
from tests.compiled import compiled
from tests.networks import functions as models

at_random, edges = compiled(metrics.at_random), compiled(metrics.edges)
KEY = jax.random.key(0)


def test_random_numbers_are_those_of_the_example():
    x = models.pair()
    values = at_random(None, x, key=KEY)
    chex.assert_trees_all_equal(metrics.at_random(None, x, key=KEY), values)
    row = jax.tree.map(lambda leaf: leaf[[2, 2, 0]], x)
    moved = jax.tree.map(lambda leaf: leaf[jnp.array([2, 2, 0])], values)
    chex.assert_trees_all_equal(at_random(None, row, key=KEY), moved)
    other = at_random(None, x, key=jax.random.key(1))
    assert not np.isclose(other["vector"], values["vector"]).any()
    assert not np.isclose(values["vector"][0], values["vector"][1]).any()


def test_random_numbers_are_uniform_and_examples_independent():
    x = np.arange(2000)[:, None] % 2 * np.ones((1, 3))
    x[:, 0] += np.arange(2000) * 1e-3  # a small difference is one
    values = np.asarray(at_random(None, x, key=KEY))
    assert values.min() >= 0
    assert values.max() < 1
    np.testing.assert_allclose(values.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(values.var(axis=0), 1 / 12, atol=0.01)
    correlation = np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]
    assert abs(correlation) < 0.08
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.08


def test_what_is_shifted_or_swapped_is_another_example():
    x = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    values = np.asarray(at_random(None, x, key=KEY))
    assert len(np.unique(values.round(9))) == values.size


def test_tokens_and_half_precision_have_random_numbers():
    assert at_random(None, models.tokens(), key=KEY).dtype == jnp.float32
    half = jnp.asarray(models.vectors(), jnp.bfloat16)
    assert at_random(None, half, key=KEY).dtype == jnp.float32
    assert at_random(None, half[:0], key=KEY).shape == (0, 5)
    with pytest.raises(TypeError, match=r"at_random\(\) is random and needs one key"):
        metrics.at_random(None, half)


def test_edges_are_those_of_sobel():
    x = models.normal(0, 3, 5, 7, 2)
    values = edges(None, x)
    assert values.shape == x.shape
    for image, expected in zip(values, x.mean(axis=-1), strict=True):
        slopes = [scipy.ndimage.sobel(expected, k, mode="nearest") for k in (0, 1)]
        for channel in range(2):
            np.testing.assert_allclose(
                image[..., channel], np.hypot(*slopes), rtol=1e-9
            )
    assert edges(None, jnp.asarray(x, jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("inputs", [np.ones((2, 3)), {"a": np.ones((2, 3, 3, 1))}])
def test_only_images_have_edges(inputs):
    with pytest.raises(ValueError, match=r"Only images .* have edges"):
        metrics.edges(None, inputs)


def test_the_inverse_is_the_opposite():
    x = models.pair()
    opposite = inverse(at_random)(None, x, None, KEY)
    chex.assert_trees_all_equal(
        opposite, jax.tree.map(jnp.negative, at_random(None, x, key=KEY))
    )


def test_what_is_no_batch_and_no_method_is_an_error():
    for wrong in ([[1.0, 2.0]], jnp.float32(1)):
        with pytest.raises((TypeError, ValueError), match="batch"):
            metrics.at_random(None, wrong, key=KEY)
    with pytest.raises(TypeError, match="`attribution_fn` must be a function"):
        inverse(3)
