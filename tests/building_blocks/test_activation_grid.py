"""Images of activations: planted detectors draw their templates."""

import jax
import numpy as np
import pytest

from jaxinterp.building_blocks import activation_grid

RNG = np.random.default_rng(0)
TEMPLATES = RNG.normal(size=(4, 3 * 3))


def detectors(v, images):
    """Looks for templates of 3 x 3 pixels in patches that do not overlap."""
    batch, height, width, _ = images.shape
    patches = images.reshape(batch, height // 3, 3, width // 3, 3).swapaxes(2, 3)
    patches = patches.reshape(batch, height // 3, width // 3, 9) - 0.5
    return jax.nn.relu(patches @ TEMPLATES.T)


def test_each_place_shows_what_it_sees_and_how_strongly():
    # One row of three patches: two templates, and nothing.
    seen = np.stack([TEMPLATES[1], 0.5 * TEMPLATES[3], 0 * TEMPLATES[0]])
    image = (seen / 20 + 0.5).reshape(3, 3, 3).swapaxes(0, 1).reshape(1, 3, 9, 1)
    grid = activation_grid(
        *(detectors, "relu", None, image),
        key=jax.random.key(0),
        shape=(3, 3, 1),
        steps=40,
        progress=False,
    )
    assert grid.images.shape == (1, 1, 3, 3, 3, 1)
    activation = np.maximum(seen / 20 @ TEMPLATES.T, 0)
    np.testing.assert_allclose(
        grid.lengths[0, 0], np.linalg.norm(activation, axis=-1), atol=1e-6
    )
    for place in range(2):
        # The mixture of templates that the place is, which pixels can only follow in
        # sign: they end at black or white.
        wanted = activation[place] @ TEMPLATES
        made = np.asarray(grid.images[0, 0, place]).ravel() - 0.5
        strong = np.abs(wanted) > 0.2 * np.abs(wanted).max()
        np.testing.assert_array_equal(np.sign(made[strong]), np.sign(wanted[strong]))


def test_a_site_that_is_no_layer():
    with pytest.raises(ValueError, match=r"activation_grid takes a site whose"):
        activation_grid(
            *(lambda v, x: x.argmax(-1), "argmax", None, np.ones((1, 2, 12))),
            key=jax.random.key(0),
            shape=(2, 12),
        )
