"""An image by its frequencies, each scaled as photographs have them.

The amplitudes of a photograph fall as $1 / f$. Parameters that are multiplied by that
before they become an image are about equally important, so an optimizer that moves all
of them alike moves the image as a whole and not its finest noise.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import checked_shape
from jaxinterp.featurevis.parametrizations.color import Color
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.parametrizations.to_image import (
    SquashName,
    Unbounded,
    checked_scale,
    unbounded_to_image,
)
from jaxinterp.pytree import pytree, static

# A factor of lucid's that makes a learning rate of 0.05 a good one.
DIVISOR = 4.0


@pytree
class Fourier(Unbounded):
    """The scaled real and imaginary parts of a spectrum; fields as in `fourier`."""

    to_image: Any
    decay: float = static()
    scale: float = static()
    shape: tuple[int, ...] = static()

    @property
    def weights(self) -> Any:
        """What the parameters are multiplied by, `(*half spectrum, 1)`."""
        weights = falloff(self.shape[:-1], self.decay) / DIVISOR
        return jnp.asarray(weights[..., None], self.to_image.computed)

    def init_one(self, key: Array) -> Any:
        """Returns normal noise, `(2, *half spectrum, channels)`."""
        shape = (2, *half_spectrum(self.shape))
        return self.scale * jax.random.normal(key, shape, self.to_image.dtype)

    def values(self, params: Any) -> Float[Array, "*shape"]:
        """Returns the values whose spectrum has these real and imaginary parts."""
        parts = params.astype(self.to_image.computed) * self.weights[None]
        return from_spectrum(lax.complex(parts[0], parts[1]), self.shape)

    def params(self, values: Float[Array, "*shape"]) -> Any:
        """Returns real and imaginary parts."""
        spectrum = to_spectrum(values)
        parts = jnp.stack([spectrum.real, spectrum.imag]) / self.weights[None]
        return parts.astype(self.to_image.dtype)


def fourier(
    shape: Iterable[int],
    *,
    decay: float = 1.0,
    color: Color = "auto",
    squash: SquashName = "sigmoid",
    scale: float = 0.01,
    dtype: Any = jnp.float32,
) -> Parametrization:
    r"""Parametrizes an image by its spectrum, whose amplitudes fall with frequency.

    $$x = \sigma\Bigl(M\, \mathcal F^{-1}\Bigl[
    \frac{z_f}{4 \max(|f|, 1 / n)^{\mathrm{decay}}} \Bigr]\Bigr)$$

    where $z$ are the parameters, $\mathcal F$ the unitary Fourier transform, $|f|$ the
    frequency in cycles a pixel, $n$ the longest side, $M$ the matrix of colors and
    $\sigma$ the squash. Every size is exact, odd ones too. An image costs
    $O(N \log N)$ for $N$ pixels.

    Args:
        shape: the shape of one image, `(height, width, channels)`; or `(length,
            channels)`, or that of a volume.
        decay: exponent; 1 is that of photographs, more makes smoother images.
        color: `"imagenet"`, `"i1i2i3"` or a matrix for decorrelated colors, see
            `fit_color_matrix`; `None` for the channels as they are. `"auto"`, the
            default, is `"imagenet"` for `(height, width, 3)` and `None` for all others.
        squash: the function that brings values into [0, 1], as in `pixels`.
        scale: the standard deviation of $z$ at the start.
        dtype: the dtype of parameters and images. The transform runs in float32 at
            least.

    Returns:
        A parametrization that has an inverse.

    Raises:
        ValueError: if the shape, the color or the squash does not exist.
        TypeError: if `dtype` is not one of floats.

    Example:
        >>> image = fourier((25, 30, 3))
        >>> params = image.init(jax.random.key(0), 2)
        >>> params.shape, image.images(params).shape
        ((2, 2, 25, 16, 3), (2, 25, 30, 3))

    References:
        Olah et al., 2017, "Preconditioning and Parameterization" [olah2017feature];
        Mordvintsev et al., 2018, "Style Transfer with non-VGG Architectures"
        [mordvintsev2018differentiable]. The factor 1/4 is that of their library. Of an
        odd width it renders one column more and crops it; here the transform has the
        width itself.
    """
    shape = checked_shape(shape, 2, 4)
    to_image = unbounded_to_image(shape, color, squash, dtype)
    return Fourier(to_image, float(decay), checked_scale(scale), shape)


def frequencies(spatial: tuple[int, ...]) -> np.ndarray:
    """Returns the frequencies of a half spectrum, in cycles a pixel, from the size."""
    axes = [np.fft.fftfreq(n) for n in spatial[:-1]] + [np.fft.rfftfreq(spatial[-1])]
    return np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij")))


def falloff(spatial: tuple[int, ...], decay: float) -> np.ndarray:
    """Returns amplitudes that fall as the power `decay` of the frequency.

    The mean has that of the wave that is as long as the longest side.

    Args:
        spatial: the shape of an image without its channels.
        decay: the exponent by which amplitudes fall with frequency.
    """
    return 1 / np.maximum(frequencies(spatial), 1 / max(spatial)) ** decay


def half_spectrum(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of the half of a spectrum that says all of a real image."""
    *rest, width, channels = shape
    return (*rest, width // 2 + 1, channels)


def from_spectrum(spectrum: Any, shape: tuple[int, ...]) -> Any:
    """Returns the real array, of a shape with channels, of a unitary half spectrum.

    Args:
        spectrum: the half spectrum, in the shape that `half_spectrum` gives.
        shape: the shape of the array, with the channels last.
    """
    axes = tuple(range(len(shape) - 1))
    return jnp.fft.irfftn(spectrum, s=shape[:-1], axes=axes, norm="ortho")


def to_spectrum(values: Any) -> Any:
    """Returns the unitary half spectrum of a real array `(..., channels)`."""
    return jnp.fft.rfftn(values, axes=tuple(range(values.ndim - 1)), norm="ortho")


def total_power(magnitude: np.ndarray, width: int) -> float:
    """Returns the sum of squares over the whole spectrum of an image of some width.

    The magnitudes are those of its half, `(..., width // 2 + 1)`.

    Args:
        magnitude: the magnitudes of the half spectrum, `(..., width // 2 + 1)`.
        width: the width of the image in pixels.
    """
    multiplicity = np.full(magnitude.shape[-1], 2.0)
    multiplicity[0] = 1
    if width % 2 == 0:
        multiplicity[-1] = 1
    return math.fsum((magnitude**2).reshape(-1, len(multiplicity)) @ multiplicity)
