"""MobileNet: depthwise convolutions, relu6, linear bottlenecks."""

import jax
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, and narrow without activation."""

    features: int
    stride: int
    expansion: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features; with a shortcut where the shapes allow it."""
        width = self.expansion * x.shape[-1]
        y = nn.Conv(width, (1, 1), use_bias=False, name="expand")(x)
        y = nn.relu6(nn.BatchNorm(use_running_average=True)(y))
        y = nn.Conv(
            width,
            (3, 3),
            strides=self.stride,
            feature_group_count=width,
            use_bias=False,
            name="depthwise",
        )(y)
        y = nn.relu6(nn.BatchNorm(use_running_average=True)(y))
        y = nn.Conv(self.features, (1, 1), use_bias=False, name="project")(y)
        y = nn.BatchNorm(use_running_average=True)(y)
        return x + y if x.shape == y.shape else y


class MobileNet(nn.Module):
    """MobileNet version 2.

    Attributes:
        blocks: channels and stride of each block.
        classes: number of logits.
    """

    blocks: tuple[tuple[int, int], ...] = ((4, 1), (6, 2), (6, 1), (8, 2), (8, 1))
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.Conv(8, (3, 3), strides=2, use_bias=False, name="stem")(x)
        x = nn.relu6(nn.BatchNorm(use_running_average=True)(x))
        for features, stride in self.blocks:
            x = InvertedResidual(features, stride)(x)
        x = nn.Conv(24, (1, 1), use_bias=False, name="widen")(x)
        x = nn.relu6(nn.BatchNorm(use_running_average=True)(x))
        return nn.Dense(self.classes, name="head")(x.mean((1, 2)))


ENTRIES = (
    linen_architecture(
        MobileNet(),
        "mobilenet",
        images(32),
        "cnn",
        "batch_norm",
        "residual",
        "depthwise",
    ),
)
