"""The convolutional network of the zoo, small enough to be trained on a CPU."""

from __future__ import annotations

import flax.linen as nn
import jax


class CNN(nn.Module):
    """A first convolution that halves the image, and stages of convolutions of size 3.

    Every convolution has a batch norm and a relu after it, and every stage but the last
    a max pooling. The mean over all places is classified, so a network learns what an
    object is regardless of where it is, which takes far fewer steps.

    Addresses are `stem`, `stem_norm`, `stem_relu`, `stage1_0` and so on.

    Attributes:
        classes: number of logits.
        stem: channels of the first convolution.
        stem_size: side of its kernel.
        stem_stride: its stride.
        stages: channels of the convolutions of each stage.
    """

    classes: int
    stem: int = 16
    stem_size: int = 7
    stem_stride: int = 2
    stages: tuple[tuple[int, ...], ...] = ((), (32, 32), (64, 64))

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits.

        Args:
            x: images, channels last.
            train: whether batch norms use the batch's own statistics.
        """
        size, stride = (self.stem_size,) * 2, self.stem_stride
        x = _normalized(
            nn.Conv(self.stem, size, stride, use_bias=False, name="stem"), x, train
        )
        for number, widths in enumerate(self.stages, start=1):
            for i, width in enumerate(widths):
                name = f"stage{number}_{i}"
                layer = nn.Conv(width, (3, 3), use_bias=False, name=name)
                x = _normalized(layer, x, train)
            if number < len(self.stages):
                x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.classes, name="head")(x.mean(axis=(1, 2)))


def _normalized(convolution: nn.Conv, x: jax.Array, train: bool) -> jax.Array:
    """Applies a convolution, then batch norm and relu, named after it."""
    name = convolution.name
    norm = nn.BatchNorm(not train, momentum=0.9, name=f"{name}_norm")
    x = norm(convolution(x))
    with jax.named_scope(f"{name}_relu"):
        return nn.relu(x)
