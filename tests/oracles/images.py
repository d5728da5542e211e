r"""Images from parameters: colors, spectra, layers and a network, written literally.

An array of an image is `(height, width, channels)`. Everything before the squash.
"""

import cmath
import itertools
import math

import numpy as np

from .stabilizers import Array


def sigmoid(x: Array) -> Array:
    """Returns values in (0, 1)."""
    return 1 / (1 + np.exp(-x))


def color_covariance(images: Array) -> Array:
    """Covariance of the channels over all pixels of all images, pixel by pixel."""
    channels = images.shape[-1]
    pixels = [images[place] for place in np.ndindex(*images.shape[:-1])]
    mean = np.zeros(channels)
    for pixel in pixels:
        mean += pixel / len(pixels)
    covariance = np.zeros((channels, channels))
    for pixel in pixels:
        for i, j in itertools.product(range(channels), repeat=2):
            covariance[i, j] += (pixel[i] - mean[i]) * (pixel[j] - mean[j])
    return covariance / len(pixels)


def recorrelated(canvas: Array, matrix: Array) -> Array:
    """Each pixel times the matrix."""
    out = np.zeros_like(canvas)
    for place in np.ndindex(*canvas.shape[:-1]):
        for c, t in np.ndindex(*matrix.shape):
            out[(*place, c)] += matrix[c, t] * canvas[(*place, t)]
    return out


def frequency(k: int, n: int) -> float:
    """The frequency of coefficient `k` of `n`, in cycles a pixel, of either sign."""
    return (k if k < (n + 1) // 2 else k - n) / n


def wave_sum(spectrum: Array, height: int, width: int) -> Array:
    r"""The real picture of a half spectrum: a sum of waves, pixel by pixel.

    $$x_{ab} = \frac1{\sqrt{hw}} \sum_{k, l} m_l\, \mathrm{Re}\bigl(
    z_{kl}\, e^{2 \pi i (k a / h + l b / w)}\bigr)$$

    A column $l$ stands for itself and for $w - l$, thus counts twice ($m_l = 2$),
    unless these are the same.
    """
    out = np.zeros((height, width, spectrum.shape[-1]))
    for a, b in np.ndindex(height, width):
        for k, column in np.ndindex(*spectrum.shape[:2]):
            wave = cmath.exp(2j * math.pi * (k * a / height + column * b / width))
            times = 1 if column in (0, width - column) else 2
            out[a, b] += times * (spectrum[k, column] * wave).real
    return out / math.sqrt(height * width)


def fourier_canvas(parts: Array, height: int, width: int, decay: float) -> Array:
    """lucid's picture of real and imaginary parts, with the width that was asked for.

    Each coefficient is divided by its frequency to the power `decay`, the mean as if it
    had the lowest frequency of the longer side; all is divided by 4.
    """
    spectrum = parts[0] + 1j * parts[1]
    for k, column in np.ndindex(*spectrum.shape[:2]):
        f = math.hypot(frequency(k, height), column / width)
        spectrum[k, column] /= max(f, 1 / max(height, width)) ** decay
    return wave_sum(spectrum, height, width) / 4


def maco_canvas(magnitude: Array, phase: Array, height: int, width: int) -> Array:
    """The picture of magnitudes and phases, where no wave has two of them.

    Of a wave and its mirror image, if both are in the half spectrum, the first counts.
    """
    spectrum = magnitude * np.exp(1j * phase)
    for column in (0, width // 2) if width % 2 == 0 else (0,):
        for k in range(height // 2 + 1, height):
            spectrum[k, column] = np.conj(spectrum[height - k, column])
    return wave_sum(spectrum, height, width)


def mean_magnitude(canvases: Array) -> Array:
    """Mean over images of the magnitude of each coefficient of the half spectrum."""
    count, height, width, channels = canvases.shape
    out = np.zeros((height, width // 2 + 1, channels))
    for canvas in canvases:
        for k, column in np.ndindex(*out.shape[:2]):
            total = np.zeros(channels, complex)
            for a, b in np.ndindex(height, width):
                turn = -2j * math.pi * (k * a / height + column * b / width)
                total += canvas[a, b] * cmath.exp(turn)
            out[k, column] += np.abs(total) / math.sqrt(height * width) / count
    return out


def enlarged(layer: Array, height: int, width: int) -> Array:
    """A small picture enlarged linearly; pixels are squares, beyond the edge it stays.

    The middle of pixel `a` of the large picture lies at `(a + 1/2) h / height - 1/2`
    pixels of the small one.
    """
    h, w, channels = layer.shape
    out = np.zeros((height, width, channels))
    for a, b in np.ndindex(height, width):
        y = min(max((a + 0.5) * h / height - 0.5, 0), h - 1)
        x = min(max((b + 0.5) * w / width - 0.5, 0), w - 1)
        for i, j in np.ndindex(h, w):
            out[a, b] += max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * layer[i, j]
    return out


def cppn_canvas(layers: list[dict[str, Array]], height: int, width: int) -> Array:
    """The network at each pixel, whose middle of the picture is the origin."""
    unit = 2 * math.sqrt(3) / (max(height, width) - 1)
    out = np.zeros((height, width, len(layers[-1]["bias"])))
    for a, b in np.ndindex(height, width):
        h = np.array([unit * (a - (height - 1) / 2), unit * (b - (width - 1) / 2)])
        for layer in layers[:-1]:
            angle = np.arctan(layer["kernel"].T @ h + layer["bias"])
            h = np.concatenate([angle / 0.67, angle**2 / 0.6])
        out[a, b] = layers[-1]["kernel"].T @ h + layers[-1]["bias"]
    return out
