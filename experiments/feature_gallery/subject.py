"""What is looked at: a network, its layers, and real images to compare with."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji
from experiments.feature_gallery.config import (
    GOOGLENET_CLASSES,
    GOOGLENET_SITES,
    Config,
)
from experiments.zoo import shelf
from jaxinterp import featurevis as fv
from jaxinterp.data import image_batches

# The layer of the logits.
CLASSES = "classes"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network and what to look at.

    Attributes:
        name: of the network.
        apply_fn: the model of images in [0, 1].
        variables: its weights.
        layers: the numbers of the units by the name of the layer.
        batches: gives the stream of real images, in [0, 1]; empty without any.
        class_names: of the logits; may be empty.
        transforms: what images have to withstand.
    """

    name: str
    apply_fn: Callable[..., Any]
    variables: Any
    layers: Mapping[str, np.ndarray]
    batches: Callable[[], Iterable[np.ndarray]]
    class_names: Sequence[str]
    transforms: Sequence[fv.Transform]

    def objective(self, layer: str, units: np.ndarray) -> fv.Objective:
        """Returns the objective of some units of a layer.

        Args:
            layer: its name.
            units: their numbers.
        """
        return fv.output(units) if layer == CLASSES else fv.channel(layer, units)

    def title(self, layer: str, unit: int) -> str:
        """Returns what is written above the image of a unit.

        Args:
            layer: its name.
            unit: its number.
        """
        if layer == CLASSES and self.class_names:
            return self.class_names[unit][:24]
        return f"{layer}:{unit}"


def embedded(config: Config, name: str = "shapes_cnn") -> Subject:
    """Returns a network of the zoo that names shapes: nothing is downloaded.

    Args:
        config: the settings.
        name: of the network.
    """
    network = shelf.load(name)
    data = network.held_out(config.natural)
    images = np.asarray(data.images, np.float32)
    graph = ji.trace(network.apply_fn, network.variables, images[:1])
    layers = {
        node.address: np.arange(node.outputs[0].shape[-1])
        for node in graph
        if node.role == "activation" and len(node.outputs[0].shape) == 4
    }
    starts = range(0, len(images), config.together)
    return Subject(
        name=name,
        apply_fn=network.apply_fn,
        variables=network.variables,
        layers=layers,
        batches=lambda: [images[i : i + config.together] for i in starts],
        class_names=(),
        # Nothing is padded: a channel of the first layer that is excited by the edge of
        # a padding, and by no noise, would have no gradient.
        transforms=[fv.jitter(8)],
    )


def googlenet(
    config: Config, weights: Path, folder: Path | None, class_names: Path | None
) -> Subject:
    """Returns BVLC GoogLeNet with the user's weights and photographs.

    Args:
        config: the settings.
        weights: the file.
        folder: of photographs; without it, nothing is compared.
        class_names: a file with one name a line.
    """
    network = ji.models.load(weights, model="googlenet_caffe", class_names=class_names)
    preprocess = dataclasses.replace(network.preprocess, size=None)
    apply_fn = ji.models.with_preprocess(network.apply_fn, preprocess)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    sites = ji.trace(network.apply_fn, network.variables, image).sites
    layers = {}
    for site in GOOGLENET_SITES:
        channels = sites[f"GoogLeNet/{site}"].shape[-1]
        layers[site] = np.arange(channels)
    layers[CLASSES] = np.asarray(GOOGLENET_CLASSES)

    def batches() -> Iterable[np.ndarray]:
        if folder is None:
            return []
        every = image_batches(
            folder,
            label=lambda name: 0,
            size=224,
            batch_size=config.together,
            show_progress=False,
        )
        first = -(-config.natural // config.together)
        return [batch.images for batch in itertools.islice(every, first)]

    return Subject(
        name="googlenet",
        apply_fn=apply_fn,
        variables=network.variables,
        layers=layers,
        batches=batches,
        class_names=tuple(network.class_names or ()),
        transforms=[fv.recipe("lucid")],
    )
