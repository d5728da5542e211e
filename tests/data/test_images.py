"""Batches hold the images of a folder in a fixed order, and say what is missing."""

import builtins
import os
import struct

import numpy as np
import pytest
from PIL import Image

from jaxinterp.data import image_batches
from jaxinterp.data.images import PHOTOMETRIC, WHITE_IS_ZERO

# Each image has a color of its own, by which a test knows it again.
COLORS = {
    "cat/a.png": (255, 0, 0),
    "cat/b.png": (0, 255, 0),
    "dog/a.png": (0, 0, 255),
    "dog/b.PNG": (255, 255, 0),
    "dog/deep/c.png": (0, 255, 255),
}
NAMES = tuple(sorted(COLORS))
QUIET = {"size": 8, "show_progress": False}


@pytest.fixture
def folder(tmp_path):
    for name, color in COLORS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 12), color).save(path)
    (tmp_path / "README.txt").write_text("not an image")
    return tmp_path


def damage(path):
    path.write_bytes(path.read_bytes()[:45])


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_all_images_come_in_order_and_the_last_batch_is_kept(folder, workers, fit):
    stream = image_batches(folder, batch_size=2, workers=workers, fit=fit, **QUIET)
    assert len(stream) == 3
    for _ in range(2):  # a stream can be passed over again
        batches = list(stream)
        assert [len(batch.names) for batch in batches] == [2, 2, 1]
        assert sum((batch.names for batch in batches), ()) == NAMES
        for batch in batches:
            assert batch.images.dtype == np.float32
            for image, name in zip(batch.images, batch.names, strict=True):
                color = np.array(COLORS[name]) / 255
                expected = np.broadcast_to(color, (8, 8, 3))
                np.testing.assert_allclose(image, expected, atol=1e-6)


def test_many_batches_come_in_order(tmp_path):
    for k in range(30):
        Image.new("L", (4, 4), 8 * k).save(tmp_path / f"{k:02}.png")
    stream = image_batches(tmp_path, batch_size=4, **QUIET)
    levels = np.concatenate([batch.images[:, 0, 0, 0] for batch in stream])
    np.testing.assert_allclose(levels * 255, 8 * np.arange(30), atol=1e-4)


def test_crop_cuts_off_both_sides_and_stretch_keeps_them(tmp_path):
    strip = np.zeros((4, 12, 3), np.uint8)
    strip[:, 4:8] = 255
    Image.fromarray(strip).save(tmp_path / "strip.png")
    (crop,) = image_batches(tmp_path, **{**QUIET, "size": 4})
    np.testing.assert_allclose(crop.images, 1)
    (stretch,) = image_batches(tmp_path, fit="stretch", **{**QUIET, "size": 12})
    assert stretch.images[0, :, 0].max() < 0.1
    assert stretch.images[0, :, 6].min() > 0.9


def test_labels_are_the_subfolders(folder):
    stream = image_batches(folder, **QUIET)
    assert stream.class_names == ("cat", "dog")
    (batch,) = stream
    assert batch.labels.tolist() == [0, 0, 1, 1, 1]


def test_labels_come_from_a_function_of_the_name(folder):
    stream = image_batches(folder, label=lambda name: name[-5], **QUIET)
    assert (stream.class_names, stream.labels) == (("a", "b", "c"), (0, 1, 0, 1, 2))
    stream = image_batches(folder, label=len, **QUIET)
    assert (stream.class_names, stream.labels) == ((), (9, 9, 9, 9, 14))


def test_labels_may_be_integers_of_numpy(folder, unchecked):
    stream = image_batches(folder, label=lambda name: np.int64(len(name)), **QUIET)
    assert (stream.class_names, stream.labels) == ((), (9, 9, 9, 9, 14))
    assert next(iter(stream)).labels.dtype == np.int32


def test_a_flat_folder_has_no_labels(folder):
    (batch,) = image_batches(folder / "cat", **QUIET)
    assert batch.labels is None


def test_a_damaged_image_is_an_error_that_names_it(folder):
    damage(folder / "dog/a.png")
    batches = iter(image_batches(folder, batch_size=2, **QUIET))
    next(batches)
    with pytest.raises(
        ValueError, match=r'(?s)dog/a\.png cannot be read: .*on_error="report"'
    ):
        _drain(batches)


def _drain(batches):
    for _ in batches:
        pass


def test_a_damaged_image_is_reported_and_its_label_goes_with_it(folder):
    damage(folder / "cat/b.png")
    (folder / "dog/a.png").write_bytes(b"")
    batches = list(image_batches(folder, batch_size=3, on_error="report", **QUIET))
    assert [batch.names for batch in batches] == [NAMES[:1], NAMES[3:]]
    assert [batch.labels.tolist() for batch in batches] == [[0], [1, 1]]
    assert [f.name for f in batches[0].failures] == ["cat/b.png", "dog/a.png"]
    assert all("Error" in failure.reason for failure in batches[0].failures)
    assert batches[1].failures == ()


