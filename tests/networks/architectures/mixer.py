"""MLP-Mixer: MLPs over tokens and over channels, in turn."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture


class MixerMlp(nn.Module):
    """Dense, gelu, dense, over the last axis."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns as many features as it gets."""
        width = x.shape[-1]
        x = nn.gelu(nn.Dense(self.hidden)(x))
        return nn.Dense(width)(x)


class MixerBlock(nn.Module):
    """Mixes tokens, then channels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns tokens of the same shape."""
        y = jnp.swapaxes(nn.LayerNorm()(x), 1, 2)
        x = x + jnp.swapaxes(MixerMlp(12, name="token_mixing")(y), 1, 2)
        return x + MixerMlp(24, name="channel_mixing")(nn.LayerNorm()(x))


class Mixer(nn.Module):
    """MLP-Mixer.

    Attributes:
        patch: side of a patch.
        width: features of a token.
        depth: number of blocks.
        classes: number of logits.
    """

    patch: int = 8
    width: int = 12
    depth: int = 2
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        size = (self.patch, self.patch)
        x = nn.Conv(self.width, size, size, padding="VALID", name="stem")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        for _ in range(self.depth):
            x = MixerBlock()(x)
        x = nn.LayerNorm()(x).mean(1)
        return nn.Dense(self.classes, name="head")(x)


ENTRIES = (linen_architecture(Mixer(), "mixer", images(32), "layer_norm", "residual"),)
