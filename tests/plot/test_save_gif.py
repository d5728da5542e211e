"""Animated images, read back."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from jaxinterp.plot import save_gif

RNG = np.random.default_rng(0)


def frames(path):
    with Image.open(path) as image:
        return [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_a_frame(tmp_path, channels):
    images = RNG.integers(0, 2, (4, 5, 6, channels)) * 1.0  # few colors, kept exactly
    save_gif(tmp_path / "a.gif", images, seconds=0.25, enlarge=2)
    repeated = frames(tmp_path / "a.gif")
    assert len(repeated) == 4
    for frame, image in zip(repeated, images, strict=True):
        expected = np.broadcast_to(255 * image, (5, 6, 3))
        np.testing.assert_array_equal(frame[::2, ::2], expected)
        np.testing.assert_array_equal(frame[1::2, 1::2], expected)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.info["duration"], image.info["loop"]) == (250, 0)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((4, 4, 3)), {}, r"are \(4, 4, 3\)"),
        (np.zeros((1, 4, 4, 2)), {}, "one channel or three"),
        (np.zeros((0, 4, 4, 3)), {}, r"are \(0, 4, 4, 3\)"),
        (np.full((1, 4, 4, 3), 2.0), {}, r"in \[2, 2\]"),
        (np.full((1, 4, 4, 3), np.nan), {}, "nan"),
        (
            np.zeros((1, 4, 4, 3)),
            {"enlarge": 0},
            "`enlarge` must be an integer",
        ),
        (np.zeros((1, 4, 4, 3)), {"seconds": 0.0}, "between 0.01 and 600, and is 0.0"),
        (np.zeros((1, 4, 4, 3)), {"seconds": "1"}, "and is '1'"),
        ({8: np.zeros((1, 4, 4, 3))}, {}, r"x\[0\] for x in result.snapshots"),
    ],
)
def test_what_cannot_be_animated(tmp_path, images, options, message):
    with pytest.raises(ValueError, match=message):
        save_gif(tmp_path / "a.gif", images, **options)
