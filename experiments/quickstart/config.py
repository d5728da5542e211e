"""What the experiment can be told, with the values of the committed result."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a run.

    Attributes:
        seed: of the split, the weights, the training and the noise of explanations.
        width: to which the 8 x 8 digits are upsampled, bilinearly, before the network.
        border: empty pixels around them.
        epochs: passes over the training digits.
        batch_size: digits in a training step.
        learning_rate: at the start; it falls to zero along a cosine.
        weight_decay: of AdamW.
        noise: standard deviation of the noise on training inputs, which are in [0, 1].
        explained: number of test digits that the table is about.
        samples: noisy copies of SmoothGrad and its relatives, and steps of the path of
            integrated gradients.
        at_once: how many of them are computed at once.
        shown: the classes in the figure, of each the first test digit.
    """

    seed: int = 0
    width: int = 20
    border: int = 2
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    noise: float = 0.25
    explained: int = 64
    samples: int = 50
    at_once: int = 10
    shown: tuple[int, ...] = (0, 2, 3, 4, 5, 6)
