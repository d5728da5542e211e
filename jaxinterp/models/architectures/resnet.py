"""Residual networks: for ImageNet, and a small one for CIFAR."""

from __future__ import annotations

from typing import Literal

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from jaxinterp.models.architectures.norms import KERAS, batch_norm
from jaxinterp.models.architectures.pooling import max_pool

# Blocks of each of the four stages, by the number of layers with weights.
STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}

# From this depth on, blocks have three convolutions, the last with four times as many
# channels.
FIRST_WITH_BOTTLENECKS = 50

EXPANSION = 4


class ResidualBlock(nn.Module):
    """Convolutions beside a shortcut: two of size 3, or of sizes 1, 3 and 1.

    The latter is a bottleneck. Its convolution of size 3 has the stride, as in
    torchvision and all later work; in the paper the one before has it.

    Attributes:
        width: how many channels each convolution has, except the last of a bottleneck,
            which has four times as many.
        stride: the stride of the first convolution of size 3 and of the shortcut.
        is_bottleneck: whether there are three convolutions.

    References:
        He et al., 2016, figure 5 [he2016deep].

    Example:
        >>> x = jax.ShapeDtypeStruct((2, 8, 8, 4), "float32")
        >>> block = ResidualBlock(8, stride=2, is_bottleneck=True)
        >>> y, _ = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
        >>> y.shape
        (2, 4, 4, 32)
    """

    width: int
    stride: int = 1
    is_bottleneck: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch rows columns features"]:
        """Returns `relu(branch + shortcut)`.

        Args:
            x: the features that the block reads.
            train: whether batch norms use the statistics of the batch.
        """
        # Channels, size and stride of each convolution.
        if self.is_bottleneck:
            layers = (
                (self.width, 1, 1),
                (self.width, 3, self.stride),
                (EXPANSION * self.width, 1, 1),
            )
        else:
            layers = ((self.width, 3, self.stride), (self.width, 3, 1))
        y = x
        for i, (width, size, stride) in enumerate(layers, start=1):
            y = _conv(width, size, stride, f"conv{i}")(y)
            y = batch_norm(y, train, f"bn{i}")
            if i < len(layers):
                y = nn.relu(y)
        return nn.relu(y + _shortcut(x, y, self.stride, train))


class ResNet(nn.Module):
    """Residual blocks in four stages.

    Layers are named as in torchvision's weights: `ResNet/layer2_0` is the output of the
    first block of the second stage, `ResNet/layer2_0/conv1` its first convolution,
    `ResNet/layer2_0/bn1` that convolution's batch norm, `ResNet/fc` the dense layer.

    Attributes:
        depth: how many layers have weights: 18, 34, 50 or 101.
        classes: how many classes, and so logits, there are.
        width: how many channels the first stage has; each later stage has twice as
            many.
        stages: how many blocks each stage has; by default those of `depth`.

    References:
        He et al., 2016, table 1 [he2016deep].

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     ResNet(depth=50).init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 1000)
    """

    depth: Literal[18, 34, 50, 101] = 18
    classes: int = 1000
    width: int = 64
    stages: tuple[int, ...] | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: RGB images of any size.
            train: whether batch norms use the statistics of the batch.

        Raises:
            ValueError: if there is no ResNet of this depth.
        """
        if self.depth not in STAGES:
            raise ValueError(
                f"There is no ResNet with depth={self.depth}. "
                f"There are: {', '.join(map(str, STAGES))}.\n"
                "Choose one of them; `stages` changes how many blocks it has."
            )
        is_bottleneck = self.depth >= FIRST_WITH_BOTTLENECKS
        x = _conv(self.width, 7, 2, "conv1")(x)
        x = nn.relu(batch_norm(x, train, "bn1"))
        x = max_pool(x, 3, 2, padding=1)
        for stage, blocks in enumerate(self.stages or STAGES[self.depth]):
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                name = f"layer{stage + 1}_{i}"
                block = ResidualBlock(
                    self.width * 2**stage, stride, is_bottleneck, name=name
                )
                x = block(x, train)
        return nn.Dense(self.classes, name="fc")(x.mean(axis=(1, 2)))


def _conv(width: int, size: int, stride: int, name: str) -> nn.Conv:
    # torch pads both ends equally; with a stride of 2, `SAME` pads the last end alone.
    return nn.Conv(
        width,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        name=name,
    )


def _shortcut(x: jax.Array, y: jax.Array, stride: int, train: bool) -> jax.Array:
    """Returns `x`, or a projection of it if the branch changes the shape."""
    if x.shape == y.shape:
        return x
    x = _conv(y.shape[-1], 1, stride, "downsample_0")(x)
    return batch_norm(x, train, "downsample_1")


class ResNet8(nn.Module):
    """The residual network for CIFAR-10 of the MLPerf Tiny benchmark.

    A convolution, `ResNet8/conv1`, and three blocks, `ResNet8/block1` to
    `ResNet8/block3`, of two convolutions each. It follows Keras where `ResNet` follows
    torch: convolutions have biases and `SAME` padding, batch norms an epsilon of 0.001,
    and the shortcut of the blocks that halve the image, `ResNet8/block2/shortcut`, is a
    convolution of size 1 without a batch norm. `ResNet8/fc` is the dense layer.

    Attributes:
        classes: how many classes, and so logits, there are.
        widths: channels of the three blocks.

    References:
        Banbury et al., 2021, image classification [banbury2021mlperf]; the idea: He et
        al., 2016, section 4.2 [he2016deep].

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 32, 32, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     ResNet8().init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 10)
    """

    classes: int = 10
    widths: tuple[int, ...] = (16, 32, 64)

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: RGB images; the weights of the benchmark need values from 0 to 255.
            train: whether batch norms use the statistics of the batch.
        """
        x = nn.Conv(self.widths[0], (3, 3), name="conv1")(x)
        x = nn.relu(batch_norm(x, train, "bn1", KERAS))
        for i, width in enumerate(self.widths):
            stride = 1 if i == 0 else 2
            x = _CifarBlock(width, stride, name=f"block{i + 1}")(x, train)
        return nn.Dense(self.classes, name="fc")(x.mean(axis=(1, 2)))


class _CifarBlock(nn.Module):
    """Two convolutions of size 3 beside a shortcut, the identity if shapes agree."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = nn.Conv(self.width, (3, 3), strides=self.stride, name="conv1")(x)
        y = nn.relu(batch_norm(y, train, "bn1", KERAS))
        y = nn.Conv(self.width, (3, 3), name="conv2")(y)
        y = batch_norm(y, train, "bn2", KERAS)
        if x.shape != y.shape:
            x = nn.Conv(self.width, (1, 1), strides=self.stride, name="shortcut")(x)
        return nn.relu(x + y)
