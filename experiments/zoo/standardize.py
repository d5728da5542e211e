r"""Inputs that are standardized while a network is trained, and not afterwards.

Pixels in [0, 1] all have a positive mean, so the loss is far steeper along their common
direction than along any other, and steps must be small (LeCun et al., 1998, "Efficient
BackProp", section 4.3). A network with batch norms does not mind; others learn faster
from $(x - \mu) / \sigma$. The first layer is affine, so it can take this over later:
$W (x - \mu) / \sigma + b = W' x + b'$. The network then reads $x$ itself, and
explanations of it are explanations of pixels.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Standardize:
    """A shift and a scale that a layer without padding takes over after training.

    Attributes:
        layer: name of the first layer within `variables["params"]`, a convolution or a
            dense layer with a bias.
        mean: what is subtracted from inputs.
        deviation: what they are then divided by.
    """

    layer: str
    mean: float
    deviation: float

    def __call__(self, inputs: Any) -> Any:
        """Returns what the network reads in training.

        Args:
            inputs: of any shape.
        """
        return (inputs - self.mean) / self.deviation

    def taken_over(self, variables: Any) -> Any:
        """Returns the variables with which the network reads the inputs themselves.

        Args:
            variables: those that read standardized inputs.
        """
        params = variables["params"]
        kernel = np.asarray(params[self.layer]["kernel"], np.float64) / self.deviation
        inputs = tuple(range(kernel.ndim - 1))
        bias = params[self.layer]["bias"] - self.mean * kernel.sum(axis=inputs)
        layer = {
            "kernel": kernel.astype(np.float32),
            "bias": np.asarray(bias, np.float32),
        }
        return {**variables, "params": {**params, self.layer: layer}}
