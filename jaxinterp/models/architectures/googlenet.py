"""GoogLeNet, the Inception network of DeepDream and of the building blocks."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jaxinterp.models.architectures.norms import TORCH, batch_norm
from jaxinterp.models.architectures.pooling import ceil_max_pool, max_pool

Variant = Literal["caffe", "torchvision"]

# Stage and letter; channels: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
INCEPTIONS = (
    ("3a", (64, 96, 128, 16, 32, 32)),
    ("3b", (128, 128, 192, 32, 96, 64)),
    ("4a", (192, 96, 208, 16, 48, 64)),
    ("4b", (160, 112, 224, 24, 64, 64)),
    ("4c", (128, 128, 256, 24, 64, 64)),
    ("4d", (112, 144, 288, 32, 64, 64)),
    ("4e", (256, 160, 320, 32, 128, 128)),
    ("5a", (256, 160, 320, 32, 128, 128)),
    ("5b", (384, 192, 384, 48, 128, 128)),
)


class LocalResponseNorm(nn.Module):
    r"""Divides every feature by a power of the energy of neighboring channels.

    $$y_c = x_c \left(1 + \frac{\alpha}{n} \sum_{|d - c| < n / 2} x_d^2
    \right)^{-\beta}$$

    Channels before the first and after the last count as zero.

    Attributes:
        size: $n$, how many channels are summed, an odd number.
        alpha: $\alpha$, the weight of the energy; unlike in the paper it is divided by
            `size`, as in Caffe.
        beta: $\beta$, the exponent.

    References:
        Krizhevsky et al., 2012, section 3.3 [krizhevsky2012imagenet].

    Example:
        >>> norm = LocalResponseNorm(size=3, alpha=3.0, beta=1.0)
        >>> y = norm.apply({}, jnp.ones((1, 1, 1, 3)))
        >>> [round(value, 3) for value in y[0, 0, 0].tolist()]
        [0.333, 0.25, 0.333]
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """Returns the normalized features."""
        zero = np.zeros((), x.dtype)
        energy = lax.reduce_window(
            x * x, zero, lax.add, (1, 1, 1, self.size), (1, 1, 1, 1), "SAME"
        )
        return x * (1 + self.alpha / self.size * energy) ** -self.beta


class ConvRelu(nn.Module):
    """A convolution and a relu; in torchvision's variant with a batch norm between.

    Attributes:
        width: how many channels the convolution has.
        size: height and width of the window.
        stride: how many pixels one window is from the next.
        variant: `"caffe"` has a bias, `"torchvision"` a batch norm.

    Example:
        >>> x = jax.ShapeDtypeStruct((2, 8, 8, 3), "float32")
        >>> y, _ = jax.eval_shape(
        ...     ConvRelu(4, 3).init_with_output, jax.random.key(0), x)
        >>> y.shape
        (2, 8, 8, 4)
    """

    width: int
    size: int
    stride: int = 1
    variant: Variant = "caffe"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch rows columns features"]:
        """Returns features, none of them negative.

        Args:
            x: images or features.
            train: whether a batch norm uses the statistics of the batch.
        """
        x = nn.Conv(
            self.width,
            (self.size, self.size),
            strides=self.stride,
            padding=self.size // 2,
            use_bias=self.variant == "caffe",
            name="conv",
        )(x)
        if self.variant == "torchvision":
            # torchvision departs from torch's own constant in this family alone.
            x = batch_norm(x, train, "bn", TORCH._replace(epsilon=1e-3))
        return nn.relu(x)


