"""Views of a picture, pixel by pixel: `place(i, j)` is what view pixel (i, j) shows.

Places are rows and columns of the picture, counted from its first pixel.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from .stabilizers import Array

Place = Callable[[float, float], tuple[float, float]]


def rotated(size: tuple[int, int], degrees: float) -> Place:
    """A turn about the middle, counterclockwise with x to the right and y up."""
    height, width = size
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def place(i: float, j: float) -> tuple[float, float]:
        x, y = j - (width - 1) / 2, (height - 1) / 2 - i
        # What is seen at (x, y) was turned there, so it came from the other way.
        back_x, back_y = x * cos + y * sin, -x * sin + y * cos
        return (height - 1) / 2 - back_y, back_x + (width - 1) / 2

    return place


def zoomed(size: tuple[int, int], factor: float) -> Place:
    """A zoom about the middle."""
    height, width = size

    def place(i: float, j: float) -> tuple[float, float]:
        row = (height - 1) / 2 + (i - (height - 1) / 2) / factor
        return row, (width - 1) / 2 + (j - (width - 1) / 2) / factor

    return place


def shifted(rows: float, columns: float) -> Place:
    """A shift: what is seen at the first pixel is the picture's at (rows, columns)."""
    return lambda i, j: (i + rows, j + columns)


def chain(*places: Place) -> Place:
    """The places of views one after another, of the first transform first."""

    def place(i: float, j: float) -> tuple[float, float]:
        for one in reversed(places):
            i, j = one(i, j)
        return i, j

    return place


def _neighbors(row: float, column: float) -> Iterator[tuple[int, int, float]]:
    top, left = math.floor(row), math.floor(column)
    for i, j in itertools.product((top, top + 1), (left, left + 1)):
        yield i, j, (1 - abs(row - i)) * (1 - abs(column - j))


def _inside(place: float, size: int, fill: float | str) -> float:
    """Where to look instead of outside, along one axis."""
    last = size - 1
    if fill == "edge":
        return min(max(place, 0.0), last)
    while fill == "reflect" and not 0 <= place <= last:
        place = -place if place < 0 else 2 * last - place
    return place


def view(
    image: Array, place: Place, size: tuple[int, int], fill: float | str = 0.5
) -> Array:
    """What is seen of an image `(height, width, channels)`."""
    height, width, channels = image.shape
    seen = np.zeros((*size, channels))
    for i, j in np.ndindex(*size):
        row, column = place(i, j)
        row, column = _inside(row, height, fill), _inside(column, width, fill)
        for y, x, weight in _neighbors(row, column):
            there = 0 <= y < height and 0 <= x < width
            if weight:
                seen[i, j] += weight * (image[y, x] if there else float(fill))
    return seen


def view_gradient(
    seen: Array, place: Place, shape: tuple[int, int, int], fill: float | str = 0.5
) -> Array:
    """The gradient of the image, given that of what is seen."""
    height, width, _ = shape
    gradient = np.zeros(shape)
    for i, j in np.ndindex(*seen.shape[:2]):
        row, column = place(i, j)
        row, column = _inside(row, height, fill), _inside(column, width, fill)
        for y, x, weight in _neighbors(row, column):
            if weight and 0 <= y < height and 0 <= x < width:
                gradient[y, x] += weight * seen[i, j]
    return gradient


def gaussian_blur(image: Array, sigma: float) -> Array:
    """Means of all pixels, weighted by a Gaussian of their distance."""
    blurred = np.zeros_like(image)
    height, width = image.shape[:2]
    for i, j in np.ndindex(height, width):
        total = 0.0
        for y, x in np.ndindex(height, width):
            weight = math.exp(-((y - i) ** 2 + (x - j) ** 2) / (2 * sigma**2))
            blurred[i, j] += weight * image[y, x]
            total += weight
        blurred[i, j] /= total
    return blurred
