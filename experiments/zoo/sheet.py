"""Samples of the generator beside real digits, as one image."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from matplotlib import pyplot as plt

from experiments.zoo.generative import enlarged
from experiments.zoo.recipe import Trained
from jaxinterp.data.sets import digits

COLUMNS = 20
ROWS = 5
# Pixels of the image for one of a sample, and between two samples.
SCALE = 3
GAP = 2


def draw(generator: Trained, path: Path) -> None:
    """Writes rows of samples, and below them a row of digits that were held out.

    Args:
        generator: the DCGAN.
        path: where to write a PNG.
    """
    latents = generator.held_out(COLUMNS * ROWS)
    samples = generator.apply_fn(generator.variables, latents)
    seed = generator.config["schedule"].seed
    keys = jax.random.split(jax.random.key(seed), 3)
    real = enlarged(digits(keys[0]).test_inputs[:COLUMNS])
    path.parent.mkdir(parents=True, exist_ok=True)
    image = tiled(np.concatenate([samples, real]), COLUMNS)
    enlarge = np.ones((SCALE, SCALE))
    plt.imsave(path, np.kron(image, enlarge), cmap="gray", vmin=-1, vmax=1)


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Returns images side by side, with white gaps between them.

    Args:
        images: of shape `(rows * columns, height, width, 1)`, in [-1, 1].
        columns: images in a row.
    """
    gap = ((0, 0), (0, GAP), (0, GAP))
    padded = np.pad(images[..., 0], gap, constant_values=1.0)
    _, height, width = padded.shape
    rows = padded.reshape(-1, columns, height, width).swapaxes(1, 2)
    return rows.reshape(-1, columns * width)[:-GAP, :-GAP]