class Inception(nn.Module):
    """Convolutions of three sizes and a pooling side by side, concatenated.

    Attributes:
        widths: channels of `1x1`, `3x3_reduce`, `3x3`, `5x5_reduce`, `5x5` and
            `pool_proj`.
        variant: `"caffe"` or `"torchvision"`, see `GoogLeNet`.

    References:
        Szegedy et al., 2015, figure 2b [szegedy2015going].

    Example:
        >>> x = jax.ShapeDtypeStruct((2, 8, 8, 3), "float32")
        >>> y, _ = jax.eval_shape(
        ...     Inception((4, 2, 8, 2, 4, 4)).init_with_output, jax.random.key(0), x)
        >>> y.shape
        (2, 8, 8, 20)
    """

    widths: tuple[int, ...]
    variant: Variant = "caffe"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch height width features"]:
        """Returns the channels of the four branches, one after the other.

        Args:
            x: the features that the module reads.
            train: whether batch norms use the statistics of the batch.
        """
        one, reduce_three, three, reduce_five, five, pool = self.widths
        large = 5 if self.variant == "caffe" else 3

        def conv(width: int, size: int, name: str) -> ConvRelu:
            return ConvRelu(width, size, variant=self.variant, name=name)

        branches = [
            conv(one, 1, "1x1")(x, train),
            conv(three, 3, "3x3")(conv(reduce_three, 1, "3x3_reduce")(x, train), train),
            conv(five, large, "5x5")(
                conv(reduce_five, 1, "5x5_reduce")(x, train), train
            ),
            conv(pool, 1, "pool_proj")(max_pool(x, 3, 1, padding=1), train),
        ]
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(nn.Module):
    """InceptionV1: a stem and nine inception modules, without the auxiliary heads.

    Layers are named as in Caffe's weights. Their addresses, and lucid's names:

    | address | output | lucid |
    |---|---|---|
    | `GoogLeNet/conv1` | of a convolution, after relu | conv2d0 |
    | `GoogLeNet/conv2_reduce` | the same | conv2d1 |
    | `GoogLeNet/conv2` | the same | conv2d2 |
    | `GoogLeNet/inception_3a` | of a module, after relu and concatenation | mixed3a |
    | `GoogLeNet/inception_4a` | the same | mixed4a |
    | `GoogLeNet/inception_5b` | the same | mixed5b |
    | `GoogLeNet/classifier` | the logits | |

    A selector may omit the name of the class: `"inception_4a"` is the same site.

    Attributes:
        classes: how many classes, and so logits, there are.
        variant: which weights fit. `"caffe"` is the network of the paper, with local
            response normalization, biases, and images of BGR minus (104, 117, 123).
            `"torchvision"` has batch norm instead of both, a window of 3 where the
            module is called `5x5`, one of 2 in the pooling before `inception_5a`, and
            RGB images scaled to [-1, 1], which is what its `transform_input` returns
            for inputs normalized as for ImageNet.
        stem: how many channels `conv1`, `conv2_reduce` and `conv2` have.
        inceptions: for each module its name, such as `"3a"`, and its channels, see
            `Inception.widths`; features are pooled before stages 4 and 5.
        dropout_rate: share of the features that are dropped before `classifier`, in
            training.

    References:
        Szegedy et al., 2015, table 1 [szegedy2015going].

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     GoogLeNet().init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 1000)
    """

    classes: int = 1000
    variant: Variant = "caffe"
    stem: tuple[int, int, int] = (64, 64, 192)
    inceptions: tuple[tuple[str, tuple[int, ...]], ...] = INCEPTIONS
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: images, at least 31 x 31 pixels; 15 x 15 in the variant of torchvision.
            train: whether batch norms use the statistics of the batch, and features are
                dropped, which needs a key named `dropout`.

        Raises:
            ValueError: if there is no such variant.
        """
        if self.variant not in ("caffe", "torchvision"):
            raise ValueError(
                f"There is no GoogLeNet with variant={self.variant!r}. "
                "There are: 'caffe', 'torchvision'."
            )
        is_caffe = self.variant == "caffe"
        w1, w2_reduce, w2 = self.stem
        x = ConvRelu(w1, 7, 2, self.variant, name="conv1")(x, train)
        x = ceil_max_pool(x, 3, 2)
        if is_caffe:
            x = LocalResponseNorm(name="norm1")(x)
        x = ConvRelu(w2_reduce, 1, 1, self.variant, name="conv2_reduce")(x, train)
        x = ConvRelu(w2, 3, 1, self.variant, name="conv2")(x, train)
        if is_caffe:
            x = LocalResponseNorm(name="norm2")(x)
        x = ceil_max_pool(x, 3, 2)
        stage = "3"
        for name, widths in self.inceptions:
            if name[0] != stage:
                stage = name[0]
                x = ceil_max_pool(x, 3 if is_caffe or stage == "4" else 2, 2)
            x = Inception(widths, self.variant, name=f"inception_{name}")(x, train)
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x.mean(axis=(1, 2)))
        return nn.Dense(self.classes, name="classifier")(x)
