"""Images side by side in one array: each in the cell of its number."""

import numpy as np
import pytest

from jaxinterp.plot import spritemap

RNG = np.random.default_rng(0)


def test_a_spritemap_has_every_image_in_its_cell():
    images = RNG.uniform(size=(5, 4, 6, 3)).astype(np.float32)
    for columns in (None, 1, 2, 7):
        sheet = spritemap(images, columns=columns)
        across = columns or 3
        assert sheet.shape == (-(-5 // across) * 4, across * 6, 3)
        for i in range(sheet.shape[0] // 4 * across):
            r, c = divmod(i, across)
            cell = sheet[r * 4 : (r + 1) * 4, c * 6 : (c + 1) * 6]
            expected = images[i] if i < 5 else np.ones((4, 6, 3))
            np.testing.assert_array_equal(cell, expected)
    with pytest.raises(ValueError, match="spritemap: `columns` must be an integer"):
        spritemap(images, columns=0)


def test_what_is_transparent_is_white():
    images = RNG.random((2, 4, 6, 4)).astype(np.float32)
    colors, opacity = np.split(images.astype(np.float64), [3], axis=-1)
    np.testing.assert_allclose(
        spritemap(images, columns=1),
        (opacity * colors + (1 - opacity)).reshape(8, 6, 3),
        atol=2 * np.finfo(np.float32).eps,  # of sums up to 1, so not of small values
    )
