"""Small real data sets: three of scikit-learn, and files in MNIST's format."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxinterp.checks import checked_share
from jaxinterp.keys import check_key
from jaxinterp.types import Key


class RealSet(NamedTuple):
    """A data set, shuffled and split.

    Attributes:
        train_inputs: the training examples, float32, batch first.
        train_labels: the class of each, int32, or the target of a regression, float32.
        test_inputs: the test examples, float32, batch first.
        test_labels: the class or target of each test example.
        feature_names: the name of each column of a table; `()` for images.
        class_names: the name of each class; `()` for a regression.
        feature_means: the number that was subtracted from each feature.
        feature_scales: the number by which each feature was then divided. So
            `inputs * feature_scales + feature_means` has the units of the source.
    """

    train_inputs: Float[np.ndarray, "train ..."]
    train_labels: np.ndarray
    test_inputs: Float[np.ndarray, "test ..."]
    test_labels: np.ndarray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    feature_means: Float[np.ndarray, "*features"]
    feature_scales: Float[np.ndarray, "*features"]


class LabeledImages(NamedTuple):
    """Images with labels.

    Attributes:
        inputs: the images, in [0, 1], channels last.
        labels: the class of each image.
    """

    inputs: Float[np.ndarray, "count height width 1"]
    labels: Int[np.ndarray, " count"]


def digits(key: Key, *, test_fraction: float = 0.2) -> RealSet:
    """Reads scikit-learn's 1,797 handwritten digits of 8x8 pixels.

    Pixels are divided by 16, so they lie in [0, 1]; they are not standardized.

    The true explanation is not known. An ideal one lies on the strokes, and on the gaps
    that tell a digit from another, such as the open side of a 3.

    Args:
        key: the random key, by which the examples are shuffled before the split.
        test_fraction: the fraction of examples that are held out for the test set.

    Returns:
        Images of shape `(count, 8, 8, 1)`, and the split.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if the training set or the test set would be empty.

    Example:
        >>> data = digits(jax.random.key(0))
        >>> data.train_inputs.shape, data.test_inputs.shape
        ((1438, 8, 8, 1), (359, 8, 8, 1))
    """
    # Imported here, since importing scikit-learn takes a second.
    from sklearn.datasets import load_digits

    source: Any = load_digits()
    images = source.images[..., None]
    names = tuple(str(name) for name in source.target_names)
    mean, scale = np.zeros((8, 8, 1)), np.full((8, 8, 1), 16.0)
    order = _order("digits", key, len(images), test_fraction)
    return _split(images, source.target.astype(np.int32), order, (), names, mean, scale)


def breast_cancer(key: Key, *, test_fraction: float = 0.2) -> RealSet:
    """Reads the 569 tumors of the Wisconsin diagnostic set, with 30 features each.

    Features are standardized by the mean and the standard deviation of the training
    set. Class 0 is malignant and 1 benign.

    The true explanation is not known, and the features come in groups that say nearly
    the same (radius, perimeter, area). The sum over a group is therefore better defined
    than the shares of its members.

    Args:
        key: the random key, by which the examples are shuffled before the split.
        test_fraction: the fraction of examples that are held out for the test set.

    Returns:
        A table, and the split.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if the training set or the test set would be empty, or a
            feature is constant in the training set.

    Example:
        >>> data = breast_cancer(jax.random.key(0))
        >>> data.class_names, data.feature_names[0], data.train_inputs.shape
        (('malignant', 'benign'), 'mean radius', (455, 30))
    """
    # Imported here, since importing scikit-learn takes a second.
    from sklearn.datasets import load_breast_cancer

    source: Any = load_breast_cancer()
    labels = source.target.astype(np.int32)
    return _table("breast_cancer", source, labels, key, test_fraction)


def diabetes(key: Key, *, test_fraction: float = 0.2) -> RealSet:
    """Reads the 442 patients of the diabetes set, with 10 features each.

    Features are standardized by the mean and the standard deviation of the training
    set. The target is how far the disease got within a year, from 25 to 346, as it is.

    The true explanation is not known. An ideal explanation of a linear model gives each
    feature its term; `s1` to `s6` are blood values that depend on one another.

    Args:
        key: the random key, by which the examples are shuffled before the split.
        test_fraction: the fraction of examples that are held out for the test set.

    Returns:
        A table, and the split.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if the training set or the test set would be empty, or a
            feature is constant in the training set.

    Example:
        >>> data = diabetes(jax.random.key(0))
        >>> data.feature_names[:3], data.train_inputs.shape
        (('age', 'sex', 'bmi'), (354, 10))
    """
    # Imported here, since importing scikit-learn takes a second.
    from sklearn.datasets import load_diabetes

    source: Any = load_diabetes(scaled=False)
    labels = source.target.astype(np.float32)
    return _table("diabetes", source, labels, key, test_fraction)


def _table(
    call: str, source: Any, labels: np.ndarray, key: Key, test_fraction: float
) -> RealSet:
    order = _order(call, key, len(labels), test_fraction)
    train = source.data[order[0]]
    classes = tuple(str(name) for name in getattr(source, "target_names", ()))
    features = tuple(str(name) for name in source.feature_names)
    mean, scale = train.mean(axis=0), train.std(axis=0)
    # Not `scale == 0`: by rounding, the deviation of equal numbers may be positive.
    is_constant = train.min(axis=0) == train.max(axis=0)
    constant = [features[i] for i in np.flatnonzero(is_constant)]
    if constant:
        raise ValueError(
            f"With test_fraction={test_fraction}, {len(train)} examples are left to "
            f"train on, in which features are constant and cannot be standardized: "
            f"{', '.join(constant)}. Write a smaller `test_fraction`."
        )
    return _split(source.data, labels, order, features, classes, mean, scale)


def _order(
    call: str, key: Key, count: int, test_fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the training examples and of the test examples."""
    check_key(call, key)
    test_fraction = checked_share("test_fraction", test_fraction, call=call)
    n_test = round(test_fraction * count)
    if not 0 < n_test < count:
        raise ValueError(
            f"{call}: `test_fraction` must leave examples on both sides; "
            f"{test_fraction} of {count} are {n_test}."
        )
    order = np.asarray(jax.random.permutation(key, count))
    return order[n_test:], order[:n_test]


