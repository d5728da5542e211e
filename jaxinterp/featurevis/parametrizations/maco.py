"""Images with the spectrum of photographs, of which only the phases are optimized.

What makes an optimized image look unlike a photograph is mostly in the magnitudes of
its frequencies: the optimizer puts all it can into few of them. If they are fixed, no
step can. Phases hold where things are, so there is still everything to choose.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxinterp.featurevis.images import checked_shape, image_batches
from jaxinterp.featurevis.parametrizations.color import Color
from jaxinterp.featurevis.parametrizations.fourier import (
    falloff,
    from_spectrum,
    half_spectrum,
    to_spectrum,
    total_power,
)
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.parametrizations.to_image import (
    SquashName,
    Unbounded,
    unbounded_to_image,
)
from jaxinterp.pytree import pytree, static

# Where all parameters of masks are zero they are almost open: the logistic of 5 is
# 0.993. So noise around zero, which is added to an image's parameters, opens none.
_OPEN = 5.0


@pytree
class Maco(Unbounded):
    """The phases of a spectrum, with given magnitudes.

    Attributes:
        magnitude: the magnitudes of the unitary half spectrum.
        is_masked: whether magnitudes may be lowered.
    """

    to_image: Any
    magnitude: Any
    shape: tuple[int, ...] = static()
    is_masked: bool = static(default=False)

    def init_one(self, key: Array) -> Any:
        """Returns phases that are uniform on the circle, and masks that are open."""
        size, dtype = half_spectrum(self.shape), self.to_image.dtype
        phase = jax.random.uniform(key, size, dtype, -math.pi, math.pi)
        return self._params(phase, jnp.zeros(size, dtype))

    def values(self, params: Any) -> Float[Array, "*shape"]:
        """Returns the values whose spectrum has these phases."""
        phase, magnitude = params, self.magnitude
        if self.is_masked:
            phase, mask = params["phase"], params["mask"].astype(self.to_image.computed)
            magnitude = magnitude * jax.nn.sigmoid(_OPEN + mask)
        phase = _mirrored(phase.astype(self.to_image.computed), self.shape)
        real, imaginary = jnp.cos(phase), jnp.sin(phase)
        spectrum = lax.complex(magnitude * real, magnitude * imaginary)
        return from_spectrum(spectrum, self.shape)

    def params(self, values: Float[Array, "*shape"]) -> Any:
        """Returns the phases of values; their magnitudes only as far as masks reach."""
        spectrum, dtype = to_spectrum(values), self.to_image.dtype
        least = jnp.finfo(self.magnitude.dtype).tiny
        share = jnp.abs(spectrum) / jnp.maximum(self.magnitude, least)
        ends = jax.nn.sigmoid(jnp.array([-_OPEN, _OPEN], share.dtype))
        mask = jax.scipy.special.logit(jnp.clip(share, *ends)) - _OPEN
        return self._params(jnp.angle(spectrum).astype(dtype), mask.astype(dtype))

    def _params(self, phase: Array, mask: Array) -> Any:
        return {"phase": phase, "mask": mask} if self.is_masked else phase


def maco(
    shape: Iterable[int],
    *,
    spectrum: Float[Array | np.ndarray, "..."] | None = None,
    decay: float = 1.25,
    contrast: float = 1.2,
    masked: bool = False,
    color: Color = "auto",
    squash: SquashName = "sigmoid",
    dtype: Any = jnp.float32,
) -> Parametrization:
    r"""Parametrizes an image by its phases alone; the magnitudes are photographs'.

    $$x = \sigma(M\, \mathcal F^{-1}[r_f\, e^{i \varphi_f}])$$

    where $\varphi$ are the parameters, in radians, $r$ the magnitudes, $\mathcal F$ the
    unitary Fourier transform, $M$ the matrix of colors and $\sigma$ the squash. Only
    the mean and the few waves that change sign from pixel to pixel have no phase; they
    are $r_f \cos \varphi_f$.

    Args:
        shape: the shape of one image, `(height, width, channels)`; or `(length,
            channels)`, or that of a volume.
        spectrum: magnitudes that `fit_spectrum` measured on images of this shape, with
            the same color and squash. By default they fall as a power of the
            frequency, alike in all coordinates of the color.
        decay: the power of the fall; photographs have 1.2 to 1.3, and more if they were
            resized with a soft kernel. Only without `spectrum`.
        contrast: standard deviation of the channels before the squash, without their
            mean; photographs have 1.2 before a sigmoid. Only without `spectrum`.
        masked: whether magnitudes may be lowered, never raised: they are $r_f s(5 +
            m_f)$, where $s$ is the logistic function and $m$ are parameters too, 0 at
            first. A unit can then leave out waves that it does not look for. The
            parameters are `{"phase": ..., "mask": ...}`.
        color: the decorrelation of colors, as in `fourier`.
        squash: the function that brings values into [0, 1], as in `pixels`.
        dtype: the dtype of parameters and images. The transform runs in float32 at
            least.

    Returns:
        A parametrization. The published optimizer is `optax.nadam(1.0)`, which is there
        sooner than that of `maximize`. Its inverse keeps the phases of an image, whose
        magnitudes it replaces: it gives the image back only where those are the
        image's own. Masked, it gives magnitudes back as far as they lie between 0.007
        and 0.993 of the given ones, and the nearer end where they do not.

    Raises:
        ValueError: if the shape, the color or the squash does not exist, or the
            spectrum is one of images of another shape.
        TypeError: if `dtype` is not one of floats.

    Example:
        >>> image = maco((25, 30, 3))
        >>> params = image.init(jax.random.key(0), 2)
        >>> params.shape, image.images(params).shape
        ((2, 25, 16, 3), (2, 25, 30, 3))

    References:
        Fel et al., 2023, section 3.2 [fel2023unlocking]. They measure magnitudes on the
        images themselves and standardize the image before the squash; here they are
        measured before it, so that contrast and mean are the photographs'. Their phases
        start from a normal distribution and are standardized at each step; here they
        start from all angles alike and are taken as they are, since an angle has no
        scale. Masks are those of faccent, `fourier_phase`, the code of Hamblin et al.,
        2024 [hamblin2024feature].
    """
    shape = checked_shape(shape, 2, 4)
    to_image = unbounded_to_image(shape, color, squash, dtype)
    if spectrum is None:
        magnitude = falloff(shape[:-1], decay)
        variation = magnitude.copy()
        variation.flat[0] = 0  # the mean
        deviation = math.sqrt(total_power(variation, shape[-2]) / math.prod(shape[:-1]))
        if not deviation:
            raise ValueError(f"Images of one pixel, {shape}, have no phases.")
        if to_image.color is not None:  # how much larger channels are than coordinates
            deviation *= float(jnp.linalg.norm(to_image.color)) / math.sqrt(shape[-1])
        magnitude = contrast / deviation * magnitude
        spectrum = np.repeat(magnitude[..., None], shape[-1], axis=-1)
    if not isinstance(spectrum, jax.Array):
        spectrum = np.asarray(spectrum)
    if spectrum.shape != half_spectrum(shape):
        raise ValueError(
            f"The spectrum has shape {spectrum.shape}, and that of images of shape "
            f"{shape} is {half_spectrum(shape)}. Fit it to images of that size: resize "
            "them with `jax.image.resize`, then `fit_spectrum(images)`."
        )
    spectrum = jnp.asarray(spectrum, to_image.computed)
    return Maco(to_image, spectrum, shape, bool(masked))


def fit_spectrum(
    images: Float[Array | np.ndarray, "..."]
    | Iterable[Float[Array | np.ndarray, "..."]],
    *,
    color: Color = "auto",
    squash: SquashName = "sigmoid",
) -> Float[np.ndarray, "*spectrum channels"]:
    r"""Measures the mean magnitude of each frequency over images, of any channel count.

    $$r_f = \frac1N \sum_x |\mathcal F[M^{-1} \sigma^{-1}(x)]_f|$$

    Memory does not grow with the number of images, if they come as an iterable.

    Args:
        images: `(count, *shape)` in [0, 1], or an iterable of such arrays.
        color: the decorrelation of colors that `maco` will have.
        squash: the squash that `maco` will have.

    Returns:
        The magnitudes of the unitary half spectrum, for `maco(shape, spectrum=...)`.

    Raises:
        ValueError: if there are no images, they are not in [0, 1], or differ in shape.
        TypeError: if an iterable yields something that is no array.

    Example:
        >>> images = jax.random.uniform(jax.random.key(0), (5, 8, 9, 7))
        >>> spectrum = fit_spectrum(images)
        >>> image = maco((8, 9, 7), spectrum=spectrum)

    References:
        Fel et al., 2023, section 3.2 [fel2023unlocking].
    """
    total, count, to_image = 0.0, 0, None
    for batch in image_batches(images):
        if to_image is None:
            shape = checked_shape(batch.shape[1:], 2, 4)
            to_image = unbounded_to_image(shape, color, squash, jnp.float32)
        values = np.asarray(to_image.inverse(jnp.asarray(batch)), np.float64)
        axes = tuple(range(1, values.ndim - 1))
        spectra = np.fft.rfftn(values, axes=axes, norm="ortho")
        total = total + np.abs(spectra).sum(axis=0)
        count += len(batch)
    return np.asarray(total) / count


def _mirrored(phase: Any, shape: tuple[int, ...]) -> Any:
    """Returns phases in which a wave that occurs twice has one phase, and its negative.

    A half spectrum holds both a wave and its mirror image in its first column, and in
    the last one of an even width. If they disagreed, the magnitude would not be kept.
    """
    *rest, width, channels = shape
    places = np.arange(math.prod(rest)).reshape(rest)
    mirror = places[np.ix_(*(-np.arange(n) % n for n in rest))]
    is_first = jnp.asarray(places <= mirror)[..., None]
    for column in {0, width // 2} if width % 2 == 0 else {0}:
        own = phase[..., column, :]
        other = -own.reshape(-1, channels)[mirror.ravel()].reshape(own.shape)
        phase = phase.at[..., column, :].set(
            jnp.where(jnp.broadcast_to(is_first, own.shape), own, other)
        )
    return phase
