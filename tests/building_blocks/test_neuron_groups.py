"""Groups of neurons: planted ones are found, in an order that is always the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.building_blocks import neuron_groups
from tests.compiled import compiled

RNG = np.random.default_rng(0)
# Two images of 3 x 4 positions and 7 channels: three groups with places of their own.
PLACES = np.zeros((2, 12, 3))
for image, order in enumerate(([0, 1, 2], [2, 0, 1])):
    for group in order:
        rows = slice(4 * order.index(group), 4 * order.index(group) + 4)
        PLACES[image, rows, group] = [1.0, 0.25, 0.5, 0.75]
DIRECTIONS = np.concatenate([np.eye(3), RNG.uniform(size=(3, 4))], axis=1)
DIRECTIONS *= np.array([[2.0], [9.0], [4.0]])
CUBE = (PLACES @ DIRECTIONS).reshape(2, 3, 4, 7)


def relu(v, x):
    return jax.nn.relu(x)


def test_planted_groups_are_found_the_largest_first():
    found = compiled(neuron_groups(relu, at="relu", groups=3))(None, CUBE)
    order = np.argsort(-np.linalg.norm(DIRECTIONS, axis=1))
    assert order.tolist() == [1, 2, 0]
    np.testing.assert_allclose(
        found.channels, np.stack(2 * [DIRECTIONS[order]]), atol=1e-5
    )
    np.testing.assert_allclose(
        found.spatial, PLACES[..., order].reshape(2, 3, 4, 3), atol=1e-6
    )
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)


def test_groups_and_residual_are_the_activation():
    found = compiled(neuron_groups(relu, at="relu", groups=2, steps=20))(None, CUBE)
    product = np.einsum("bhwg,bgc->bhwc", found.spatial, found.channels)
    np.testing.assert_allclose(product + found.residual, CUBE, atol=1e-12)
    assert np.abs(np.asarray(found.residual)).max() > 0.1
    np.testing.assert_allclose(found.spatial.max(axis=(1, 2)), 1)


def test_dtypes_empty_batches_and_silent_images():
    find = compiled(neuron_groups(relu, at="relu", groups=2, steps=5))
    x = jnp.asarray(CUBE, jnp.bfloat16).at[0].set(0)
    found = find(None, x)
    assert {leaf.dtype for leaf in found} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(found.channels[0].astype(float), 0)
    assert find(None, x[:0]).channels.shape == (0, 2, 7)


def test_wrong_calls():
    with pytest.raises(ValueError, match="12 positions and 7 channels"):
        neuron_groups(relu, at="relu", groups=8)(None, CUBE)
    with pytest.raises(ValueError, match=r"'tanh' has -1\.\nTake the site behind"):
        neuron_groups(lambda v, x: jnp.tanh(x), at="tanh")(None, -CUBE)
    with pytest.raises(ValueError, match="`groups` must be"):
        neuron_groups(relu, at="relu", groups=0)
