"""Scikit-learn's handwritten digits as images in [0, 1], split in two."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from experiments.quickstart.config import Config


class Digits(NamedTuple):
    """Images of shape `(n, width, width, 1)` in [0, 1], and their classes."""

    images: jax.Array
    labels: np.ndarray


class Split(NamedTuple):
    """Digits to learn from, and others to test with."""

    train: Digits
    test: Digits


def load(config: Config) -> Split:
    """Returns the digits, upsampled and with an empty border.

    Args:
        config: the settings; `width`, `border` and `seed` matter here.
    """
    raw = load_digits()
    images = jnp.asarray(raw.images / 16, jnp.float32)
    shape = (len(images), config.width, config.width)
    images = jax.image.resize(images, shape, "bilinear")
    border = (config.border, config.border)
    images = jnp.pad(images, ((0, 0), border, border))[..., None]
    labels = raw.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=0.25,
        random_state=config.seed,
        stratify=labels,
    )
    return Split(
        Digits(images[train], labels[train]), Digits(images[test], labels[test])
    )
