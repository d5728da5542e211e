"""DCGAN: a generator of images by strided convolutions, and its discriminator.

The generator starts from 4 x 4 features, `DCGANGenerator/project`, and doubles their
side until it is that of the image, first at `DCGANGenerator/up_1`. The discriminator
halves the side until it is 4, first at `DCGANDiscriminator/down_0`. Whenever the side
halves, the number of features doubles. With `train=True` batch norms use the statistics
of the batch and change the collection `batch_stats`; explanations run with
`train=False`, the default.
"""

from __future__ import annotations

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from jaxinterp.models.architectures.norms import batch_norm

# The side of the smallest feature map, and of every kernel.
_SMALLEST = 4

_KERNEL = (4, 4)

_PADDING = ((1, 1), (1, 1))


class DCGANGenerator(nn.Module):
    """Strided convolutions from a latent to an image in [-1, 1].

    The defaults are those of the paper's bedrooms.

    Attributes:
        size: height and width of the image, 4 times a power of 2.
        channels: how many channels the image has.
        width: how many features the last hidden layer has; each layer before has twice
            as many.

    Example:
        >>> model = DCGANGenerator(size=8, channels=1, width=4)
        >>> init = model.init_with_output
        >>> images, _ = jax.eval_shape(init, jax.random.key(0), jnp.ones((2, 5)))
        >>> images.shape
        (2, 8, 8, 1)

    References:
        Radford et al., 2016, section 3 and figure 1 [radford2016unsupervised].
    """

    size: int = 64
    channels: int = 3
    width: int = 128

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch latent"], train: bool = False
    ) -> Float[Array, "batch height width channels"]:
        """Returns one image for each latent.

        Args:
            x: latents, standard normal or uniform in [-1, 1].
            train: whether batch norms use the statistics of this batch.

        Raises:
            ValueError: if `size` is not 4 times a power of 2.
        """
        steps = _doublings(self.size)
        width = self.width * 2 ** (steps - 1)
        x = nn.Dense(_SMALLEST**2 * width, use_bias=False, name="project")(x)
        x = x.reshape(x.shape[0], _SMALLEST, _SMALLEST, width)
        x = nn.relu(batch_norm(x, train, "bn_0"))
        for i in range(1, steps):
            width //= 2
            up = nn.ConvTranspose(
                width, _KERNEL, (2, 2), use_bias=False, name=f"up_{i}"
            )
            x = nn.relu(batch_norm(up(x), train, f"bn_{i}"))
        up = nn.ConvTranspose(self.channels, _KERNEL, (2, 2), name=f"up_{steps}")
        return nn.tanh(up(x))


class DCGANDiscriminator(nn.Module):
    """Strided convolutions from an image to one logit, positive if it looks real.

    Attributes:
        width: how many features the first layer has; each later layer has twice as
            many.

    Example:
        >>> model = DCGANDiscriminator(width=4)
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), images)
        >>> logits.shape
        (2, 1)

    References:
        Radford et al., 2016, section 3 [radford2016unsupervised].
    """

    width: int = 128

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch 1"]:
        """Returns the logit that an image is real.

        Args:
            x: square images in [-1, 1].
            train: whether batch norms use the statistics of this batch.

        Raises:
            ValueError: if the side of the images is not 4 times a power of 2.
        """
        if x.shape[1] != x.shape[2]:
            raise ValueError(f"Images must be square, and are {x.shape[1:3]}.")
        for i in range(_doublings(x.shape[1])):
            width = self.width * 2**i
            down = nn.Conv(
                width, _KERNEL, 2, _PADDING, use_bias=i == 0, name=f"down_{i}"
            )
            x = down(x)
            if i:  # as in the paper, the first layer has none
                x = batch_norm(x, train, f"bn_{i}")
            x = nn.leaky_relu(x, 0.2)
        return nn.Dense(1, name="head")(jax.lax.collapse(x, 1))


def _doublings(size: int) -> int:
    """How often a side of 4 must double to be `size`."""
    steps = (size // _SMALLEST).bit_length() - 1
    if steps < 1 or size != _SMALLEST * 2**steps:
        raise ValueError(
            f"The side of an image must be 8, 16, 32, ... and is {size}. Resize or pad "
            "the images."
        )
    return steps
