"""Chains of convolutions and pools: LeNet and VGG."""

import jax
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture

VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
VGG16 = (
    *(64, 64, "M", 128, 128, "M", 256, 256, 256, "M"),
    *(512, 512, 512, "M", 512, 512, 512, "M"),
)


class LeNet(nn.Module):
    """LeNet-5, with its tanh and average pools."""

    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.tanh(nn.Conv(6, (5, 5))(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = nn.tanh(nn.Conv(16, (5, 5), padding="VALID")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for width in (120, 84):
            x = nn.tanh(nn.Dense(width)(x))
        return nn.Dense(self.classes)(x)


class Vgg(nn.Module):
    """VGG, with or without batch norm.

    Attributes:
        layers: output channels of a convolution, or "M" for a max pool.
        divisor: divides the channels.
        hidden: width of the two dense layers before the last.
        has_batch_norm: whether every convolution is followed by one.
        classes: number of logits.
    """

    layers: tuple[int | str, ...] = VGG16
    divisor: int = 1
    hidden: int = 4096
    has_batch_norm: bool = False
    classes: int = 1000

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        for layer in self.layers:
            if isinstance(layer, str):
                x = nn.max_pool(x, (2, 2), (2, 2))
                continue
            x = nn.Conv(layer // self.divisor, (3, 3), padding=1)(x)
            if self.has_batch_norm:
                x = nn.BatchNorm(use_running_average=True)(x)
            x = nn.relu(x)
        x = x.reshape(x.shape[0], -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.classes)(x)


def vgg16(classes: int = 1000) -> Vgg:
    """Returns VGG-16 at full size, for images of 224 x 224."""
    return Vgg(VGG16, classes=classes)


def vgg11_bn_small() -> Vgg:
    """Returns VGG-11 with batch norm and a sixteenth of the channels."""
    return Vgg(VGG11, 16, hidden=24, has_batch_norm=True, classes=CLASSES)


ENTRIES = (
    linen_architecture(LeNet(), "lenet", images(28, 1), "cnn"),
    linen_architecture(
        vgg11_bn_small(), "vgg11_bn", images(32), "cnn", "batch_norm", "max_pool"
    ),
)
