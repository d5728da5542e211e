"""A GoogLeNet: inception blocks and local response normalization."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from .architecture import CLASSES, images, linen_architecture


def local_response_norm(
    x: jax.Array, *, size: int = 5, offset: float = 1.0, slope: float = 0.1
) -> jax.Array:
    """Returns `x` divided by the energy of its neighboring channels, to the 3/4."""
    window = (1,) * (x.ndim - 1) + (size,)
    strides = (1,) * x.ndim
    energy = lax.reduce_window(jnp.square(x), 0.0, lax.add, window, strides, "SAME")
    return x / (offset + slope * energy / size) ** 0.75


class Inception(nn.Module):
    """Four branches side by side, concatenated.

    Attributes:
        widths: channels of the branches: size 1, size 3, size 5, and pool.
    """

    widths: tuple[int, int, int, int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the branches' channels, one after the other."""

        def conv(x: jax.Array, width: int, size: int, name: str) -> jax.Array:
            return nn.relu(nn.Conv(width, (size, size), name=name)(x))

        one, three, five, pool = self.widths
        y_three = conv(x, max(1, three // 2), 1, "reduce_3")
        y_five = conv(x, max(1, five // 2), 1, "reduce_5")
        y_pool = nn.max_pool(x, (3, 3), (1, 1), padding="SAME")
        branches = [
            conv(x, one, 1, "conv_1"),
            conv(y_three, three, 3, "conv_3"),
            conv(y_five, five, 5, "conv_5"),
            conv(y_pool, pool, 1, "conv_pool"),
        ]
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(nn.Module):
    """A stem with local response normalization, then inception blocks."""

    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.relu(nn.Conv(8, (5, 5), strides=2)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        x = local_response_norm(x)
        x = nn.relu(nn.Conv(12, (3, 3))(x))
        x = local_response_norm(x)
        x = Inception((4, 6, 2, 2))(x)
        x = Inception((4, 8, 4, 4))(x)
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        x = Inception((6, 8, 4, 4))(x)
        x = nn.avg_pool(x, x.shape[1:3]).reshape(x.shape[0], -1)
        return nn.Dense(self.classes)(x)


ENTRIES = (
    linen_architecture(
        GoogLeNet(), "googlenet", images(32), "cnn", "concat", "max_pool", "lrn"
    ),
)