def _split(
    inputs: np.ndarray,
    labels: np.ndarray,
    order: tuple[np.ndarray, np.ndarray],
    feature_names: tuple[str, ...],
    class_names: tuple[str, ...],
    mean: np.ndarray,
    scale: np.ndarray,
) -> RealSet:
    train, test = order
    scaled = ((inputs - mean) / scale).astype(np.float32)
    return RealSet(
        scaled[train],
        labels[train],
        scaled[test],
        labels[test],
        feature_names,
        class_names,
        mean.astype(np.float32),
        scale.astype(np.float32),
    )


def mnist(images_path: str | Path, labels_path: str | Path) -> LabeledImages:
    """Reads images and labels in MNIST's IDX format, gzipped or not.

    Fashion-MNIST, KMNIST and other sets come in the same format. The true explanation
    is not known. An ideal one lies on the strokes, and on the gaps that tell a digit
    from another.

    Args:
        images_path: the file of the images, such as `train-images-idx3-ubyte.gz`.
        labels_path: the file of the labels, such as `train-labels-idx1-ubyte.gz`.

    Returns:
        Images in [0, 1], of shape `(count, 28, 28, 1)` for MNIST, and int32 labels, in
        the order of the files.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is not in IDX format, does not hold images or labels, is
            truncated or too long, or the numbers of images and labels differ.

    Example:
        >>> mnist("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
        ...     )  # doctest: +SKIP
    """
    images = _read_idx(Path(images_path), axes=3, holds="images")
    labels = _read_idx(Path(labels_path), axes=1, holds="labels")
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, and {labels_path} "
            f"{len(labels)} labels. Are they of the same set?"
        )
    scaled = images[..., None].astype(np.float32) / np.float32(255)
    return LabeledImages(scaled, labels.astype(np.int32))


def _read_idx(path: Path, *, axes: int, holds: str) -> np.ndarray:
    """Reads an IDX file of unsigned bytes: magic number, lengths of axes, bytes."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is gzipped, and is damaged: {error}.") from error
    # Two zero bytes, 8 for unsigned bytes, and the number of axes.
    magic, header = bytes([0, 0, 8, axes]), 4 + 4 * axes
    if raw[:4] != magic:
        raise ValueError(
            f"{path} is not an IDX file of {holds}: it begins with 0x{raw[:4].hex()}, "
            f"and 0x{magic.hex()} was expected. Were images and labels swapped?"
        )
    if len(raw) < header:
        raise ValueError(f"{path} is cut off within its header, at {len(raw)} bytes.")
    lengths = struct.unpack(f">{axes}I", raw[4:header])
    expected = math.prod(lengths)
    if len(raw) - header != expected:
        raise ValueError(
            f"{path} announces {' x '.join(map(str, lengths))} = {expected} bytes of "
            f"{holds}, and holds {len(raw) - header}. Download it again."
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(lengths)
