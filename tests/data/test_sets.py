"""Real sets are complete and scaled as said; damaged MNIST files are errors."""

import gzip
import struct

import jax
import numpy as np
import pytest
from sklearn import datasets

from jaxinterp.data import breast_cancer, diabetes, digits, mnist

KEY = jax.random.key(0)
LOADERS = {
    "digits": (digits, datasets.load_digits),
    "breast_cancer": (breast_cancer, datasets.load_breast_cancer),
    "diabetes": (diabetes, lambda: datasets.load_diabetes(scaled=False)),
}
every_set = pytest.mark.parametrize("name", LOADERS)


@every_set
def test_every_example_of_the_source_is_on_one_side(name):
    load, source = LOADERS[name]
    data, source = load(KEY, test_fraction=0.25), source()
    inputs = np.concatenate([data.train_inputs, data.test_inputs])
    labels = np.concatenate([data.train_labels, data.test_labels])
    restored = (inputs * data.feature_scales + data.feature_means).reshape(
        len(inputs), -1
    )
    ours = np.column_stack([restored, labels])
    theirs = np.column_stack([source.data, source.target])
    # Sorted along a random direction, in which rounding to float32 reorders nothing.
    direction = np.random.default_rng(0).normal(size=ours.shape[1])
    direction /= 1 + theirs.std(0)
    ours = ours[np.argsort(ours @ direction)]
    theirs = theirs[np.argsort(theirs @ direction)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    assert len(data.test_inputs) == round(0.25 * len(inputs))


@every_set
def test_the_key_decides_the_split(name):
    load, _ = LOADERS[name]
    one, same, other = load(KEY), load(KEY), load(jax.random.key(1))
    np.testing.assert_array_equal(one.test_inputs, same.test_inputs)
    assert (one.test_labels != other.test_labels).any()


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_tables_are_standardized_by_the_training_set(name):
    data = LOADERS[name][0](KEY)
    np.testing.assert_allclose(data.train_inputs.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(data.train_inputs.std(0), 1, atol=1e-4)
    assert len(data.feature_names) == data.train_inputs.shape[1]
    assert data.train_inputs.dtype == np.float32


def test_digits_are_images_within_0_and_1():
    data = digits(KEY)
    assert (data.train_inputs.min(), data.train_inputs.max()) == (0, 1)
    assert data.train_labels.dtype == np.int32
    assert data.class_names == tuple("0123456789")
    assert diabetes(KEY).train_labels.dtype == np.float32


@every_set
@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_side_without_examples_is_an_error(name, fraction):
    with pytest.raises(ValueError, match="must leave examples on both sides"):
        LOADERS[name][0](KEY, test_fraction=fraction)
    with pytest.raises(TypeError, match=rf"{name}\(\) is random and needs one key"):
        LOADERS[name][0](None)


# --- MNIST's format -------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture
def write(tmp_path):
    def _write(images=None, labels=None):
        paths = tmp_path / "images", tmp_path / "labels"
        paths[0].write_bytes(idx(PIXELS) if images is None else images)
        paths[1].write_bytes(idx(LABELS) if labels is None else labels)
        return paths

    return _write


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_are_read_back_gzipped_or_not(write, pack):
    data = mnist(*write(pack(idx(PIXELS)), pack(idx(LABELS))))
    assert data.inputs.shape == (5, 4, 3, 1)
    assert (data.inputs.dtype, data.labels.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(np.round(data.inputs[..., 0] * 255), PIXELS)
    np.testing.assert_array_equal(data.labels, LABELS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"images": idx(LABELS)}, "images is not an IDX file of images.*0x00000801"),
        ({"labels": idx(PIXELS)}, "labels is not an IDX file of labels.*0x00000803"),
        ({"images": b"GIF89a"}, "begins with 0x47494638, and 0x00000803 was expected"),
        ({"images": b""}, "is not an IDX file of images"),
        ({"images": idx(PIXELS)[:9]}, "cut off within its header, at 9 bytes"),
        ({"images": idx(PIXELS)[:-1]}, "5 x 4 x 3 = 60 bytes of images, and holds 59"),
        ({"labels": idx(LABELS) + b"x"}, "5 = 5 bytes of labels, and holds 6"),
        ({"labels": idx(LABELS[:4])}, "holds 5 images, and .*labels 4 labels"),
        ({"images": gzip.compress(idx(PIXELS))[:-9]}, "is gzipped, and is damaged"),
    ],
)
def test_damaged_files_are_errors(write, files, message):
    with pytest.raises(ValueError, match=message):
        mnist(*write(**files))


def test_a_missing_file_is_an_error(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mnist(tmp_path / "nowhere", write()[1])


def test_the_real_files_are_read(real_data):
    data = mnist(
        real_data / "t10k-images-idx3-ubyte.gz", real_data / "t10k-labels-idx1-ubyte.gz"
    )
    assert data.inputs.shape == (10000, 28, 28, 1)
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.parametrize(
    ("read", "share"), [(breast_cancer, 0.9985), (diabetes, 0.998)]
)
def test_features_that_cannot_be_standardized_are_named(read, share):
    names = read(KEY).feature_names
    with pytest.raises(
        ValueError, match=r"1 examples .* are constant and cannot be standardized"
    ) as error:
        read(KEY, test_fraction=share)
    assert all(name in str(error.value) for name in names)


def test_equal_numbers_are_constant_though_their_mean_is_rounded(monkeypatch):
    source = datasets.load_diabetes(scaled=False)
    source.data[:, 2] = 0.1
    assert source.data[:331, 2].std() > 0
    monkeypatch.setattr(datasets, "load_diabetes", lambda scaled: source)
    with pytest.raises(ValueError, match=r"standardized: bmi\. Write a smaller"):
        diabetes(KEY, test_fraction=0.25)
