"""A small convolutional network, which a CPU trains in a minute."""

from __future__ import annotations

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from jaxinterp.models.architectures.norms import batch_norm
from jaxinterp.models.architectures.pooling import max_pool


class CNN(nn.Module):
    """A first convolution, stages of convolutions of size 3, and the mean over places.

    Every convolution has a batch norm and a relu after it, and every stage but the last
    a max pooling. The mean over all places is classified, so the network learns what an
    object is regardless of where it is, which takes far fewer steps.

    Addresses are `CNN/stem`, `CNN/stem_norm`, `CNN/stem_relu`, `CNN/stage2_0`, the
    first convolution of the second stage, `CNN/stage2_0_norm`, `CNN/stage2_0_relu`, and
    `CNN/head`. The first stage has no convolutions by default.

    Attributes:
        classes: how many classes, and so logits, there are.
        stem: how many channels the first convolution has.
        stem_size: the side of its kernel.
        stem_stride: its stride.
        stages: for each stage, the channels of each of its convolutions.

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 64, 64, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     CNN(classes=5).init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 5)
    """

    classes: int
    stem: int = 16
    stem_size: int = 7
    stem_stride: int = 2
    stages: tuple[tuple[int, ...], ...] = ((), (32, 32), (64, 64))

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: images of any size.
            train: whether batch norms use the statistics of the batch.
        """
        x = _layer(x, self.stem, self.stem_size, self.stem_stride, "stem", train)
        for number, widths in enumerate(self.stages, start=1):
            for i, width in enumerate(widths):
                x = _layer(x, width, 3, 1, f"stage{number}_{i}", train)
            if number < len(self.stages):
                x = max_pool(x, 2, 2)
        return nn.Dense(self.classes, name="head")(x.mean(axis=(1, 2)))


def _layer(
    x: Float[Array, "batch height width channels"],
    width: int,
    size: int,
    stride: int,
    name: str,
    train: bool,
) -> Float[Array, "batch rows columns features"]:
    """Applies a convolution, its batch norm and its relu."""
    convolution = nn.Conv(width, (size, size), stride, use_bias=False, name=name)
    x = batch_norm(convolution(x), train, f"{name}_norm")
    with jax.named_scope(f"{name}_relu"):
        return nn.relu(x)
