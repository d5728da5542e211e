"""What the experiment can be told, with the values of the committed result."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a run.

    Attributes:
        seed: the seed of the noise that images start from and of their transforms.
        size: height and width of the optimized images.
        steps: of the optimization.
        natural: number of real images that the optimized ones are compared with; of
            a folder the first so many, in whole batches.
        together: how many images are looked at at once, when they are scored.
        shown: number of units in the figure of a layer.
        examples: real images beside each unit.
    """

    seed: int = 0
    size: int = 64
    steps: int = 256
    natural: int = 2000
    together: int = 64
    shown: int = 16
    examples: int = 9


EMBEDDED = Config()
# Of BVLC GoogLeNet, whose weights and photographs are the user's.
GOOGLENET = Config(size=128, steps=128, natural=480, together=16)
GOOGLENET_SITES = (
    "conv2",
    "inception_3b",
    "inception_4a",
    "inception_4c",
    "inception_4e",
    "inception_5b",
)
# Sixteen classes of ImageNet that people know by sight.
GOOGLENET_CLASSES = (
    *(1, 9, 71, 130, 207, 291, 323, 340),
    *(417, 430, 499, 607, 779, 852, 949, 954),
)
