"""Images that are bright where a unit is active."""

import jax
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.plot import image_grid, masked_images

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 12, 8, 3)).astype(np.float32)


def test_what_excites_the_unit_stays_bright():
    def net(variables, x):
        return jax.nn.relu(x - 0.5)

    images = np.full((2, 12, 8, 3), 0.4, np.float32)
    images[0, 2:5, 3:6, 1] = 0.9
    activations = ji.capture(net, "relu")(None, images)[1]["relu"][..., 1]
    masked = masked_images(images, activations, 0.2)
    bright = np.zeros((2, 12, 8, 1), bool)
    bright[0, 2:5, 3:6] = True
    np.testing.assert_allclose(masked, np.where(bright, images, images / 4))
    assert len(image_grid(masked).axes) == 2


def test_a_small_map_covers_the_whole_image():
    maps = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])
    masked = masked_images(IMAGES, maps, 0.7, outside=0.0)
    # Between two entries, 6 (or 4) pixels apart, a map is linear; beyond it is flat.
    down = np.clip(((np.arange(12) + 0.5) / 6 - 0.5), 0, 1)
    right = np.clip(((np.arange(8) + 0.5) / 4 - 0.5), 0, 1)
    first = np.outer(1 - down, 1 - right) >= 0.7
    last = 2 * np.outer(down, right) >= 0.7
    np.testing.assert_array_equal(masked[0], IMAGES[0] * first[..., None])
    np.testing.assert_array_equal(masked[1], IMAGES[1] * last[..., None])


def test_an_entry_without_a_number_is_not_active():
    masked = masked_images(IMAGES, np.full((2, 1, 1), np.nan), 0.0, outside=0.0)
    assert not masked.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activations": np.zeros((2, 3, 3, 5))}, r"\(2, rows, columns\), and have"),
        ({"activations": np.zeros((1, 3, 3))}, r"shape \(1, 3, 3\)"),
        ({"activations": np.zeros((2, 0, 3))}, r"shape \(2, 0, 3\)"),
        ({"level": np.inf}, "`level` is one number, and is inf"),
        ({"level": np.zeros(2)}, "`level` is one number"),
        ({"outside": 2}, r"`outside` is a share in \[0, 1\], and is 2"),
        ({"images": IMAGES[0]}, "masked_images: `images` must be images"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"images": IMAGES, "activations": np.zeros((2, 3, 3)), "level": 0.0}
    with pytest.raises(ValueError, match=message):
        masked_images(**arguments | change)
