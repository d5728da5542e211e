"""U-Net, going up by transposed convolutions or by bilinear resizing."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture


class DoubleConv(nn.Module):
    """Two convolutions of size 3, each with a relu."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features."""
        for _ in range(2):
            x = nn.relu(nn.Conv(self.features, (3, 3))(x))
        return x


class UNet(nn.Module):
    """U-Net for segmentation.

    Attributes:
        widths: channels at each resolution, from fine to coarse.
        up: how a coarse image is enlarged.
        averages_pixels: return each class's mean logit over pixels instead of an image,
            which is the number that segmentation explanations take.
        classes: number of logits.
    """

    widths: tuple[int, ...] = (6, 8, 12)
    up: Literal["transposed", "resize"] = "transposed"
    averages_pixels: bool = True
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits, per pixel unless `averages_pixels`."""
        skips = []
        for level, width in enumerate(self.widths[:-1]):
            x = DoubleConv(width, name=f"down_{level}")(x)
            skips.append(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = DoubleConv(self.widths[-1], name="bottom")(x)
        for level, skip in reversed(list(enumerate(skips))):
            width = skip.shape[-1]
            if self.up == "transposed":
                x = nn.ConvTranspose(width, (2, 2), (2, 2), name=f"up_{level}")(x)
            else:
                x = jax.image.resize(x, (*skip.shape[:3], x.shape[-1]), "bilinear")
                x = nn.Conv(width, (3, 3), name=f"up_{level}")(x)
            x = jnp.concatenate([skip, x], axis=-1)
            x = DoubleConv(width, name=f"merge_{level}")(x)
        x = nn.Conv(self.classes, (1, 1), name="head")(x)
        return x.mean((1, 2)) if self.averages_pixels else x


TAGS = ("cnn", "concat", "max_pool")

ENTRIES = (
    linen_architecture(UNet(), "unet", images(32), *TAGS, "transposed"),
    linen_architecture(UNet(up="resize"), "unet_resize", images(32), *TAGS, "resize"),
)
