"""How fast the power of an image falls off with frequency.

Photographs have power spectra close to $1 / f^2$, whatever they show; noise has a flat
one, and checkerboards and other artifacts of ascent are bumps at high frequencies.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.images import check_float_images
from jaxinterp.loop.chunks import chunk_size, over_units
from jaxinterp.types import Images

# The first ring holds what the window leaks from the mean; a line needs a few others.
FIRST_RING, SMALLEST = 2, 8


def spectrum_slope(images: Images, *, batch_size: int | None = None) -> Any:
    r"""Returns the slope of the radial power spectrum on logarithmic axes.

    $$\log P(r) \approx \mathrm{slope} \cdot \log f(r) + \text{const}, \qquad
      P(r) = \underset{k \in \text{ring } r}{\operatorname{mean}} \sum_c
      |F_{kc}[w (x - \bar x)]|^2$$

    where $F$ is the discrete Fourier transform, $w$ a Hann window along each axis (so
    that left and right border, which do not fit together, make no spectrum of their
    own), $\bar x$ the mean of a channel under the window, and $f(r)$ the mean frequency
    of a ring, in cycles per pixel. With $n$ the shortest side, ring $r$ holds the
    frequencies up to 1/2 that round to $r / n$, from $r = 2$ on; all rings weigh the
    same. An image that is not square has square frequencies.

    Time and memory grow as those of a Fourier transform; memory with `batch_size`.

    Args:
        images: floats `(images, *sizes, channels)` with one to three axes of sizes.
            The scale does not matter; sums of squares over channels do.
        batch_size: the largest number of images that are transformed at once; all by
            default.

    Returns:
        `(images,)`, float32 at least: about -2 for photographs, down to -3 for ones
        that are out of focus or were made smaller; 0 for white noise. NaN for an image
        of a single color.

    Raises:
        TypeError: if the images are not floats.
        ValueError: if they have no such axes, or one is shorter than 8.

    Example:
        >>> noise = jax.random.uniform(jax.random.key(0), (1, 64, 48, 3))
        >>> abs(float(spectrum_slope(noise)[0])) < 0.3
        True
        >>> smooth = jnp.cumsum(jnp.cumsum(noise - 0.5, axis=1), axis=2)
        >>> float(spectrum_slope(smooth)[0]) < -1.5
        True

    References:
        Field, 1987, fig. 7 (natural images) [field1987relations].
    """
    check_float_images(images, "`images`")
    sizes = images.shape[1:-1]
    if not has_spectrum(images):
        raise ValueError(
            "The slope of a spectrum needs images (images, *sizes, channels) with "
            f"one to three sizes of at least {SMALLEST}, and `images` are "
            f"{images.dtype}{list(images.shape)}."
        )
    n_images = images.shape[0]
    rings, log_frequency = _rings(sizes)
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    line = jnp.asarray(log_frequency, dtype)
    return over_units(
        lambda index: _slopes(images[index], rings, line),
        n_images,
        chunk_size(batch_size, 1, n_images),
        is_inner=is_traced(images),
    )


def has_spectrum(images: Any) -> bool:
    """Returns whether images are large enough for a slope.

    Args:
        images: the images, `(images, *sizes, channels)`.
    """
    sizes = images.shape[1:-1]
    is_some = images.ndim > 0 and images.shape[0] > 0
    return is_some and 1 <= len(sizes) <= 3 and min(sizes) >= SMALLEST


def _rings(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The number of each frequency's ring from 0, -1 outside, and its logarithm."""
    axes = np.meshgrid(*map(np.fft.fftfreq, sizes), indexing="ij")
    frequency = np.sqrt(sum(axis**2 for axis in axes)).ravel()
    ring = np.rint(frequency * min(sizes)).astype(np.int32) - FIRST_RING
    ring[(frequency > 0.5) | (ring < 0)] = -1
    inside = ring >= 0
    count = np.bincount(ring[inside])
    mean = np.bincount(ring[inside], frequency[inside]) / count
    return ring, np.log(mean)


@jax.jit
def _slopes(images: Any, rings: Any, log_frequency: Any) -> Any:
    x = images.astype(log_frequency.dtype)
    axes = tuple(range(1, x.ndim - 1))
    window = _window(x.shape[1:-1], x.dtype)[None, ..., None]
    mean = (x * window).sum(axes, keepdims=True) / window.sum()
    product = (x - mean) * window
    power = jnp.square(jnp.abs(jnp.fft.fftn(product, axes=axes))).sum(axis=-1)
    number = log_frequency.shape[0]
    # What lies in no ring goes to a last one, which is dropped.
    ring = jnp.where(rings < 0, number, rings)

    def ring_sums(values: Any) -> Any:
        return jax.ops.segment_sum(values, ring, number + 1)[:number]

    sums = jax.vmap(ring_sums)(power.reshape(x.shape[0], -1))
    y = jnp.log(sums / ring_sums(jnp.ones(ring.shape, x.dtype))[None])
    t = log_frequency - log_frequency.mean()
    slope = (t[None] * (y - y.mean(axis=1, keepdims=True))).sum(axis=1) / (t * t).sum()
    rounding = 16 * jnp.finfo(x.dtype).eps * jnp.abs(x).max(axis=(*axes, -1))
    is_plain = jnp.abs(product).max(axis=(*axes, -1)) <= rounding
    return jnp.where(is_plain, jnp.nan, slope)


def _window(sizes: tuple[int, ...], dtype: Any) -> Any:
    window = np.ones(sizes)
    for axis, size in enumerate(sizes):
        hann = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
        shape = [-1 if i == axis else 1 for i in range(len(sizes))]
        window = window * hann.reshape(shape)
    return jnp.asarray(window, dtype)
