"""Draws what the classes of a network of digits look for, with and without a prior.

    python -m experiments.feature_gallery.prior

Gradient ascent in frequencies finds what drives a class; in the latents of a generator
of digits it finds a digit that does. Both networks are the zoo's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.zoo import shelf
from experiments.zoo.generative import LATENT, SIZE
from jaxinterp import featurevis as fv
from jaxinterp.data.sets import digits
from jaxinterp.models import with_preprocess
from jaxinterp.objectives import log_probability
from jaxinterp.plot import image_grid

COUNT = 2
STEPS = 256
HEAD = (
    "| images | probability of the class | nearest real digit is of the class "
    "| distance to it, 1 for real digits |\n|---|--:|--:|--:|"
)


class Drawn(NamedTuple):
    """Images of the ten classes.

    Attributes:
        name: how they were made.
        images: `(10 * COUNT, 8, 8, 1)` in [0, 1], as the network sees them.
        probability: the probability of the class, median over the images.
        is_class: share of those whose nearest real digit is of the class.
        distance: to that digit, in units of that of a real digit; median.
    """

    name: str
    images: np.ndarray
    probability: float
    is_class: float
    distance: float

    @property
    def row(self) -> str:
        """The line of the table."""
        return (
            f"| `{self.name}` | {self.probability:.3f} | {100 * self.is_class:.0f} % "
            f"| {self.distance:.2f} |"
        )


def halved(images: Any) -> Any:
    """Returns images of half the size: the mean of each square of four pixels.

    Args:
        images: `(batch, height, width, channels)`.
    """
    count, height, width, channels = images.shape
    return images.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def draw(steps: int = STEPS) -> list[Drawn]:
    """Optimizes images of all classes, in each parametrization.

    Args:
        steps: of the optimization.
    """
    network, drawer = shelf.load("digits_cnn"), shelf.load("dcgan")
    data = digits(jax.random.key(0))
    labels = np.repeat(np.arange(10), COUNT)
    unit = np.median(_nearest(data.test_inputs, data.train_inputs)[0])
    ways = {
        "fourier": fv.fourier((SIZE, SIZE, 1)),
        "generator": fv.generator(drawer.apply_fn, drawer.variables, LATENT),
    }
    found = []
    for name, parametrization in ways.items():
        result = fv.maximize(
            with_preprocess(network.apply_fn, halved),
            fv.output(np.arange(10), score=log_probability),
            network.variables,
            key=jax.random.key(0),
            parametrization=parametrization,
            transforms=[fv.roll(1)],
            steps=steps,
            count=COUNT,
        )
        images = np.asarray(halved(result.images))
        logits = network.apply_fn(network.variables, images)
        probability = np.asarray(jax.nn.softmax(logits))[np.arange(len(labels)), labels]
        distance, nearest = _nearest(images, data.train_inputs)
        found.append(
            Drawn(
                name,
                images,
                float(np.median(probability)),
                float((data.train_labels[nearest] == labels).mean()),
                float(np.median(distance) / unit),
            )
        )
    return found


def _nearest(images: Any, others: Any) -> tuple[np.ndarray, np.ndarray]:
    """The distance to the nearest of the others, and which one it is."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (images, others))
    distance = np.sqrt(np.square(a[:, None] - b[None]).sum(-1))
    return distance.min(1), distance.argmin(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, prints a table and writes a figure.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.feature_gallery.prior",
        description="Classes of digits, with and without a learned prior.",
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--output", type=Path, default=Path("feature_gallery"))
    options = parser.parse_args(arguments)
    found = draw(options.steps)
    table = "\n".join((HEAD, *(drawn.row for drawn in found)))
    print(table)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "prior.md").write_text(f"{table}\n")
    first = np.concatenate([drawn.images[::COUNT] for drawn in found])
    titles = [f"{drawn.name}: {k}" for drawn in found for k in range(10)]
    figure = image_grid(first, columns=10, titles=titles, size=0.9)
    figure.savefig(options.output / "prior.png", dpi=100)
    print(f"{options.output / 'prior.png'} written")


if __name__ == "__main__":
    main()
