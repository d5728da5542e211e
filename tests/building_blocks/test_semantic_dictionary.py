"""A dictionary names the planted detector at each planted place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import capture
from jaxinterp.building_blocks import semantic_dictionary
from jaxinterp.models import pretrained
from tests.compiled import compiled

RNG = np.random.default_rng(0)
TEMPLATES = RNG.normal(size=(5, 12))
TEMPLATES /= np.linalg.norm(TEMPLATES, axis=1, keepdims=True)
PLANTED = RNG.integers(5, size=(2, 4, 3))


def detectors(v, x):
    """Looks for each template in patches that do not overlap."""
    return jax.nn.relu(x @ TEMPLATES.T)


def test_the_planted_detector_comes_first_everywhere():
    x = TEMPLATES[PLANTED] * RNG.uniform(0.5, 2, size=(2, 4, 3, 1))
    found = compiled(semantic_dictionary(detectors, at="relu", k=5))(None, x)
    np.testing.assert_array_equal(found.indices[..., 0], PLANTED)
    activation = np.maximum(x @ TEMPLATES.T, 0)
    np.testing.assert_allclose(found.values, -np.sort(-activation), atol=1e-12)
    expected = np.take_along_axis(activation, np.asarray(found.indices), axis=-1)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_another_basis_has_names_of_its_own():
    x = RNG.normal(size=(2, 4, 3, 12))
    basis = RNG.normal(size=(3, 5))
    look_up = semantic_dictionary(detectors, at="relu", k=1, basis=basis)
    along = np.maximum(x @ TEMPLATES.T, 0) @ basis.T
    found = compiled(look_up)(None, x)
    np.testing.assert_array_equal(found.indices[..., 0], along.argmax(axis=-1))
    np.testing.assert_allclose(found.values[..., 0], along.max(axis=-1), atol=1e-12)


def test_a_trained_network_on_its_images():
    network = pretrained("shapes_cnn")
    at, images = "CNN/stage3_1_relu", network.draw(jax.random.key(0), 2).images
    found = compiled(semantic_dictionary(network.apply_fn, at=at))(
        network.variables, images.astype(jnp.float32)
    )
    _, activations = compiled(capture(network.apply_fn, at))(
        network.variables, images.astype(jnp.float32)
    )
    activation = np.asarray(activations[at])
    assert activation.shape == (2, 8, 8, 64)
    np.testing.assert_array_equal(found.values, -np.sort(-activation)[..., :4])
    named = np.take_along_axis(activation, np.asarray(found.indices), axis=-1)
    np.testing.assert_array_equal(named, found.values)


def test_wrong_calls():
    with pytest.raises(ValueError, match="`k` is 6, and there are 5 channels"):
        semantic_dictionary(detectors, at="relu", k=6)(None, np.ones((1, 2, 12)))
    with pytest.raises(ValueError, match=r"has shape \(5, 2\); 'relu' has 5 channels"):
        semantic_dictionary(detectors, at="relu", basis=np.ones((5, 2)))(
            None, np.ones((1, 2, 12))
        )
    with pytest.raises(ValueError, match="`k` must be an integer"):
        semantic_dictionary(detectors, at="relu", k=0)
    with pytest.raises(ValueError, match=r"\*positions, channels\), and 'argmax'"):
        semantic_dictionary(lambda v, x: x.argmax(-1), at="argmax")(
            None, np.ones((1, 2, 12))
        )
