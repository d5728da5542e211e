"""Residual networks: ResNet-18 and ResNet-50, at any width."""

import jax
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture


class ConvNorm(nn.Module):
    """A convolution without bias and its batch norm, in inference."""

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns normalized features."""
        x = nn.Conv(
            self.features,
            (self.size, self.size),
            strides=self.stride,
            padding=self.size // 2,
            use_bias=False,
        )(x)
        return nn.BatchNorm(use_running_average=True, epsilon=1e-5)(x)


class BasicBlock(nn.Module):
    """Two convolutions of size 3 beside a shortcut."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `relu(shortcut + branch)`."""
        y = nn.relu(ConvNorm(self.features, 3, self.stride)(x))
        y = ConvNorm(self.features, 3)(y)
        if x.shape != y.shape:
            x = ConvNorm(self.features, 1, self.stride, name="shortcut")(x)
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """Convolutions of size 1, 3 and 1 beside a shortcut; the output is 4 times wide."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `relu(shortcut + branch)`."""
        y = nn.relu(ConvNorm(self.features, 1)(x))
        y = nn.relu(ConvNorm(self.features, 3, self.stride)(y))
        y = ConvNorm(4 * self.features, 1)(y)
        if x.shape != y.shape:
            x = ConvNorm(4 * self.features, 1, self.stride, name="shortcut")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A residual network for images.

    Attributes:
        stages: number of blocks at each resolution.
        block: `BasicBlock` or `Bottleneck`.
        width: channels of the first stage; 64 is full size.
        classes: number of logits.
    """

    stages: tuple[int, ...]
    block: type[BasicBlock] | type[Bottleneck]
    width: int = 64
    classes: int = 1000

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.relu(ConvNorm(self.width, 7, 2, name="stem")(x))
        pad = ((1, 1), (1, 1))
        # Flax annotates `str` and documents pairs.
        x = nn.max_pool(x, (3, 3), (2, 2), pad)  # pyright: ignore[reportArgumentType]
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = self.block(self.width * 2**stage, stride)(x)
        return nn.Dense(self.classes, name="head")(x.mean((1, 2)))


def resnet18(width: int = 64, classes: int = 1000) -> ResNet:
    """Returns ResNet-18; full size by default."""
    return ResNet((2, 2, 2, 2), BasicBlock, width, classes)


def resnet50(width: int = 64, classes: int = 1000) -> ResNet:
    """Returns ResNet-50; full size by default."""
    return ResNet((3, 4, 6, 3), Bottleneck, width, classes)


TAGS = ("cnn", "batch_norm", "max_pool", "residual")

ENTRIES = (
    linen_architecture(resnet18(8, CLASSES), "resnet18", images(48), *TAGS),
    linen_architecture(resnet50(4, CLASSES), "resnet50", images(48), *TAGS),
)
