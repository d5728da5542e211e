"""What a picture `(height, width, channels)` costs, one pixel at a time."""

import numpy as np

from .stabilizers import Array


def total_variation(image: Array) -> float:
    """Absolute differences to the pixel below and to the right."""
    total = 0.0
    height, width, channels = image.shape
    for i, j, c in np.ndindex(height, width, channels):
        if i + 1 < height:
            total += abs(image[i + 1, j, c] - image[i, j, c])
        if j + 1 < width:
            total += abs(image[i, j + 1, c] - image[i, j, c])
    return total


def rim_blur(image: Array, width: int) -> Array:
    """Means under lucid's kernel: 1 inside, one half on its rim."""
    radius = width // 2
    kernel = np.full((width, width), 0.5)
    kernel[1:-1, 1:-1] = 1.0
    blurred = np.zeros_like(image)
    rows, columns = image.shape[:2]
    for i, j in np.ndindex(rows, columns):
        total = 0.0
        for a, b in np.ndindex(width, width):
            y, x = i + a - radius, j + b - radius
            if 0 <= y < rows and 0 <= x < columns:
                blurred[i, j] += kernel[a, b] * image[y, x]
                total += kernel[a, b]
        blurred[i, j] /= total
    return blurred


def boundary(image: Array, width: int, constant: float) -> float:
    """Roughness and departure from a constant within `width` of the border."""
    mask = np.ones(image.shape)
    mask[width:-width, width:-width] = 0
    roughness = (rim_blur(image, 5) - image) ** 2
    return float((mask * (roughness + 0.8 * (image - constant) ** 2)).sum())


def spectral_energy(image: Array, decay: float) -> float:
    """Energy of each plane wave, weighted by a power of its frequency."""
    height, width, channels = image.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    total = 0.0
    for k, m, c in np.ndindex(height, width, channels):
        # Frequencies above one half are negative ones.
        fy = k / height if k <= height / 2 else k / height - 1
        fx = m / width if m <= width / 2 else m / width - 1
        if k == m == 0:
            continue
        wave = np.exp(-2j * np.pi * (k * rows / height + m * columns / width))
        amplitude = (wave * image[:, :, c]).sum() / np.sqrt(height * width)
        weight = (np.hypot(fy, fx) / 0.5) ** (2 * decay)
        total += weight * abs(amplitude) ** 2
    return total
