r"""One affine view of an image: a bilinear gather, whose transpose is one as well.

Places are a coordinate for each axis, row and column of an image, counted from the
middle of the image; what turns, zooms or flips about the middle is then a linear map. A
`Move` says that the view shows at $p$ what the image $x$ has at $Ap + t$, between its
pixels $q$:

$$z(p) = \sum_q \Lambda(Ap + t - q)\, x(q), \qquad
\Lambda(d) = \prod_i \max(1 - |d_i|, 0)$$

The gradient of $x(q)$ is the same sum over $p$. Left to differentiation it is a
scatter, slow on a CPU, and on a GPU of a random order. But only the $p$ in a small box
about $A^{-1}(q - t)$ have weight, so each pixel can collect its gradient from there.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

# For each axis but that of the channels.
Size = tuple[int, ...]

Places = tuple[Any, ...]

# So many places can be collected from in the time, on a CPU, of scattering from one.
_SCATTER_COST = 36


class Move(NamedTuple):
    """The map from a place of the view to the place of the image that it shows.

    Attributes:
        linear: the matrix, `(axes, axes)`; diagonal for more than three axes.
        shift: the shift in pixels, `(axes,)`.
    """

    linear: Any
    shift: Any


def stay(axes: int, dtype: Any) -> Move:
    """Returns the move that changes nothing, of some number of axes.

    Args:
        axes: the number of axes that are moved along.
        dtype: the dtype of the matrix and the shift.
    """
    return Move(jnp.eye(axes, dtype=dtype), jnp.zeros(axes, dtype))


def after(second: Move, first: Move) -> Move:
    """Returns one move that does the first and then the second.

    Args:
        second: the move that is done last.
        first: the move that is done first.
    """
    # Sums of products, since a matrix product may round its factors on an accelerator.
    product = (second.linear[:, :, None] * first.linear[None]).sum(1)
    return Move(product, _apply(second.linear, first.shift) + second.shift)


def carry(move: Move, places: Places) -> Places:
    """Returns where a move leads places: a coordinate for each axis.

    Args:
        move: the map from places to places.
        places: a coordinate for each axis, in pixels from the center.
    """
    return tuple(
        _sum(weight * place for weight, place in zip(row, places, strict=True)) + shift
        for row, shift in zip(move.linear, move.shift, strict=True)
    )


def grid(size: Size, dtype: Any) -> Places:
    """Returns the places of all pixels: `(height, 1)` and `(1, width)` of an image.

    Args:
        size: the number of pixels along each axis.
        dtype: the dtype of the coordinates.
    """
    along = (jnp.arange(n, dtype=dtype) - (n - 1) / 2 for n in size)
    return tuple(
        line.reshape([-1 if other == axis else 1 for other in range(len(size))])
        for axis, line in enumerate(along)
    )


def coverage(places: Places, size: Size) -> Any:
    """Returns the share of the image at each place of a view: 1 inside, 0 outside.

    It falls linearly within one pixel of the outermost ones, as bilinear weights do.

    Args:
        places: a coordinate for each axis, in pixels from the center.
        size: the number of pixels of the image along each axis.
    """
    return _product(
        jnp.clip((n + 1) / 2 - jnp.abs(place), 0, 1)
        for place, n in zip(places, size, strict=True)
    )


def fold(places: Places, size: Size, mode: Literal["edge", "reflect"]) -> Places:
    """Returns places within an image instead of those outside.

    They are the nearest ones, or the mirror image at the outermost pixels.

    Args:
        places: a coordinate for each axis, in pixels from the center.
        size: the number of pixels of the image along each axis.
        mode: `"edge"` for the nearest place inside, `"reflect"` for the mirror image.
    """

    def one(place: Any, n: int) -> Any:
        last = (n - 1) / 2
        if mode == "edge" or n == 1:
            return jnp.clip(place, -last, last)
        return (n - 1) - jnp.abs(jnp.mod(place + last, 2 * (n - 1)) - (n - 1)) - last

    return tuple(one(place, n) for place, n in zip(places, size, strict=True))


def resample(image: Any, move: Move, size: Size, stretch: float) -> Any:
    """Returns the view of an image after a move; black where there is no image.

    It can be differentiated in the image, in reverse mode; not in the move.

    Args:
        image: the image, `(*size, channels)`.
        move: the move from places of the outcome to places of the image, in the
            image's dtype.
        size: the size of the outcome.
        stretch: a bound on the largest row sum of absolute values of the inverse of
            `move.linear`: how far apart neighboring pixels can come to lie.
    """
    source = image.shape[:-1]
    # An open interval of length 2 * stretch holds so many integers.
    taps = max(math.ceil(2 * stretch - 1e-6), 1)
    reduction = math.prod(source) / math.prod(size)
    if taps ** len(size) * max(reduction, 1) > _SCATTER_COST:
        return interpolate(image, carry(move, grid(size, image.dtype)))
    return _resample(image, move, source, size, taps)


def interpolate(image: Any, places: Places) -> Any:
    """Returns an image between its pixels, as a plain gather; black outside.

    The coordinates of each axis broadcast against each other.

    Args:
        image: the image, `(*size, channels)`.
        places: a coordinate for each axis, in pixels from the center.
    """
    exact = [
        place + (n - 1) / 2 for place, n in zip(places, image.shape[:-1], strict=True)
    ]
    before = [jnp.floor(place) for place in exact]
    ends = [
        ((low, 1 - (place - low)), (low + 1, place - low))
        for place, low in zip(exact, before, strict=True)
    ]
    terms = []
    for corner in itertools.product(*ends):
        pixel, weights = zip(*corner, strict=True)
        terms.append(_weighted(image, pixel, _product(weights)))
    return _sum(terms)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _resample(image: Any, move: Move, source: Size, size: Size, taps: int) -> Any:
    return interpolate(image, carry(move, grid(size, image.dtype)))


def _forward(image: Any, move: Move, source: Size, size: Size, taps: int) -> Any:
    return _resample(image, move, source, size, taps), move


def _backward(source: Size, size: Size, taps: int, move: Move, view: Any) -> Any:
    return _collect(view, move, source, taps), jax.tree.map(jnp.zeros_like, move)


_resample.defvjp(_forward, _backward)


def _collect(view: Any, move: Move, source: Size, taps: int) -> Any:
    """Returns the transpose of `resample`, each pixel looking for its own share.

    Args:
        view: the gradient of the view, `(*size, channels)`.
        move: the move, as in `resample`.
        source: the size of the image.
        taps: the side of the box in which the places lie that see a pixel.
    """
    inverse = _inverse(move)
    size, dtype = view.shape[:-1], view.dtype
    pixels = grid(source, dtype)
    reach = jnp.abs(inverse.linear).sum(1)
    first = [
        jnp.floor(middle - reach[axis] + (size[axis] - 1) / 2) + 1
        for axis, middle in enumerate(carry(inverse, pixels))
    ]
    total = jnp.zeros((*source, view.shape[-1]), dtype)
    for box in itertools.product(range(taps), repeat=len(size)):
        index = [start + i for start, i in zip(first, box, strict=True)]
        there = tuple(i - (n - 1) / 2 for i, n in zip(index, size, strict=True))
        # Rounded as on the way forward, so that the weights are those of there.
        away = (
            place + (n - 1) / 2 - (pixel + (n - 1) / 2)
            for place, n, pixel in zip(carry(move, there), source, pixels, strict=True)
        )
        weight = _product(jnp.maximum(1 - jnp.abs(distance), 0) for distance in away)
        total = total + _weighted(view, index, weight)
    return total


def _weighted(image: Any, index: Sequence[Any], weight: Any) -> Any:
    """Returns pixels times a weight each, and zero where there is no pixel."""
    *size, channels = image.shape
    inside, flat = True, 0
    for place, n in zip(index, size, strict=True):
        inside &= (place >= 0) & (place < n)
        flat = flat * n + jnp.clip(place, 0, n - 1).astype(jnp.int32)
    pixels = image.reshape(-1, channels)[flat]
    return jnp.where(inside, weight, 0)[..., None] * pixels


def _apply(matrix: Any, vector: Any) -> Any:
    return (matrix * vector[None]).sum(1)


def _inverse(move: Move) -> Move:
    if len(move.shift) == 2:
        (a, b), (c, d) = move.linear
        adjugate = jnp.stack([jnp.stack([d, -b]), jnp.stack([-c, a])])
        linear = adjugate / (a * d - b * c)
    elif len(move.shift) == 3:
        a, b, c = move.linear
        across = [jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)]
        linear = jnp.stack(across, axis=1) / (a * across[0]).sum()
    else:
        linear = jnp.diag(1 / jnp.diag(move.linear))
    return Move(linear, -_apply(linear, move.shift))


def _sum(terms: Iterable[Any]) -> Any:
    return functools.reduce(operator.add, terms)


def _product(factors: Iterable[Any]) -> Any:
    return functools.reduce(operator.mul, factors)
