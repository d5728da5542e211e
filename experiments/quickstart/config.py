"""What the experiment can be told, with the values of the committed result."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a run.

    Attributes:
        seed: of the images and of the noise of explanations.
        explained: number of images that the table is about.
        samples: noisy copies of SmoothGrad and its relatives, and steps of the path of
            integrated gradients.
        at_once: how many of them are computed at once.
        shown: how many images are in the figure, the first ones.
    """

    seed: int = 0
    explained: int = 16
    samples: int = 25
    at_once: int = 5
    shown: int = 6
