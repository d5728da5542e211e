"""Preprocessing: from images or tokens to the inputs that a network was trained on.

A network that expects BGR raises no error for RGB, it is just worse; and an array does
not say which of the two it is. So images always are RGB in 0..255 or 0..1, and
`Preprocess` turns them into what the network expects, and says so when it is printed.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.types import Images, Inputs

Channels = Literal["RGB", "BGR", "gray"]

# How far outside of 0..1 pixels may lie by the rounding of a resize in float32; in a
# coarser dtype, two units in the last place. Other scales differ far more.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Preprocess:
    r"""Turns images into inputs of a network: size, order of channels, scale.

    $$x = (\mathrm{scale} \cdot p - \mathrm{mean}) / \mathrm{std}$$

    of the pixels $p \in [0, 1]$, after the image was resized, with its proportions
    kept, until its shorter side fits, and its center was cut out. (Torchvision resizes
    to 256 before it cuts out 224; here an image of the right size stays as it is.)

    It is differentiable in images of floats, and may be jitted; the range of the pixels
    is checked only outside of `jit`.

    Attributes:
        size: height and width that the network takes; `None` keeps those of the images.
        channels: the order in which the network takes the channels. Images are RGB in
            any case, or have one channel for `"gray"`.
        scale: the number that is white for the network, 1 or 255.
        mean: the mean of each channel, which is subtracted, in the order and scale of
            the network.
        std: the standard deviation of each channel, by which the difference is divided,
            in the order and scale of the network.

    Example:
        >>> preprocess = Preprocess((2, 2), "BGR", 255.0, (104.0, 117.0, 123.0))
        >>> red = np.zeros((1, 2, 2, 3), np.uint8)
        >>> red[..., 0] = 255
        >>> preprocess(red)[0, 0, 0].tolist()
        [-104.0, -117.0, 132.0]
    """

    size: tuple[int, int] | None = None
    channels: Channels = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.channels not in get_args(Channels):
            raise ValueError(
                f"`channels` is one of {get_args(Channels)}, and is {self.channels!r}."
            )
        if self.size is not None and np.shape(self.size) != (2,):
            raise ValueError(
                f"`size` is (height, width), and is {self.size!r}. Write "
                "`size=(224, 224)`, or `None` to leave images as they are."
            )
        if self.size is not None and min(self.size) < 1:
            raise ValueError(
                f"`size` has at least one pixel each way, and is {self.size!r}. Write "
                "`size=(224, 224)`, or `None` to leave images as they are."
            )
        if not self.scale > 0:
            raise ValueError(
                f"`scale` is what the brightest pixel becomes, and is {self.scale}. "
                "Write 1.0 or 255.0."
            )
        if not all(std > 0 for std in self.std):
            raise ValueError(f"`std` divides and must be positive; it is {self.std}.")
        n_channels = self._n_channels
        if {len(self.mean), len(self.std)} - {1, n_channels}:
            raise ValueError(
                f"`mean` and `std` have one entry or {n_channels} for {self.channels}, "
                f"and are {self.mean} and {self.std}."
            )

    def __repr__(self) -> str:
        order = "gray" if self.channels == "gray" else "RGB"
        size = "any size" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return (
            f"Preprocess(takes {order} as uint8 0..255 or floats 0..1 (batch, height, "
            f"width, {self._n_channels}); gives {self.channels} {size} in "
            f"0..{self.scale:g}, minus {self.mean}, divided by {self.std})"
        )

    @property
    def _n_channels(self) -> int:
        return 1 if self.channels == "gray" else 3

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The inputs of black and of white, per channel: the bounds of `rules.ZBox`."""
        mean, std = (
            np.broadcast_to(v, self._n_channels) for v in (self.mean, self.std)
        )
        black, white = (0 - mean) / std, (self.scale - mean) / std
        return tuple(black.tolist()), tuple(white.tolist())

    def __call__(self, images: Images) -> jax.Array:
        """Returns the inputs of the network.

        Args:
            images: `(batch, height, width, channels)`, RGB or gray; uint8 in 0..255, or
                floats in 0..1. They may exceed it by the rounding of a resize, 1e-6 or
                twice the machine epsilon of their dtype if that is more.

        Returns:
            Inputs of the network's size; float32, or the dtype of the floats.

        Raises:
            TypeError: if the pixels are neither uint8 nor floats.
            ValueError: if axes, channels or range are not as described.
        """
        images = self._checked(images)
        if images.dtype == jnp.uint8:
            images = images.astype(jnp.float32) / 255
        if self.size is not None:
            images = _fit(images, *self.size)
        if self.channels == "BGR":
            images = images[..., ::-1]
        return (images * self.scale - self._wide(self.mean, images)) / self._wide(
            self.std, images
        )

    def inverse(self, inputs: Inputs) -> jax.Array:
        """Returns images to look at: RGB or gray, clipped to 0..1.

        Args:
            inputs: inputs of the network, `(batch, height, width, channels)`. Integers
                are converted to float32.

        Returns:
            Floats in the shape of the inputs: a resize is not undone.

        Raises:
            ValueError: if axes or channels are not as described.
        """
        inputs = jnp.asarray(inputs)
        self._check_shape(inputs.shape, "inputs")
        if not jnp.issubdtype(inputs.dtype, jnp.floating):
            inputs = inputs.astype(jnp.float32)
        pixels = inputs * self._wide(self.std, inputs) + self._wide(self.mean, inputs)
        if self.channels == "BGR":
            pixels = pixels[..., ::-1]
        return jnp.clip(pixels / self.scale, 0, 1)

    def _wide(self, values: tuple[float, ...], like: jax.Array) -> jax.Array:
        return jnp.asarray(values, like.dtype)[None, None, None]

    def _checked(self, images: Images) -> jax.Array:
        images = jnp.asarray(images)
        self._check_shape(images.shape, "images")
        if images.dtype == jnp.uint8:
            return images
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise TypeError(
                f"Images are uint8 in 0..255 or floats in 0..1, and `images` has "
                f"dtype {images.dtype}. Write `images.astype(np.uint8)`."
            )
        if is_traced(images) or not images.size:
            return images
        low, high = float(images.min()), float(images.max())
        slack = max(_ROUNDING, 2 * float(jnp.finfo(images.dtype).eps))
        if not (low >= -slack and high <= 1 + slack):
            raise ValueError(
                f"Floating-point pixels are in 0..1, and those of `images` are in "
                f"{low:g}..{high:g}. Pixels in 0..255 are given as uint8, or as "
                "`images / 255`; what is preprocessed already is not preprocessed "
                "again."
            )
        return images

    def _check_shape(self, shape: tuple[int, ...], name: str) -> None:
        expected = f"(batch, height, width, {self._n_channels})"
        if len(shape) == 4 and shape[-1] == self._n_channels:
            if 0 in shape[1:3]:
                raise ValueError(
                    f"`{name}` has shape {shape}, images of no pixels. Give at least "
                    "one row and one column."
                )
            return
        advice = ""
        if len(shape) == 3 and shape[-1] == self._n_channels:
            advice = f" A single image is `{name}[None]`."
        elif len(shape) == 3 and self.channels == "gray":
            advice = f" Images without an axis of channels are `{name}[..., None]`."
        elif len(shape) == 4 and shape[1] == self._n_channels:
            advice = f" PyTorch's order of axes becomes `np.moveaxis({name}, 1, -1)`."
        raise ValueError(f"`{name}` has shape {shape}, and needs {expected}.{advice}")


