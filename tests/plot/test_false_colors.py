"""Channels in colors: the hues of the color wheel, and what has none."""

import numpy as np
import pytest

from jaxinterp.plot import false_colors

RNG = np.random.default_rng(0)


def test_false_colors_are_those_of_the_color_wheel():
    images = RNG.random((2, 3, 4, 6), np.float32)
    wheel = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]])
    np.testing.assert_allclose(false_colors(images), images @ wheel / 3, rtol=1e-5)
    np.testing.assert_allclose(false_colors(np.ones((2, 7))), 1, rtol=1e-6)
    colors = RNG.random((5, 3), np.float32)
    np.testing.assert_array_equal(false_colors(colors), colors)
    gray = RNG.random((5, 1), np.float32)
    np.testing.assert_array_equal(false_colors(gray), gray.repeat(3, axis=1))


def test_what_has_no_colors_is_an_error():
    with pytest.raises(ValueError, match=r"in \[0, 1\], and are in \[0, 5\]"):
        false_colors(np.array([[0.0, 5.0]]))
    with pytest.raises(ValueError, match="must have channels"):
        false_colors(np.zeros((3, 0)))
