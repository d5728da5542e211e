"""ConvNeXt: depthwise convolutions with the layer norm and gelu of a transformer."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture


class ConvNextBlock(nn.Module):
    """A depthwise convolution of size 7, then an MLP over channels, scaled."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `x + scale * branch`."""
        width = x.shape[-1]
        y = nn.Conv(width, (7, 7), feature_group_count=width, name="depthwise")(x)
        y = nn.LayerNorm(epsilon=1e-6)(y)
        y = nn.gelu(nn.Dense(4 * width)(y), approximate=False)
        y = nn.Dense(width)(y)
        tiny = nn.initializers.constant(1e-6)
        scale = self.param("scale", tiny, (width,), jnp.float32)
        return x + scale.reshape(1, 1, 1, -1) * y


class ConvNext(nn.Module):
    """ConvNeXt.

    Attributes:
        depths: number of blocks at each resolution.
        widths: channels at each resolution.
        classes: number of logits.
    """

    depths: tuple[int, ...] = (1, 2)
    widths: tuple[int, ...] = (8, 12)
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.Conv(self.widths[0], (4, 4), strides=4, padding="VALID", name="stem")(x)
        x = nn.LayerNorm(epsilon=1e-6)(x)
        for stage, depth in enumerate(self.depths):
            if stage > 0:
                x = nn.LayerNorm(epsilon=1e-6)(x)
                width = self.widths[stage]
                x = nn.Conv(width, (2, 2), strides=2, padding="VALID")(x)
            for _ in range(depth):
                x = ConvNextBlock()(x)
        x = nn.LayerNorm(epsilon=1e-6)(x.mean((1, 2)))
        return nn.Dense(self.classes, name="head")(x)


ENTRIES = (
    linen_architecture(
        ConvNext(),
        "convnext",
        images(32),
        "cnn",
        "depthwise",
        "layer_norm",
        "residual",
    ),
)
