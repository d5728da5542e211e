"""Images of a known kind, to ask a unit about one property at a time.

Every function draws one image for each entry of its parameters, which broadcast
against one another: 8 orientations `(8, 1)` and 5 frequencies `(5,)` make images `(8,
5, height, width, channels)`. Places $(x, y)$ are in pixels from the middle of the
image, $x$ to the right and $y$ downwards; angles are in radians, from $x$ towards
$y$. Edges are drawn to a fraction of a pixel, so that an image changes smoothly with
its parameters.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import is_traced

# One number for each image, or one for all.
Number = Any

Shape = tuple[int, int, int]

# A number in [0, 1], or one for each channel.
Color = Any


def gratings(
    orientation: Number,
    frequency: Number,
    phase: Number = 0.0,
    *,
    shape: Shape,
    contrast: Number = 1.0,
    width: Number = math.inf,
    dtype: Any = jnp.float32,
) -> Float[Array, "*stimuli height width channels"]:
    r"""Draws waves of light, in a Gaussian window if a width is given (Gabor patches).

    $$\tfrac12 + \tfrac c2\, e^{-(x^2 + y^2) / 2 \sigma^2}
    \cos(2 \pi f (x \cos\theta + y \sin\theta) + \varphi)$$

    Args:
        orientation: $\theta$, the direction in which the light changes: stripes stand
            upright at 0 and lie at $\pi / 2$.
        frequency: $f$, in cycles a pixel, up to 0.5.
        phase: $\varphi$, in radians; at 0 the middle is bright.
        shape: of an image.
        contrast: $c$, between 0 and 1.
        width: $\sigma$, in pixels; by default there is no window.
        dtype: of the images.

    Returns:
        Grey images in [0, 1].

    Raises:
        ValueError: if the shape is no `(height, width, channels)`.

    Example:
        >>> row = gratings(0.0, 0.25, shape=(1, 5, 1))[0, :, 0]
        >>> [round(value, 3) for value in row.tolist()]
        [0.0, 0.5, 1.0, 0.5, 0.0]

    References:
        Hubel and Wiesel, 1962 (bars and edges) [hubel1962receptive].
    """
    x, y, angle, f, start, c, sigma = _canvas(
        shape, dtype, orientation, frequency, phase, contrast, width
    )
    wave = jnp.cos(2 * math.pi * f * (x * jnp.cos(angle) + y * jnp.sin(angle)) + start)
    window = jnp.exp(-(x**2 + y**2) / (2 * sigma**2))
    return _colored((1 + c * window * wave) / 2, shape, dtype, 1.0, 0.0)


def dots(
    x: Number,
    y: Number,
    radius: Number,
    *,
    shape: Shape,
    color: Color = 1.0,
    background: Color = 0.5,
    dtype: Any = jnp.float32,
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a disc on a ground.

    Args:
        x: of its middle, pixels to the right of that of the image.
        y: pixels downwards.
        radius: in pixels.
        shape: of an image.
        color: of the disc in [0, 1], one number or one for each channel.
        background: likewise, of what is around it.
        dtype: of the images.

    Returns:
        Images in [0, 1].

    Raises:
        ValueError: if the shape or a color does not fit.

    Example:
        >>> dots(0, 0, 1, shape=(1, 5, 1))[0, :, 0].tolist()
        [0.5, 0.75, 1.0, 0.75, 0.5]
    """
    column, row, x, y, radius = _canvas(shape, dtype, x, y, radius)
    distance = jnp.hypot(column - x, row - y) - radius
    return _colored(_inside(distance), shape, dtype, color, background)


