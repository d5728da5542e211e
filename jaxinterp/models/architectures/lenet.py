"""LeNet-5 for handwritten digits."""

from __future__ import annotations

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from jaxinterp.models.architectures.pooling import max_pool


class LeNet(nn.Module):
    """Three convolutions of size 5 and two dense layers, named as in the paper.

    So the addresses are `LeNet/c1`, `LeNet/c3`, `LeNet/c5`, `LeNet/f6` and `LeNet/f7`.

    It departs from the paper as is usual today: relu instead of tanh, max pooling
    instead of a trained average pooling, every map connected to every other, and a
    dense last layer instead of radial basis functions.

    Attributes:
        classes: how many classes, and so logits, there are.
        widths: channels of `c1`, `c3` and `c5`, and features of `f6`.

    References:
        LeCun et al., 1998, section II.B [lecun1998gradient].

    Example:
        >>> digits = jax.ShapeDtypeStruct((2, 32, 32, 1), "float32")
        >>> logits, _ = jax.eval_shape(
        ...     LeNet().init_with_output, jax.random.key(0), digits)
        >>> logits.shape
        (2, 10)
    """

    classes: int = 10
    widths: tuple[int, int, int, int] = (6, 16, 120, 84)

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: images of 32 x 32 pixels.

        Raises:
            ValueError: if the images have another size.
        """
        if x.shape[1:3] != (32, 32):
            raise ValueError(
                f"LeNet takes images of shape (batch, 32, 32, channels), and these "
                f"have {x.shape}.\nMNIST's are resized first: "
                'jax.image.resize(x, (len(x), 32, 32, 1), "bilinear").'
            )
        w1, w3, w5, w6 = self.widths
        x = nn.relu(nn.Conv(w1, (5, 5), padding="VALID", name="c1")(x))
        x = max_pool(x, 2, 2)
        x = nn.relu(nn.Conv(w3, (5, 5), padding="VALID", name="c3")(x))
        x = max_pool(x, 2, 2)
        # Features are 5 x 5 here, so each output of this convolution reads all of them.
        x = nn.relu(nn.Conv(w5, (5, 5), padding="VALID", name="c5")(x))
        x = jax.lax.collapse(x, 1)
        x = nn.relu(nn.Dense(w6, name="f6")(x))
        return nn.Dense(self.classes, name="f7")(x)
