"""DenseNet: every layer reads the concatenation of all layers before it."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture


class NormReluConv(nn.Module):
    """Batch norm, relu, convolution, in this order."""

    features: int
    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features before any activation."""
        x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        return nn.Conv(self.features, (self.size, self.size), use_bias=False)(x)


class DenseNet(nn.Module):
    """DenseNet with bottlenecks and halving transitions.

    Attributes:
        blocks: number of layers in each dense block.
        growth: channels that a layer adds.
        classes: number of logits.
    """

    blocks: tuple[int, ...] = (2, 3, 2)
    growth: int = 4
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.Conv(2 * self.growth, (3, 3), use_bias=False)(x)
        x = nn.max_pool(x, (2, 2), (2, 2))
        for block, layers in enumerate(self.blocks):
            if block > 0:
                x = NormReluConv(x.shape[-1] // 2, 1, name=f"transition_{block}")(x)
                x = nn.avg_pool(x, (2, 2), (2, 2))
            for layer in range(layers):
                name = f"block_{block}_layer_{layer}"
                y = NormReluConv(4 * self.growth, 1, name=f"{name}_bottleneck")(x)
                y = NormReluConv(self.growth, 3, name=name)(y)
                x = jnp.concatenate([x, y], axis=-1)
        x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        return nn.Dense(self.classes)(x.mean((1, 2)))


ENTRIES = (
    linen_architecture(
        DenseNet(), "densenet", images(32), "cnn", "batch_norm", "concat", "max_pool"
    ),
)
