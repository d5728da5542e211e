"""The diversity of pictures against all pairs, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.quality.image_diversity import image_diversity
from jaxinterp.tracing.errors import AmbiguousAddressError
from tests.networks.images import NET, SHAPE, VARIABLES, noise, tanh_model

KEY = jax.random.key(5)


def textbook_diversity(activations: np.ndarray) -> float:
    """Of the activations `(pictures, height, width, channels)` of one unit."""
    grams = []
    for a in activations.astype(np.float64):
        flat = a.reshape(-1, a.shape[-1])
        grams.append((flat.T @ flat / len(flat)).ravel())
    cosines = [
        g @ h / np.linalg.norm(g) / np.linalg.norm(h)
        for i, g in enumerate(grams)
        for j, h in enumerate(grams)
        if i != j
    ]
    return 1 - float(np.mean(cosines))


@pytest.mark.parametrize("batch_size", [None, 3, 7])
def test_diversity_is_that_of_all_pairs(batch_size):
    images = noise(2, 3).reshape(6, *SHAPE) - 0.5
    images = jnp.concatenate([images, jnp.stack([images[0]] * 3)])
    w = jax.random.normal(KEY, (3, 4), jnp.float32)
    activations = np.tanh(np.asarray(images) @ np.asarray(w)).reshape(3, 3, 9, 12, 4)
    found = image_diversity(
        tanh_model, "tanh", w, images, count=3, batch_size=batch_size
    )
    expected = [textbook_diversity(unit) for unit in activations]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found[2] < 1e-6 < found[0]


def test_one_picture_or_none_that_is_active_has_no_diversity():
    images = jnp.concatenate([noise(2), jnp.zeros((2, *SHAPE), jnp.float32)])
    one = image_diversity(tanh_model, "tanh", jnp.eye(3), images, count=1)
    assert np.isnan(one).all()
    assert one.shape == (4,)
    two = image_diversity(tanh_model, "tanh", jnp.eye(3), images, count=2)
    np.testing.assert_array_equal(np.isnan(two), [False, True])


def test_the_site_of_diversity_is_one_with_channels():
    with pytest.raises(AmbiguousAddressError):
        image_diversity(NET.apply, "*", VARIABLES, noise(2), count=2)
    with pytest.raises(ValueError, match="has no channels"):
        image_diversity(
            *(lambda w, x: jnp.tanh(x).sum((1, 2, 3)), "sum", None, noise(2)),
            count=2,
        )


def test_pictures_of_all_units_are_given():
    with pytest.raises(ValueError, match="There are 3 images, and count=2"):
        image_diversity(tanh_model, "tanh", jnp.eye(3), noise(3), count=2)
