"""Looking at a layer: optimized images of its units, real examples, a scorecard."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import numpy as np

from experiments.feature_gallery.config import Config
from experiments.feature_gallery.subject import CLASSES, Subject
from jaxinterp import featurevis as fv


class Layer(NamedTuple):
    """What was found in a layer; arrays have the units in front.

    Attributes:
        name: of the layer.
        units: their numbers.
        images: optimized images.
        card: what was measured of them; `None` without real images.
        examples: of the real images that score highest, what the best place sees,
            `(units, k, ...)`; or `None`.
        slope: the slope of the power spectrum of the optimized images.
        seconds: the seconds of the optimization for each image, compilation included.
    """

    name: str
    units: np.ndarray
    images: np.ndarray
    card: fv.Scorecard | None
    examples: np.ndarray | None
    slope: np.ndarray
    seconds: float

    @property
    def is_alive(self) -> np.ndarray:
        """Which units some real image excites."""
        return np.asarray(self.card.plain.natural) > 0

    @property
    def ratio(self) -> np.ndarray:
        """Score of each image over that of the best real one, of live units."""
        return np.asarray(self.card.plain.ratio)[self.is_alive]


def spread(units: np.ndarray, count: int | None) -> np.ndarray:
    """Returns so many units, evenly spread; all without a number.

    Args:
        units: their numbers.
        count: how many.
    """
    if count is None or count >= len(units):
        return units
    return units[np.arange(count) * len(units) // count]


def look(subject: Subject, layer: str, config: Config, units: np.ndarray) -> Layer:
    """Optimizes images for units of a layer, and finds their examples.

    Args:
        subject: the network.
        layer: one of its layers.
        config: the settings.
        units: numbers of units.
    """
    objective = subject.objective(layer, units)
    started = time.perf_counter()
    result = fv.maximize(
        subject.apply_fn,
        objective,
        subject.variables,
        key=jax.random.key(config.seed),
        parametrization=fv.fourier((config.size, config.size, 3)),
        transforms=subject.transforms,
        steps=config.steps,
    )
    images = np.asarray(result.images)
    seconds = (time.perf_counter() - started) / len(images)
    slope = np.asarray(fv.spectrum_slope(images))
    batches = subject.batches()
    if not batches:
        return Layer(layer, units, images, None, None, slope, seconds)
    found = fv.dataset_examples(
        subject.apply_fn,
        objective,
        subject.variables,
        batches,
        k=config.examples,
    )
    card = fv.scorecard(
        subject.apply_fn,
        objective,
        subject.variables,
        images,
        natural=found,
        transforms=subject.transforms,
        key=jax.random.key(config.seed + 1),
        samples=4,
        names=[subject.title(layer, unit) for unit in units],
        batch_size=config.together,
    )
    first = jax.tree.map(lambda leaf: leaf[: config.shown], found.top)
    examples = fv.crops(batches, first, _field(subject, layer, batches[0]))
    return Layer(layer, units, images, card, examples, slope, seconds)


def _field(
    subject: Subject, layer: str, images: np.ndarray
) -> fv.ReceptiveField | None:
    """What of an image one place of a layer sees; everything, for classes."""
    if layer == CLASSES:
        return None
    return fv.receptive_field(subject.apply_fn, layer, subject.variables, images)