def _fit(images: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes bilinearly, keeps the proportions, and cuts out the center."""
    batch, old_height, old_width, channels = images.shape
    if (old_height, old_width) == (height, width):
        return images
    factor = max(height / old_height, width / old_width)
    tall = max(height, round(factor * old_height))
    wide = max(width, round(factor * old_width))
    images = jax.image.resize(images, (batch, tall, wide, channels), "bilinear")
    top, left = (tall - height) // 2, (wide - width) // 2
    return images[:, top : top + height, left : left + width]


@dataclasses.dataclass(frozen=True)
class TokenIds:
    """Checks token ids, which a language model takes unchanged.

    In JAX, an id beyond the vocabulary is no error and gives NaN; here it is an error.

    Attributes:
        vocabulary_size: how many different tokens there are.
        max_length: how many tokens a text may have; `None` for no limit.

    Example:
        >>> TokenIds(512, 128)([[1, 403, 407]]).shape
        (1, 3)
    """

    vocabulary_size: int
    max_length: int | None = None

    def __call__(self, tokens: Any) -> jax.Array:
        """Returns the token ids.

        Args:
            tokens: token ids, integers `(batch, length)`.

        Returns:
            The token ids as a JAX array.

        Raises:
            TypeError: if the token ids are no integers.
            ValueError: if axes, length or range are not as described.
        """
        if not isinstance(tokens, jax.Array):
            tokens = np.asarray(tokens)  # JAX might cut off integers of 64 bits
        if not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise TypeError(f"Token ids are integers, and `tokens` has {tokens.dtype}.")
        if tokens.ndim != 2:
            raise ValueError(
                f"`tokens` has shape {tokens.shape}, and needs (batch, length). A "
                "single text is `tokens[None]`."
            )
        if self.max_length is not None and tokens.shape[1] > self.max_length:
            raise ValueError(
                f"`tokens` has length {tokens.shape[1]}, and the model takes at most "
                f"{self.max_length}: `tokens[:, :{self.max_length}]`."
            )
        if is_traced(tokens) or not tokens.size:
            return jnp.asarray(tokens)
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.vocabulary_size:
            raise ValueError(
                f"Token ids are in 0..{self.vocabulary_size - 1}, and those of "
                f"`tokens` are in {low}..{high}."
            )
        return jnp.asarray(tokens)

    def inverse(self, inputs: Inputs) -> jax.Array:
        """Returns the token ids, which are the inputs of the model."""
        return jnp.asarray(inputs)


# Mean and standard deviation of ImageNet's channels, red first, as in torchvision.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

IMAGENET = Preprocess((224, 224), "RGB", 1.0, _MEAN, _STD)
CAFFE = Preprocess((224, 224), "BGR", 255.0, (104.0, 117.0, 123.0))
HALF = Preprocess((224, 224), "RGB", 1.0, (0.5,), (0.5,))
CIFAR_0_255 = Preprocess((32, 32), "RGB", 255.0)
LENET = Preprocess((32, 32), "gray", 1.0)
