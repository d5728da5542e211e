"""Every method on GoogLeNet and photographs of the user's own.

    python -m experiments.ground_truth.photographs --weights googlenet.safetensors \
        --images FOLDER --output gallery.png

It writes a gallery; nothing of the photographs is part of this repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from tqdm import tqdm

import jaxinterp as ji
from experiments.ground_truth.methods import methods
from jaxinterp.plot import gallery


def read(paths: list[Path], side: int = 224) -> np.ndarray:
    """Returns photographs as bytes, of shape `(count, side, side, 3)`.

    Args:
        paths: their files.
        side: of the pictures, in pixels.
    """
    pictures = [Image.open(p).convert("RGB").resize((side, side)) for p in paths]
    return np.stack([np.asarray(picture) for picture in pictures])


def explain(model: ji.models.Loaded, images: np.ndarray) -> tuple[Any, dict[str, Any]]:
    """Returns the predicted classes, and the attributions by method.

    Args:
        model: a trained network with its preprocessing.
        images: bytes, of shape `(count, height, width, 3)`.
    """
    inputs = jnp.asarray(model.preprocess(images))
    target = jnp.argmax(jax.jit(model.apply_fn)(model.variables, inputs), axis=1)
    low, high = model.preprocess.bounds
    found = {}
    for name, attribute in tqdm(methods(model.apply_fn, low, high).items()):
        run = jax.jit(attribute)
        rows = [
            run(
                model.variables, inputs[i : i + 1], target[i : i + 1], jax.random.key(0)
            )
            for i in range(len(inputs))
        ]
        found[name] = np.concatenate([np.asarray(row) for row in rows])
    return target, found


def main() -> None:
    """Reads the command line, explains, and writes the gallery."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="googlenet_caffe", help="name of the model")
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("gallery.png"))
    options = parser.parse_args()
    model = ji.models.load(options.weights, model=options.model)
    files = sorted(options.images.glob("*.[jp][pn]g"))
    chosen = files[:: max(1, len(files) // options.count)][: options.count]
    images = read(chosen)
    target, found = explain(model, images)
    labels = [
        f"{p.stem[:18]}\nread as {t}" for p, t in zip(chosen, target, strict=True)
    ]
    figure = gallery(images, found, labels=labels, percentile=99.5, size=1.6)
    figure.savefig(options.output, dpi=110)
    print(f"{options.output} written")


if __name__ == "__main__":
    main()
