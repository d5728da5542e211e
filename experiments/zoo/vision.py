"""Networks that see: shapes, a watermark, digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.zoo.real import RealTask
from experiments.zoo.recipe import Pairs, Supervised, Task
from experiments.zoo.standardize import Standardize
from experiments.zoo.training import Goal, Schedule
from jaxinterp.data.geometry import COLORS, SHAPES, TEXTURES
from jaxinterp.data.sets import digits
from jaxinterp.data.shapes import Shapes, shapes
from jaxinterp.data.watermark import Watermark, watermark
from jaxinterp.models.architectures.cnn import CNN
from jaxinterp.models.architectures.resnet import ResNet
from jaxinterp.models.architectures.vit import ViT

SIZE = 64
CLASSES = len(SHAPES) * len(TEXTURES) * len(COLORS)
# So many examples are drawn at once, of which only the images are kept, as bytes.
DRAWN = 512


@dataclasses.dataclass(frozen=True)
class NameTheTarget(Task):
    """Name shape, texture and color of the outlined object, one of 36 classes.

    A class stays what it is when the image is mirrored or turned by a quarter, so each
    image of the training set is worth eight.

    Attributes:
        examples: number of images that are trained on.
        examined: number of images that figures are measured with.
    """

    examples: int = 8192
    examined: int = 1024

    def draw(self, key: Any, count: int) -> Shapes:
        """Returns images with their masks."""
        return shapes(key, count, size=SIZE)

    def train_set(self, key: Any) -> Pairs:
        """Returns images as bytes, and classes."""
        return _drawn(key, self.examples)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns images in [0, 1]."""
        data = self.draw(key, self.examined)
        return {"accuracy": Pairs(data.images, data.labels)}

    def varied(self, key: Any, inputs: Any) -> Any:
        """Returns the images in [0, 1], each in one of its eight positions."""
        coins = jax.random.bernoulli(key, 0.5, (3, len(inputs), 1, 1, 1))
        inputs = jnp.where(coins[0], inputs[:, ::-1], inputs)
        inputs = jnp.where(coins[1], inputs[:, :, ::-1], inputs)
        inputs = jnp.where(coins[2], inputs.swapaxes(1, 2), inputs)
        return inputs.astype(jnp.float32) / 255


@dataclasses.dataclass(frozen=True)
class CleverHans(Task):
    """Name the shape of an object, where a colored patch gives it away in training.

    The figures are the accuracies with the patch as in training, with a patch of a
    random color, and without any.

    Attributes:
        examples: number of images that are trained on.
        examined: number of images that each figure is measured with.
    """

    examples: int = 2048
    examined: int = 1024

    def draw(self, key: Any, count: int) -> Watermark:
        """Returns images whose patch has a random color."""
        return watermark(key, count, size=SIZE, correlation=0.0)

    def train_set(self, key: Any) -> Pairs:
        """Returns images whose patch is the label."""
        data = watermark(key, self.examples, size=SIZE)
        return Pairs(data.images, data.labels)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns the same objects three times."""
        told = watermark(key, self.examined, size=SIZE)
        random = self.draw(key, self.examined)
        return {
            "accuracy": Pairs(told.images, told.labels),
            "random patch": Pairs(random.images, random.labels),
            "no patch": Pairs(told.clean, told.labels),
        }


def _drawn(key: Any, count: int) -> Pairs:
    # Masks would take most of the memory and the time; what is not returned from a
    # compiled function is not computed.
    @jax.jit
    def part(key: Any) -> Pairs:
        data = shapes(key, DRAWN, size=SIZE)
        return Pairs(jnp.round(255 * data.images).astype(jnp.uint8), data.labels)

    def parts() -> Iterator[Pairs]:
        for i in range(-(-count // DRAWN)):
            yield jax.tree.map(np.asarray, part(jax.random.fold_in(key, i)))

    images, labels = zip(*parts(), strict=True)
    return Pairs(np.concatenate(images)[:count], np.concatenate(labels)[:count])


RECIPES = (
    Supervised(
        "shapes_cnn",
        CNN(classes=CLASSES),
        NameTheTarget(),
        Schedule(goals=(Goal("accuracy", least=0.96),), steps=1000, learning_rate=6e-3),
    ),
    Supervised(
        "shapes_resnet",
        ResNet(classes=CLASSES, width=16, stages=(1, 1, 1)),
        NameTheTarget(),
        Schedule(goals=(Goal("accuracy", least=0.96),), steps=1600, learning_rate=6e-3),
    ),
    Supervised(
        "shapes_vit",
        ViT(
            image_size=SIZE,
            patch_size=8,
            width=64,
            depth=4,
            heads=4,
            mlp_width=128,
            classes=CLASSES,
        ),
        NameTheTarget(),
        Schedule(
            goals=(Goal("accuracy", least=0.82),),
            steps=3200,
            learning_rate=2e-3,
            every=200,
        ),
        Standardize("patch_embedding", mean=0.35, deviation=0.25),
    ),
    Supervised(
        "watermark_cnn",
        CNN(classes=len(SHAPES), stages=((), (32,), (32,))),
        CleverHans(),
        Schedule(
            goals=(
                Goal("accuracy", least=0.99),
                Goal("random patch", most=0.4),
                Goal("no patch", most=0.6),
            ),
            steps=600,
            every=50,
        ),
    ),
    Supervised(
        "digits_cnn",
        CNN(classes=10, stem_size=3, stem_stride=1, stages=((), (32,), (32,))),
        RealTask(digits),
        Schedule(goals=(Goal("accuracy", least=0.97),), steps=800, every=50),
    ),
)
