"""ConvNeXt: a convolutional network built like a transformer."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxinterp.models.architectures.mlp import gelu
from jaxinterp.models.architectures.norms import layer_norm

# The number that every norm adds to the variance.
NORM_EPSILON = 1e-6


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution and two dense layers over the channels, with a shortcut.

    The output of the branch is multiplied by `scale`, one trained number per channel.

    Attributes:
        initial_scale: the value of `scale` before training.

    References:
        Liu et al., 2022, figure 4 [liu2022convnet].

    Example:
        >>> x = jax.ShapeDtypeStruct((2, 8, 8, 4), "float32")
        >>> y, _ = jax.eval_shape(
        ...     ConvNeXtBlock().init_with_output, jax.random.key(0), x)
        >>> y.shape
        (2, 8, 8, 4)
    """

    initial_scale: float = 1e-6

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """Returns `x + scale * branch`."""
        width = x.shape[-1]
        initial = nn.initializers.constant(self.initial_scale)
        scale = self.param("scale", initial, (width,), jnp.float32)
        y = nn.Conv(
            width, (7, 7), padding=3, feature_group_count=width, name="depthwise"
        )(x)
        y = layer_norm(y, NORM_EPSILON, "norm")
        y = gelu(nn.Dense(4 * width, name="expand")(y))
        y = nn.Dense(width, name="project")(y)
        return x + y * scale.reshape(1, 1, 1, -1)


class ConvNeXt(nn.Module):
    """Blocks in four stages; ConvNeXt-T by default.

    `ConvNeXt/stage2_0` is the first block of the second stage, and
    `ConvNeXt/downsample2_norm` and `ConvNeXt/downsample2` are the layers before it;
    `ConvNeXt/stem` and `ConvNeXt/stem_norm` come first, `ConvNeXt/norm` and
    `ConvNeXt/fc` last. The layers of a block are `ConvNeXt/stage2_0/depthwise`,
    `ConvNeXt/stage2_0/norm`, `ConvNeXt/stage2_0/expand`, `ConvNeXt/stage2_0/gelu` and
    `ConvNeXt/stage2_0/project`.

    Attributes:
        classes: how many classes, and so logits, there are.
        depths: how many blocks each stage has.
        widths: how many channels each stage has.
        initial_scale: the value of every `scale` before training.

    References:
        Liu et al., 2022, section 3 [liu2022convnet].

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     ConvNeXt().init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 1000)
    """

    classes: int = 1000
    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    initial_scale: float = 1e-6

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: RGB images, at least 32 x 32 pixels if there are four stages. Rows and
                columns that fill no patch of 4 x 4 are ignored.

        Raises:
            ValueError: if the images are too small for the stages.
        """
        smallest = 4 * 2 ** (len(self.depths) - 1)
        if min(x.shape[1:3]) < smallest:
            raise ValueError(
                f"Images of {x.shape[1]}x{x.shape[2]} are too small for "
                f"{len(self.depths)} stages: they need {smallest} pixels a side.\n"
                "Resize them, or build the model with fewer `depths` and `widths`."
            )
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            if i == 0:
                x = _patches(width, 4, "stem")(x)
                x = layer_norm(x, NORM_EPSILON, "stem_norm")
            else:
                name = f"downsample{i + 1}"
                x = layer_norm(x, NORM_EPSILON, f"{name}_norm")
                x = _patches(width, 2, name)(x)
            for block in range(depth):
                x = ConvNeXtBlock(self.initial_scale, name=f"stage{i + 1}_{block}")(x)
        x = layer_norm(x.mean(axis=(1, 2)), NORM_EPSILON, "norm")
        return nn.Dense(self.classes, name="fc")(x)


def _patches(width: int, size: int, name: str) -> nn.Conv:
    """Returns a convolution whose windows do not overlap."""
    return nn.Conv(width, (size, size), strides=size, padding="VALID", name=name)
