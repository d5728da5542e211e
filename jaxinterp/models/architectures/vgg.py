"""VGG: stacks of convolutions of size 3, with or without batch norm."""

from __future__ import annotations

from typing import Literal

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from jaxinterp.models.architectures.norms import batch_norm
from jaxinterp.models.architectures.pooling import adaptive_mean, max_pool

# Convolutions of each of the five stages, by the number of layers with weights.
STAGES = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}

# Side of the grid of features that the first dense layer reads.
GRID = 7


class VGG(nn.Module):
    """Convolutions of size 3 in five stages, and three dense layers.

    Layers are named as in the paper's own weights: `VGG/conv3_1` is the first
    convolution of the third stage, `VGG/bn3_1` its batch norm, `VGG/fc6` the first
    dense layer. Images of 224 x 224 pixels make features of 7 x 7; those of other sizes
    are averaged over a grid of that size, at `VGG/adaptive_mean`.

    Attributes:
        depth: how many layers have weights: 11, 13, 16 or 19 (configurations A, B, D
            and E of the paper).
        use_batch_norm: whether a batch norm follows every convolution.
        classes: how many classes, and so logits, there are.
        widths: channels of the five stages.
        dense_width: features of the dense layers `fc6` and `fc7`.
        dropout_rate: share of the features that are dropped after these two, in
            training.

    References:
        Simonyan and Zisserman, 2015, table 1 [simonyan2015very].

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     VGG(depth=16).init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 1000)
    """

    depth: Literal[11, 13, 16, 19] = 16
    use_batch_norm: bool = False
    classes: int = 1000
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    dense_width: int = 4096
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: RGB images, at least 32 x 32 pixels.
            train: whether batch norms use the statistics of the batch, and features are
                dropped, which needs a key named `dropout`.

        Raises:
            ValueError: if there is no VGG of this depth.
        """
        if self.depth not in STAGES:
            raise ValueError(
                f"There is no VGG with depth={self.depth}. "
                f"There are: {', '.join(map(str, STAGES))}."
            )
        for stage, layers in enumerate(STAGES[self.depth], start=1):
            for layer in range(1, layers + 1):
                name, width = f"{stage}_{layer}", self.widths[stage - 1]
                x = nn.Conv(width, (3, 3), padding=1, name=f"conv{name}")(x)
                if self.use_batch_norm:
                    x = batch_norm(x, train, f"bn{name}")
                x = nn.relu(x)
            x = max_pool(x, 2, 2)
        x = adaptive_mean(x, GRID)
        x = jax.lax.collapse(x, 1)
        for name in ("fc6", "fc7"):
            x = nn.relu(nn.Dense(self.dense_width, name=name)(x))
            x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        return nn.Dense(self.classes, name="fc8")(x)
