"""Images written to files, read back."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxinterp.plot import save_images

RNG = np.random.default_rng(0)


def read(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_file_has_the_levels_of_the_image(tmp_path, channels, mode):
    levels = RNG.integers(0, 256, (3, 5, 6, channels))
    # Half a level less is rounded up, and more than half a level is not.
    images = (levels + RNG.uniform(-0.49, 0.49, levels.shape)).clip(0, 255) / 255
    paths = save_images(tmp_path / "new" / "folder", images)
    assert [path.name for path in paths] == ["0.png", "1.png", "2.png"]
    for path, image in zip(paths, levels, strict=True):
        file_mode, pixels = read(path)
        assert file_mode == mode
        np.testing.assert_array_equal(pixels.reshape(image.shape), image)


@pytest.mark.parametrize("format", ["png", "tif", "TIFF", "webp", "bmp", "jpg", "JPEG"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_format_takes_every_image(tmp_path, format, channels):
    levels = RNG.integers(0, 256, (1, 9, 8, channels))
    levels[..., 3:] = levels[..., 3:] // 255 * 255  # either opaque or not at all
    (path,) = save_images(tmp_path, levels / 255, format=format)
    assert path.name == f"0.{format}"
    with Image.open(path) as image:
        expected = levels[0].repeat(3, axis=-1) if channels == 1 else levels[0]
        has_opacity = format.lower() in ("png", "tif", "tiff", "webp")
        if channels == 4 and not has_opacity:
            expected = np.where(expected[..., 3:], expected[..., :3], 255)
        pixels = np.asarray(image.convert("RGBA" if expected.shape[-1] == 4 else "RGB"))
    if format.lower() in ("jpg", "jpeg"):
        assert (
            abs(pixels - 1.0 * expected).mean() < 12
        )  # of noise, and of 64 on average
    else:
        np.testing.assert_array_equal(pixels, expected)


def test_an_image_that_does_not_fit_leaves_the_file_that_was_there(tmp_path):
    (path,) = save_images(tmp_path, np.zeros((1, 4, 4, 3)), format="webp")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="limit of 16383"):
        save_images(tmp_path, np.zeros((1, 1, 16384, 3)), format="webp")
    assert path.read_bytes() == before


def test_names_and_formats(tmp_path):
    images = jnp.full((2, 4, 4, 4), 0.5, jnp.bfloat16)
    names = np.array(["inception_4a 476", "b"])
    paths = save_images(str(tmp_path), images, names=names, format="jpg")
    assert [path.name for path in paths] == ["inception_4a 476.jpg", "b.jpg"]
    mode, pixels = read(paths[0])
    assert mode == "RGB"
    assert abs(pixels - 191.0).max() <= 2  # half of gray, half of white
    save_images(tmp_path, images[:1, ..., :3] * 0, names=["b"], format="jpg")
    assert read(paths[1])[1].max() <= 2  # replaced
    assert save_images(tmp_path, np.zeros((11, 2, 2, 3)))[3].name == "03.png"


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((4, 4, 3)), {}, r"has shape \(4, 4, 3\)"),
        (np.zeros((0, 4, 4, 3)), {}, "holds no image"),
        (np.full((1, 4, 4, 3), 2.0), {}, r"in \[0, 2\]"),
        (np.full((1, 4, 4, 3), np.nan), {}, "image 0 holds NaN"),
        (np.zeros((2, 4, 4, 3)), {"names": ["a"]}, "2 images and 1 names"),
        (np.zeros((2, 4, 4, 3)), {"names": ["a", "a"]}, "have the name 'a'"),
        (np.zeros((1, 4, 4, 3)), {"names": ["a/b"]}, "and one is 'a/b'"),
        (np.zeros((1, 4, 4, 3)), {"names": [".."]}, r"and one is '\.\.'"),
        (np.zeros((1, 4, 4, 3)), {"names": [""]}, "and one is ''"),
        (np.zeros((1, 4, 4, 3)), {"names": ["a\nb"]}, "and one is"),
        (np.zeros((1, 4, 4, 3)), {"names": ["a\\b"]}, "and one is"),
        (np.zeros((1, 4, 4, 3)), {"names": ["a\0b"]}, "and one is"),
        (
            np.zeros((1, 4, 4, 3)),
            {"format": ".png"},
            r"one of 'png', .* and is '\.png'",
        ),
        (np.zeros((1, 4, 4, 3)), {"format": "docx"}, "and is 'docx'"),
        (np.zeros((1, 4, 4, 3)), {"format": None}, "and is None"),
    ],
)
def test_what_cannot_be_written(tmp_path, images, options, message):
    with pytest.raises(ValueError, match=message):
        save_images(tmp_path / "a", images, **options)
    assert not (tmp_path / "a").exists()