def blobs(
    x: Number,
    y: Number,
    width: Number,
    *,
    shape: Shape,
    color: Color = 1.0,
    background: Color = 0.5,
    dtype: Any = jnp.float32,
) -> Float[Array, "*stimuli height width channels"]:
    r"""Draws a soft dot: its color fades as $e^{-d^2 / 2 \sigma^2}$ with the distance.

    Args:
        x: of its middle, pixels to the right of that of the image.
        y: pixels downwards.
        width: $\sigma$, in pixels.
        shape: of an image.
        color: of the middle in [0, 1], one number or one for each channel.
        background: likewise, of what is far away.
        dtype: of the images.

    Returns:
        Images in [0, 1].

    Raises:
        ValueError: if the shape or a color does not fit.

    Example:
        >>> row = blobs(0, 0, 1, shape=(1, 3, 1), background=0)[0, :, 0]
        >>> [round(value, 3) for value in row.tolist()]
        [0.607, 1.0, 0.607]
    """
    column, row, x, y, width = _canvas(shape, dtype, x, y, width)
    squares = (column - x) ** 2 + (row - y) ** 2
    return _colored(jnp.exp(-squares / (2 * width**2)), shape, dtype, color, background)


def bars(
    orientation: Number,
    width: Number,
    length: Number = math.inf,
    *,
    x: Number = 0.0,
    y: Number = 0.0,
    shape: Shape,
    color: Color = 1.0,
    background: Color = 0.5,
    dtype: Any = jnp.float32,
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a bar on a ground.

    Args:
        orientation: the direction across the bar, as that of a grating: it stands
            upright at 0.
        width: across, in pixels.
        length: along, in pixels; from border to border by default.
        x: of its middle, pixels to the right of that of the image.
        y: pixels downwards.
        shape: of an image.
        color: of the bar in [0, 1], one number or one for each channel.
        background: likewise, of what is around it.
        dtype: of the images.

    Returns:
        Images in [0, 1].

    Raises:
        ValueError: if the shape or a color does not fit.

    Example:
        >>> bars(0, 1, shape=(1, 5, 1), background=0)[0, :, 0].tolist()
        [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    column, row, angle, width, length, x, y = _canvas(
        shape, dtype, orientation, width, length, x, y
    )
    across = (column - x) * jnp.cos(angle) + (row - y) * jnp.sin(angle)
    along = (row - y) * jnp.cos(angle) - (column - x) * jnp.sin(angle)
    inside = _inside(jnp.abs(across) - width / 2) * _inside(jnp.abs(along) - length / 2)
    return _colored(inside, shape, dtype, color, background)


def corners(
    orientation: Number,
    angle: Number = math.pi / 2,
    radius: Number = 0.0,
    *,
    x: Number = 0.0,
    y: Number = 0.0,
    shape: Shape,
    color: Color = 1.0,
    background: Color = 0.5,
    dtype: Any = jnp.float32,
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a corner on a ground, sharp or rounded: a curve between two straight edges.

    Args:
        orientation: the direction from the tip into the corner.
        angle: between the edges, above 0 and up to pi, where they are one edge.
        radius: of the circle that the edges touch instead of meeting, in pixels.
        x: of the tip that it would have if sharp, pixels to the right of the middle of
            the image.
        y: pixels downwards.
        shape: of an image.
        color: of the corner in [0, 1], one number or one for each channel.
        background: likewise, of what is around it.
        dtype: of the images.

    Returns:
        Images in [0, 1].

    Raises:
        ValueError: if the shape or a color does not fit, an angle is not in that range,
            or a radius is negative.

    Example:
        >>> image = corners(math.pi / 4, shape=(4, 4, 1), background=0)[..., 0]
        >>> print(image.round(1))
        [[0. 0. 0. 0.]
         [0. 0. 0. 0.]
         [0. 0. 1. 1.]
         [0. 0. 1. 1.]]

    References:
        lucid, `lucid/misc/stimuli.py`, `rounded_corner`.
    """
    if not is_traced(angle, radius):
        angles, radii = np.asarray(angle), np.asarray(radius)
        # The pi of half precision is larger.
        if not ((angles > 0) & (angles < 3.15)).all() or not (radii >= 0).all():
            raise ValueError(
                "The angle of a corner lies between 0 and pi, and its radius is not "
                f"negative; they are {angle} and {radius}."
            )
    column, row, turn, angle, radius, x, y = _canvas(
        shape, dtype, orientation, angle, radius, x, y
    )
    half = angle / 2
    # A sharp corner with its tip at the middle of the circle, and what is near to it.
    along = (column - x) * jnp.cos(turn) + (row - y) * jnp.sin(turn)
    along = along - radius / jnp.sin(half)
    across = jnp.abs((row - y) * jnp.cos(turn) - (column - x) * jnp.sin(turn))
    to_edge = across * jnp.cos(half) - along * jnp.sin(half)
    is_beside = (to_edge <= 0) | (along * jnp.cos(half) + across * jnp.sin(half) >= 0)
    # At the tip itself, the length has no derivative.
    squares = along**2 + across**2
    to_tip = jnp.sqrt(jnp.where(squares > 0, squares, 1)) * (squares > 0)
    distance = jnp.where(is_beside, to_edge, to_tip) - radius
    return _colored(_inside(distance), shape, dtype, color, background)


def checkerboards(
    size: Number,
    orientation: Number = 0.0,
    *,
    shape: Shape,
    contrast: Number = 1.0,
    dtype: Any = jnp.float32,
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a checkerboard, whose field at the right below the middle is dark.

    Args:
        size: side of a field, in pixels.
        orientation: by which it is turned, in radians.
        shape: of an image.
        contrast: between 0 and 1.
        dtype: of the images.

    Returns:
        Grey images in [0, 1].

    Raises:
        ValueError: if the shape is no `(height, width, channels)`.

    Example:
        >>> checkerboards(1, shape=(2, 4, 1))[..., 0].tolist()
        [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """
    x, y, size, angle, contrast = _canvas(shape, dtype, size, orientation, contrast)

    def square_wave(along: Any) -> Any:
        """One in even fields and minus one in odd ones, a pixel wide at the edges."""
        place = along / size
        to_edge = (place - jnp.round(place)) * size
        sign = 1 - 2 * jnp.mod(jnp.round(place), 2)
        return sign * jnp.clip(2 * to_edge, -1, 1)

    u = x * jnp.cos(angle) + y * jnp.sin(angle)
    v = y * jnp.cos(angle) - x * jnp.sin(angle)
    field = square_wave(u) * square_wave(v)
    return _colored((1 - contrast * field) / 2, shape, dtype, 1.0, 0.0)


def _canvas(shape: Shape, dtype: Any, *parameters: Number) -> list[Any]:
    """Returns x and y of the pixels, and parameters; all broadcast to the images.

    The last two axes are the rows and columns, in front of them are those of the
    parameters.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"`shape` is that of an image, (height, width, channels), and is {shape}."
        )
    height, width, _ = shape
    dtype = jnp.promote_types(dtype, jnp.float32)  # half of one cannot count pixels
    arrays = jnp.broadcast_arrays(*(jnp.asarray(value, dtype) for value in parameters))
    front = (1,) * arrays[0].ndim
    x = jnp.arange(width, dtype=dtype).reshape(*front, 1, width) - (width - 1) / 2
    y = jnp.arange(height, dtype=dtype).reshape(*front, height, 1) - (height - 1) / 2
    return [x, y, *(array[..., None, None] for array in arrays)]


def _inside(distance: Any) -> Any:
    """Returns the share of a pixel inside of a form, from the distance to its edge."""
    return jnp.clip(0.5 - distance, 0, 1)


def _colored(
    share: Any, shape: Shape, dtype: Any, color: Color, background: Color
) -> Any:
    channels, ends = shape[-1], []
    for name, value in (("color", color), ("background", background)):
        array = jnp.asarray(value, share.dtype)
        if array.shape not in ((), (channels,)):
            raise ValueError(
                f"`{name}` is one number, or one for each of the {channels} channels, "
                f"and has the shape {array.shape}."
            )
        ends.append(jnp.broadcast_to(array, (channels,)))
    front, back = (end.reshape((1,) * share.ndim + (-1,)) for end in ends)
    return (back + (front - back) * share[..., None]).astype(dtype)
