"""SqueezeNet 1.1: few weights, no dense layer."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxinterp.models.architectures.pooling import ceil_max_pool

# Name, channels after squeezing, channels of each of the two expansions.
FIRES = (
    ("fire2", 16, 64),
    ("fire3", 16, 64),
    ("fire4", 32, 128),
    ("fire5", 32, 128),
    ("fire6", 48, 192),
    ("fire7", 48, 192),
    ("fire8", 64, 256),
    ("fire9", 64, 256),
)


class Fire(nn.Module):
    """Squeezes channels, then expands them by convolutions of sizes 1 and 3.

    Attributes:
        squeeze: how many channels the first convolution has.
        expand: how many channels each of the two convolutions has; they are
            concatenated.

    References:
        Iandola et al., 2016, section 3.2 [iandola2016squeezenet].

    Example:
        >>> x = jax.ShapeDtypeStruct((2, 8, 8, 3), "float32")
        >>> y, _ = jax.eval_shape(Fire(2, 4).init_with_output, jax.random.key(0), x)
        >>> y.shape
        (2, 8, 8, 8)
    """

    squeeze: int
    expand: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width expanded"]:
        """Returns the features of the two expansions, one after the other."""
        x = nn.relu(nn.Conv(self.squeeze, (1, 1), name="squeeze1x1")(x))
        near = nn.relu(nn.Conv(self.expand, (1, 1), name="expand1x1")(x))
        wide = nn.relu(nn.Conv(self.expand, (3, 3), padding=1, name="expand3x3")(x))
        return jnp.concatenate([near, wide], axis=-1)


class SqueezeNet(nn.Module):
    """Version 1.1, as accurate as the network of the paper and 2.4 times faster.

    `SqueezeNet/conv1` comes first, then the modules `SqueezeNet/fire2` to
    `SqueezeNet/fire9`, in each of them `SqueezeNet/fire2/squeeze1x1` and the two
    expansions. The last layer is a convolution, `SqueezeNet/conv10`, whose mean over
    all positions are the logits. They are never negative, since a relu comes before the
    mean.

    Attributes:
        classes: how many classes, and so logits, there are.
        width: channels of the first convolution.
        fires: name, squeezed and expanded channels of each `Fire` module. Features are
            pooled before the modules named `fire2`, `fire4` and `fire6`.
        dropout_rate: share of the features that are dropped before `conv10`, in
            training.

    References:
        Iandola et al., 2016, table 1 [iandola2016squeezenet]. Version 1.1 has 3 x 3
        windows and 64 channels in `conv1`, and pools earlier.

    Example:
        >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     SqueezeNet().init_with_output, jax.random.key(0), images)
        >>> logits.shape
        (2, 1000)
    """

    classes: int = 1000
    width: int = 64
    fires: tuple[tuple[str, int, int], ...] = FIRES
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: images, at least 17 x 17 pixels.
            train: whether features are dropped, which needs a key named `dropout`.
        """
        x = nn.Conv(self.width, (3, 3), strides=2, padding="VALID", name="conv1")(x)
        x = nn.relu(x)
        for name, squeeze, expand in self.fires:
            if name in ("fire2", "fire4", "fire6"):
                x = ceil_max_pool(x, 3, 2)
            x = Fire(squeeze, expand, name=name)(x)
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        x = nn.relu(nn.Conv(self.classes, (1, 1), name="conv10")(x))
        return x.mean(axis=(1, 2))
