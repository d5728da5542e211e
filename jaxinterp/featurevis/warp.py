r"""One affine view of a picture: a bilinear gather, whose transpose is one as well.

Places are pairs of row and column, counted from the middle of a canvas; what turns,
zooms or flips about the middle is then a linear map. A `Move` says that at $p$ the
picture $x$ is seen as it is at $Ap + t$, between its pixels $q$:

$$z(p) = \sum_q \Lambda(Ap + t - q)\, x(q), \qquad
\Lambda(d) = \prod_i \max(1 - |d_i|, 0)$$

The gradient of $x(q)$ is the same sum over $p$. Left to differentiation it is a
scatter, slow on a CPU, and on a GPU of a random order. But only the $p$ in a small box
about $A^{-1}(q - t)$ have weight, so each pixel can collect its gradient from there.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

Size = tuple[int, int]
Places = tuple[Any, Any]

# So many places can be collected from in the time, on a CPU, of scattering from one.
_SCATTER_COST = 36


class Move(NamedTuple):
    """The map from a place of what is seen to the place of the picture seen there.

    Attributes:
        linear: the matrix, `(2, 2)`.
        shift: in pixels, `(2,)`.
    """

    linear: Any
    shift: Any


def stay(dtype: Any) -> Move:
    """Returns the move that changes nothing.

    Args:
        dtype: of its numbers.
    """
    return Move(jnp.eye(2, dtype=dtype), jnp.zeros(2, dtype))


def after(second: Move, first: Move) -> Move:
    """Returns one move that does what two do.

    Args:
        second: what is done to the places that the first leads to.
        first: what is done first.
    """
    # Sums of products, since a matrix product may round its factors on an accelerator.
    product = (second.linear[:, :, None] * first.linear[None]).sum(1)
    return Move(product, _apply(second.linear, first.shift) + second.shift)


def carry(move: Move, places: Places) -> Places:
    """Returns where a move leads.

    Args:
        move: from places to places.
        places: rows and columns.
    """
    (a, b), (c, d) = move.linear
    rows, columns = places
    return a * rows + b * columns + move.shift[0], c * rows + d * columns + move.shift[
        1
    ]


def grid(size: Size, dtype: Any) -> Places:
    """Returns the places of all pixels, `(height, 1)` and `(1, width)`.

    Args:
        size: of the canvas.
        dtype: of the coordinates.
    """
    rows, columns = (jnp.arange(n, dtype=dtype) - (n - 1) / 2 for n in size)
    return rows[:, None], columns[None, :]


def coverage(places: Places, size: Size) -> Any:
    """Returns how much of a canvas is seen at each place: 1 inside, 0 outside.

    It falls linearly within one pixel of the outermost ones, as bilinear weights do.

    Args:
        places: rows and columns.
        size: of the canvas.
    """
    rows, columns = (
        jnp.clip((n + 1) / 2 - jnp.abs(place), 0, 1)
        for place, n in zip(places, size, strict=True)
    )
    return rows * columns


def fold(places: Places, size: Size, mode: Literal["edge", "reflect"]) -> Places:
    """Returns places within a canvas instead of those outside.

    Args:
        places: rows and columns.
        size: of the canvas.
        mode: the nearest place, or the mirror image at the outermost pixels.
    """

    def one(place: Any, n: int) -> Any:
        last = (n - 1) / 2
        if mode == "edge" or n == 1:
            return jnp.clip(place, -last, last)
        return (n - 1) - jnp.abs(jnp.mod(place + last, 2 * (n - 1)) - (n - 1)) - last

    return one(places[0], size[0]), one(places[1], size[1])


def resample(image: Any, move: Move, size: Size, stretch: float) -> Any:
    """Returns what is seen of a picture after a move; black where there is no picture.

    It can be differentiated in the picture, in reverse mode; not in the move.

    Args:
        image: `(height, width, channels)`.
        move: from places of the outcome to places of the picture, in the picture's
            dtype.
        size: of the outcome.
        stretch: at least the largest row sum of absolute values of the inverse of
            `move.linear`: how far apart neighboring pixels can come to lie.
    """
    height, width = image.shape[:2]
    # An open interval of length 2 * stretch holds so many integers.
    taps = max(math.ceil(2 * stretch - 1e-6), 1)
    if taps**2 * max(height * width / (size[0] * size[1]), 1) > _SCATTER_COST:
        return interpolate(image, carry(move, grid(size, image.dtype)))
    return _resample(image, move, (height, width), size, taps)


def interpolate(image: Any, places: Places) -> Any:
    """Returns a picture between its pixels, as a plain gather; black outside.

    Args:
        image: `(height, width, channels)`.
        places: rows and columns, which broadcast against each other.
    """
    rows, columns = (
        place + (n - 1) / 2 for place, n in zip(places, image.shape[:2], strict=True)
    )
    top, left = jnp.floor(rows), jnp.floor(columns)
    below, right = rows - top, columns - left
    corners = (
        (top, left, (1 - below) * (1 - right)),
        (top, left + 1, (1 - below) * right),
        (top + 1, left, below * (1 - right)),
        (top + 1, left + 1, below * right),
    )
    return sum(_weighted(image, *corner) for corner in corners)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _resample(image: Any, move: Move, source: Size, size: Size, taps: int) -> Any:
    return interpolate(image, carry(move, grid(size, image.dtype)))


def _forward(image: Any, move: Move, source: Size, size: Size, taps: int) -> Any:
    return _resample(image, move, source, size, taps), move


def _backward(source: Size, size: Size, taps: int, move: Move, seen: Any) -> Any:
    return _collect(seen, move, source, taps), jax.tree.map(jnp.zeros_like, move)


_resample.defvjp(_forward, _backward)


def _collect(seen: Any, move: Move, source: Size, taps: int) -> Any:
    """Returns the transpose of `resample`, each pixel looking for its own share.

    Args:
        seen: the gradient of what is seen, `(height, width, channels)`.
        move: as in `resample`.
        source: size of the picture.
        taps: side of the box in which the places lie that see a pixel.
    """
    inverse = _inverse(move)
    size, dtype = seen.shape[:2], seen.dtype
    pixels = grid(source, dtype)
    reach = jnp.abs(inverse.linear).sum(1)
    top, left = (
        jnp.floor(middle - reach[i] + (size[i] - 1) / 2) + 1
        for i, middle in enumerate(carry(inverse, pixels))
    )
    total = jnp.zeros((*source, seen.shape[2]), dtype)
    for i in range(taps):
        for j in range(taps):
            rows, columns = top + i, left + j
            there = rows - (size[0] - 1) / 2, columns - (size[1] - 1) / 2
            # Rounded as on the way forward, so that the weights are those of there.
            y, x = (
                place + (n - 1) / 2 - (pixel + (n - 1) / 2)
                for place, n, pixel in zip(
                    carry(move, there), source, pixels, strict=True
                )
            )
            weight = jnp.maximum(1 - jnp.abs(y), 0) * jnp.maximum(1 - jnp.abs(x), 0)
            total = total + _weighted(seen, rows, columns, weight)
    return total


def _weighted(image: Any, rows: Any, columns: Any, weight: Any) -> Any:
    """Returns pixels times a weight each, and zero where there is no pixel."""
    height, width, channels = image.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows = jnp.clip(rows, 0, height - 1).astype(jnp.int32)
    columns = jnp.clip(columns, 0, width - 1).astype(jnp.int32)
    pixels = image.reshape(-1, channels)[rows * width + columns]
    return jnp.where(inside, weight, 0)[:, :, None] * pixels


def _apply(matrix: Any, vector: Any) -> Any:
    return (matrix * vector[None]).sum(1)


def _inverse(move: Move) -> Move:
    (a, b), (c, d) = move.linear
    adjugate = jnp.stack([jnp.stack([d, -b]), jnp.stack([-c, a])])
    linear = adjugate / (a * d - b * c)
    return Move(linear, -_apply(linear, move.shift))
