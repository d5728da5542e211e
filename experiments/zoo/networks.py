"""The convolutional network of the zoo, small enough to be trained on a CPU."""

from __future__ import annotations

import flax.linen as nn
import jax


class CNN(nn.Module):
    """A first convolution that halves the image, and stages of convolutions of size 3.

    Every convolution has a batch norm and a relu after it, and every stage but the last
    a max pooling. The mean over all places is classified, so a network learns what an
    object is regardless of where it is, which takes far fewer steps.

    Addresses are `stem`, `stage1_0` and so on.

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
        x = self._convolution(x, self.stem, "stem", train)
        for number, widths in enumerate(self.stages, start=1):
            for i, width in enumerate(widths):
                x = self._convolution(x, width, f"stage{number}_{i}", train)
            if number < len(self.stages):
                x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.classes, name="head")(x.mean(axis=(1, 2)))

    def _convolution(
        self, x: jax.Array, width: int, name: str, train: bool
    ) -> jax.Array:
        is_stem = name == "stem"
        size, stride = (self.stem_size, self.stem_stride) if is_stem else (3, 1)
        x = nn.Conv(width, (size, size), stride, use_bias=False, name=name)(x)
        norm = nn.BatchNorm(not train, momentum=0.9, name=f"{name}_norm")
        return nn.relu(norm(x))
