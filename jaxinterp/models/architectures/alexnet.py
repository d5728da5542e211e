"""AlexNet, in the one-column form that torchvision's weights have."""

from __future__ import annotations

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from jaxinterp.models.architectures.pooling import adaptive_mean, max_pool

# Side of the grid of features that the first dense layer reads.
GRID = 6


class AlexNet(nn.Module):
    """Five convolutions and three dense layers.

    The network of Krizhevsky (2014): one column, without the local response
    normalization and the split over two graphics cards of the first AlexNet. Images of
    224 x 224 pixels make features of 6 x 6; those of other sizes are averaged over a
    grid of that size, at `AlexNet/adaptive_mean`.

    The convolutions are `AlexNet/conv1` to `AlexNet/conv5`, the dense layers
    `AlexNet/fc6` to `AlexNet/fc8`.

    Attributes:
        classes: how many classes, and so logits, there are.
        widths: channels of the convolutions `conv1` to `conv5`.
        dense_width: features of the dense layers `fc6` and `fc7`.
        dropout_rate: share of the features that are dropped before these two, in
            training.

    References:
        Krizhevsky, 2014, section 5 [krizhevsky2014one]; the first AlexNet:
        Krizhevsky et al., 2012, section 3.5 [krizhevsky2012imagenet].

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     AlexNet().init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 1000)
    """

    classes: int = 1000
    widths: tuple[int, ...] = (64, 192, 384, 256, 256)
    dense_width: int = 4096
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: RGB images, at least 63 x 63 pixels.
            train: whether features are dropped, which needs a key named `dropout`.
        """
        w1, w2, w3, w4, w5 = self.widths
        x = nn.Conv(w1, (11, 11), strides=4, padding=2, name="conv1")(x)
        x = max_pool(nn.relu(x), 3, 2)
        x = nn.Conv(w2, (5, 5), padding=2, name="conv2")(x)
        x = max_pool(nn.relu(x), 3, 2)
        x = nn.relu(nn.Conv(w3, (3, 3), padding=1, name="conv3")(x))
        x = nn.relu(nn.Conv(w4, (3, 3), padding=1, name="conv4")(x))
        x = nn.relu(nn.Conv(w5, (3, 3), padding=1, name="conv5")(x))
        x = adaptive_mean(max_pool(x, 3, 2), GRID)
        x = jax.lax.collapse(x, 1)
        for name in ("fc6", "fc7"):
            x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
            x = nn.relu(nn.Dense(self.dense_width, name=name)(x))
        return nn.Dense(self.classes, name="fc8")(x)
