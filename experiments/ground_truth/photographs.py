"""Every method on GoogLeNet and photographs of the user's own.

    python -m experiments.ground_truth.photographs --weights googlenet.safetensors \
        --images FOLDER --output gallery.png

It writes a gallery; nothing of the photographs is part of this repository. With
`--more` it draws the methods that take hundreds of passes as well, which takes minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import jaxinterp as ji
from experiments.ground_truth.explain import PATCHES, last_map
from experiments.ground_truth.methods import Subject, methods, more_methods
from jaxinterp.data import ImageBatches, image_batches
from jaxinterp.models import Preprocess
from jaxinterp.perturbation import grid_segments
from jaxinterp.plot import gallery

# Side of the images for a network that takes any.
SIDE = 224


def choose(folder: Path, count: int) -> ImageBatches:
    """Returns one batch with some of the images of a folder, evenly spread.

    Args:
        folder: where they lie; subfolders count too.
        count: how many, at most.

    Raises:
        NotADirectoryError: if there is no such folder.
        ValueError: if it holds no image.
    """
    every = image_batches(folder, label=lambda name: 0, show_progress=False)
    count = min(count, len(every.names))
    names = tuple(every.names[k * len(every.names) // count] for k in range(count))
    return dataclasses.replace(
        every, names=names, labels=(0,) * count, batch_size=count
    )


def read(chosen: ImageBatches, preprocess: Preprocess) -> np.ndarray:
    """Returns images in [0, 1], cropped to a square that the network takes.

    Args:
        chosen: one batch of them.
        preprocess: of the network; it cuts the square where it takes none.

    Raises:
        ValueError: if one of them is damaged.
    """
    (batch,) = dataclasses.replace(chosen, size=max(preprocess.size or (SIDE,)))
    return batch.images


def explain(
    model: ji.models.Loaded,
    inputs: jax.Array,
    bounds: tuple[Any, Any],
    *,
    more: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """Returns the predicted classes, and the attributions by method.

    Args:
        model: a trained network.
        inputs: preprocessed images, of shape `(count, height, width, channels)`.
        bounds: black and white, as inputs.
        more: whether to explain by the methods that take hundreds of passes as well.
    """
    target = jnp.argmax(jax.jit(model.apply_fn)(model.variables, inputs), axis=1)
    found, every = {}, methods(model.apply_fn, *bounds)
    if more:
        subject = Subject(
            np.mean(bounds, axis=0),
            background=inputs,
            segments=grid_segments(inputs.shape[1:3], inputs.shape[1] // PATCHES),
            layer=last_map(model.apply_fn, model.variables, inputs[:1]),
        )
        every |= more_methods(model.apply_fn, subject)
    for name, attribute in tqdm(every.items()):
        run = jax.jit(attribute)
        rows = [
            run(
                model.variables, inputs[i : i + 1], target[i : i + 1], jax.random.key(0)
            )
            for i in range(len(inputs))
        ]
        found[name] = np.concatenate([np.asarray(row) for row in rows])
    return target, found


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, explains, and writes the gallery.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ground_truth.photographs",
        description="Every method on a network and photographs of your own.",
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="googlenet_caffe", help="name of the model")
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument(
        "--more", action="store_true", help="also what takes hundreds of passes"
    )
    parser.add_argument("--output", type=Path, default=Path("gallery.png"))
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error(f"--count must be at least 1, and is {options.count}.")
    try:
        chosen = choose(options.images, options.count)
    except (NotADirectoryError, ValueError) as error:
        parser.error(f"--images: {error}")
    model = ji.models.load(options.weights, model=options.model)
    preprocess = model.preprocess
    if not isinstance(preprocess, Preprocess):
        parser.error(f"--model: {options.model} does not take images.")
    try:
        inputs = preprocess(read(chosen, preprocess))
    except ValueError as error:
        parser.error(f"--images: {error}")
    target, found = explain(model, inputs, preprocess.bounds, more=options.more)
    labels = [
        f"{Path(name).stem[:18]}\nread as {t}"
        for name, t in zip(chosen.names, target, strict=True)
    ]
    # Shown is what the network saw, be it cropped once more.
    figure = gallery(
        preprocess.inverse(inputs),
        found,
        labels=labels,
        percentile=99.5,
        size=1.6,
    )
    figure.savefig(options.output, dpi=110)
    print(f"{options.output} written")


if __name__ == "__main__":
    main()