def test_a_batch_of_which_nothing_is_left_is_empty(folder):
    damage(folder / "cat/a.png")
    first, *_ = image_batches(folder, batch_size=1, on_error="report", **QUIET)
    assert (first.images.shape, first.labels.shape) == ((0, 8, 8, 3), (0,))
    assert first.names == ()


def test_progress_is_shown(folder, capsys):
    list(image_batches(folder, size=8))
    assert "5/5" in capsys.readouterr().err


LEVELS = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm"])
def test_gray_of_16_bits_keeps_its_levels(tmp_path, name, fit):
    Image.fromarray(LEVELS).save(tmp_path / name)
    (batch,) = image_batches(tmp_path, fit=fit, **QUIET)
    expected = np.stack(3 * [LEVELS / 65535], axis=-1)
    np.testing.assert_allclose(batch.images[0], expected, atol=1e-6)


def test_a_tiff_says_how_deep_it_is_and_what_is_white(tmp_path):
    inverted = {PHOTOMETRIC: WHITE_IS_ZERO}
    Image.fromarray(LEVELS).save(tmp_path / "a.tif", tiffinfo=inverted)
    # 12 bits, packed: the numbers 4095 and 0 in three bytes, a row of two pixels.
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", 8)
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 110, 278: 1, 279: 3}
    for tag, value in tags.items():
        head += struct.pack("<HHII", tag, 4, 1, value)
    head += struct.pack("<I", 0)
    assert len(head) == 110
    (tmp_path / "b.tif").write_bytes(head + b"\xff\xf0\x00")
    (batch,) = image_batches(tmp_path, fit="stretch", **{**QUIET, "size": 8})
    np.testing.assert_allclose(batch.images[0, ..., 0], 1 - LEVELS / 65535, atol=1e-6)
    assert (batch.images[1].min(), batch.images[1].max()) == (0, 1)


@pytest.mark.parametrize(("kind", "mode"), [("float32", "F"), ("int32", "I")])
def test_pixels_whose_white_is_not_known_are_an_error(tmp_path, kind, mode):
    Image.fromarray((LEVELS // 2).astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(
        ValueError, match=rf"a\.tif cannot .* mode {mode}, .* TIFF, .* which number is"
    ):
        _drain(image_batches(tmp_path, **QUIET))
    (batch,) = image_batches(tmp_path, on_error="report", **QUIET)
    assert [failure.name for failure in batch.failures] == ["a.tif"]


def test_a_gray_image_of_16_bits_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned right by a quarter
    Image.fromarray(LEVELS).save(tmp_path / "a.png", exif=exif)
    (batch,) = image_batches(tmp_path, **QUIET)
    expected = np.rot90(LEVELS, -1) / 65535
    np.testing.assert_allclose(batch.images[0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "`size` must be an integer of at least 1"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"workers": 0}, "`workers` must be an integer of at least 1"),
        ({"fit": "pad"}, "`fit` is 'pad'. There are: 'crop', 'stretch'"),
        ({"on_error": "skip"}, "`on_error` is 'skip'"),
        ({"label": lambda name: None}, "it returned NoneType"),
        ({"label": lambda name: True}, "it returned bool"),
        ({"label": lambda name: -1}, r"returned -1 for cat/a\.png, .* from 0 to 2147"),
        ({"label": lambda name: 2**40}, "returned 1099511627776 for cat/a"),
        ({"label": lambda name: 1 if "a" in name else "b"}, "it returned int, str"),
    ],
)
def test_bad_settings_are_errors(folder, settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        image_batches(folder, **settings)


def test_folders_without_images_or_of_two_kinds_are_errors(folder, tmp_path_factory):
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        image_batches(folder / "nowhere")
    with pytest.raises(ValueError, match=r"holds no image.*\.png"):
        image_batches(tmp_path_factory.mktemp("empty"))
    Image.new("RGB", (4, 4)).save(folder / "alone.png")
    with pytest.raises(ValueError, match=r"alone\.png lies beside the subfolders"):
        image_batches(folder)


def test_without_pillow_the_error_says_what_to_install(folder, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="`pip install pillow`"):
        image_batches(folder)


def test_a_link_to_nothing_is_reported(folder):
    (folder / "dog" / "z.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(ValueError, match=r"dog/z\.png"):
        list(image_batches(folder, **QUIET))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_reported_and_not_waited_for(folder):
    os.mkfifo(folder / "dog" / "z.png")
    (batch,) = image_batches(folder, on_error="report", **QUIET)
    assert [(f.name, f.reason[:10]) for f in batch.failures] == [
        ("dog/z.png", "it is no f")
    ]


def test_whatever_a_decoder_raises_is_reported(folder, monkeypatch):
    def confused(image):
        raise TypeError("'IFDRational' object cannot be interpreted as an integer")

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", confused)
    batches = list(image_batches(folder, on_error="report", **QUIET))
    failures = [failure for batch in batches for failure in batch.failures]
    assert len(failures) == len(NAMES)
    assert "TypeError" in failures[0].reason
