"""Images of a known kind, to ask a unit about one property at a time.

Every function draws on a `Ground` one image for each entry of its parameters, which
broadcast against one another: 8 orientations `(8, 1)` and 5 frequencies `(5,)` make
images `(8, 5, height, width, channels)`. Places $(x, y)$ are in pixels from the middle
of the image, $x$ to the right and $y$ downwards; angles are in radians, from $x$
towards $y$. Edges are drawn to a fraction of a pixel, so that an image changes smoothly
with its parameters.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import checked_share, is_integer, is_traced

# One number for each image, or one for all.
Number = Any

# A number in [0, 1], or one for each channel.
Color = Any


@dataclasses.dataclass(frozen=True)
class Ground:
    """What stimuli are drawn on, and in which colors.

    Attributes:
        shape: the shape of an image, `(height, width, channels)`.
        color: the color of what is drawn in [0, 1], one number or one for each channel.
        background: the color of what is around it, likewise.
        dtype: the dtype of the images.

    Raises:
        ValueError: if the shape is none of an image, or a color does not fit it.

    Example:
        >>> red_on_black = Ground((8, 8, 3), color=(1.0, 0.0, 0.0), background=0.0)
        >>> dots(red_on_black, 0, 0, 2).shape
        (8, 8, 3)
    """

    shape: tuple[int, int, int]
    color: Color = 1.0
    background: Color = 0.5
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        is_shape = isinstance(self.shape, tuple | list) and len(self.shape) == 3
        if not is_shape or not all(is_integer(n) and n >= 1 for n in self.shape):
            raise ValueError(
                "Ground: `shape` is that of an image, (height, width, channels), and "
                f"is {self.shape!r}."
            )
        if not jnp.issubdtype(jnp.dtype(self.dtype), jnp.floating):
            raise TypeError(f"Ground: `dtype` is one of floats, and is {self.dtype!r}.")
        channels = self.shape[-1]
        for name, value in (("color", self.color), ("background", self.background)):
            if np.shape(value) not in ((), (channels,)):
                raise ValueError(
                    f"Ground: `{name}` is one number, or one for each of the {channels}"
                    f" channels, and has the shape {np.shape(value)}."
                )
            if not is_traced(value):
                for number in np.asarray(value).ravel().tolist():
                    checked_share(name, number, call="Ground")

    def _with_places(self, *parameters: Number) -> list[Any]:
        """Returns x and y of the pixels, and parameters, broadcast to the images.

        The last two axes are the rows and columns, in front of them are those of the
        parameters.
        """
        height, width, _ = self.shape
        dtype = jnp.promote_types(self.dtype, jnp.float32)  # half cannot count pixels
        arrays = jnp.broadcast_arrays(*(jnp.asarray(p, dtype) for p in parameters))
        front = (1,) * arrays[0].ndim
        x = jnp.arange(width, dtype=dtype).reshape(*front, 1, width)
        y = jnp.arange(height, dtype=dtype).reshape(*front, height, 1)
        x, y = x - (width - 1) / 2, y - (height - 1) / 2
        return [x, y, *(array[..., None, None] for array in arrays)]

    def _colored(self, share: Any) -> Any:
        """Returns the background, at each pixel a share of the way to the color."""
        front, back = (
            jnp.broadcast_to(jnp.asarray(value, share.dtype), self.shape[-1:]).reshape(
                (1,) * share.ndim + (-1,)
            )
            for value in (self.color, self.background)
        )
        return (back + (front - back) * share[..., None]).astype(self.dtype)


def gratings(
    ground: Ground,
    orientation: Number,
    frequency: Number,
    phase: Number = 0.0,
    *,
    contrast: Number = 1.0,
    width: Number = math.inf,
) -> Float[Array, "*stimuli height width channels"]:
    r"""Draws waves of light, in a Gaussian window if there is a width (Gabor patches).

    $$b + (a - b)\, c\, e^{-(x^2 + y^2) / 2 \sigma^2}
    \cos(2 \pi f (x \cos\theta + y \sin\theta) + \varphi)$$

    with the color $a$ and the background $b$ of the ground.

    Args:
        ground: the shape and colors of the images.
        orientation: $\theta$, the direction in which the light changes: stripes stand
            upright at 0 and lie at $\pi / 2$.
        frequency: $f$, in cycles a pixel, up to 0.5.
        phase: $\varphi$, in radians; at 0 the middle has the color.
        contrast: $c$, between 0 and 1.
        width: $\sigma$, in pixels; by default there is no window.

    Returns:
        Images from $a$ to $2 b - a$: by default gray ones in [0, 1].

    Example:
        >>> row = gratings(Ground((1, 5, 1)), 0.0, 0.25)[0, :, 0]
        >>> [round(value, 3) for value in row.tolist()]
        [0.0, 0.5, 1.0, 0.5, 0.0]

    References:
        Hubel and Wiesel, 1962 (bars and edges) [hubel1962receptive].
    """
    x, y, angle, f, start, c, sigma = ground._with_places(
        orientation, frequency, phase, contrast, width
    )
    wave = jnp.cos(2 * math.pi * f * (x * jnp.cos(angle) + y * jnp.sin(angle)) + start)
    window = jnp.exp(-(x**2 + y**2) / (2 * sigma**2))
    return ground._colored(c * window * wave)


def dots(
    ground: Ground, x: Number, y: Number, radius: Number
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a disc.

    Args:
        ground: the shape and colors of the images.
        x: the place of its middle, in pixels to the right of that of the image.
        y: the place of its middle, in pixels downwards.
        radius: the radius in pixels.

    Returns:
        Images in [0, 1].

    Example:
        >>> dots(Ground((1, 5, 1)), 0, 0, 1)[0, :, 0].tolist()
        [0.5, 0.75, 1.0, 0.75, 0.5]
    """
    column, row, x, y, radius = ground._with_places(x, y, radius)
    return ground._colored(_inside(jnp.hypot(column - x, row - y) - radius))


def blobs(
    ground: Ground, x: Number, y: Number, width: Number
) -> Float[Array, "*stimuli height width channels"]:
    r"""Draws a soft dot: its color fades as $e^{-d^2 / 2 \sigma^2}$ with the distance.

    Args:
        ground: the shape and colors of the images.
        x: the place of its middle, in pixels to the right of that of the image.
        y: the place of its middle, in pixels downwards.
        width: $\sigma$, in pixels.

    Returns:
        Images in [0, 1].

    Example:
        >>> row = blobs(Ground((1, 3, 1), background=0.0), 0, 0, 1)[0, :, 0]
        >>> [round(value, 3) for value in row.tolist()]
        [0.607, 1.0, 0.607]
    """
    column, row, x, y, width = ground._with_places(x, y, width)
    squares = (column - x) ** 2 + (row - y) ** 2
    return ground._colored(jnp.exp(-squares / (2 * width**2)))


def bars(
    ground: Ground,
    orientation: Number,
    width: Number,
    length: Number = math.inf,
    *,
    x: Number = 0.0,
    y: Number = 0.0,
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a bar.

    Args:
        ground: the shape and colors of the images.
        orientation: the direction across the bar, as that of a grating: it stands
            upright at 0.
        width: the extent across, in pixels.
        length: the extent along, in pixels; from border to border by default.
        x: the place of its middle, in pixels to the right of that of the image.
        y: the place of its middle, in pixels downwards.

    Returns:
        Images in [0, 1].

    Example:
        >>> bars(Ground((1, 5, 1), background=0.0), 0, 1)[0, :, 0].tolist()
        [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    column, row, angle, width, length, x, y = ground._with_places(
        orientation, width, length, x, y
    )
    across = (column - x) * jnp.cos(angle) + (row - y) * jnp.sin(angle)
    along = (row - y) * jnp.cos(angle) - (column - x) * jnp.sin(angle)
    inside = _inside(jnp.abs(across) - width / 2) * _inside(jnp.abs(along) - length / 2)
    return ground._colored(inside)


def corners(
    ground: Ground,
    orientation: Number,
    angle: Number = math.pi / 2,
    radius: Number = 0.0,
    *,
    x: Number = 0.0,
    y: Number = 0.0,
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a corner, sharp or rounded: a curve between two straight edges.

    Args:
        ground: the shape and colors of the images.
        orientation: the direction from the tip into the corner.
        angle: the angle between the edges, above 0 and up to pi, where they are one.
        radius: the radius in pixels of the circle that the edges touch instead of
            meeting.
        x: the place of the tip that it would have if sharp, in pixels to the right of
            the middle of the image.
        y: the place of that tip, in pixels downwards.

    Returns:
        Images in [0, 1].

    Raises:
        ValueError: if an angle is not in that range, or a radius is negative.

    Example:
        >>> image = corners(Ground((4, 4, 1), background=0.0), math.pi / 4)[..., 0]
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
    column, row, turn, angle, radius, x, y = ground._with_places(
        orientation, angle, radius, x, y
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
    return ground._colored(_inside(distance))


def checkerboards(
    ground: Ground,
    size: Number,
    orientation: Number = 0.0,
    *,
    contrast: Number = 1.0,
) -> Float[Array, "*stimuli height width channels"]:
    """Draws a checkerboard, whose field at the right below the middle is dark.

    Args:
        ground: the shape and colors of the images.
        size: the side of a field, in pixels.
        orientation: the angle by which it is turned, in radians.
        contrast: the contrast $c$, between 0 and 1.

    Returns:
        Images with fields of $b + c (a - b)$ and $b - c (a - b)$, of the color $a$ and
        the background $b$: by default gray ones in [0, 1].

    Example:
        >>> checkerboards(Ground((2, 4, 1)), 1)[..., 0].tolist()
        [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """
    x, y, size, angle, contrast = ground._with_places(size, orientation, contrast)

    def square_wave(along: Any) -> Any:
        """One in even fields and minus one in odd ones, a pixel wide at the edges."""
        place = along / size
        to_edge = (place - jnp.round(place)) * size
        sign = 1 - 2 * jnp.mod(jnp.round(place), 2)
        return sign * jnp.clip(2 * to_edge, -1, 1)

    u = x * jnp.cos(angle) + y * jnp.sin(angle)
    v = y * jnp.cos(angle) - x * jnp.sin(angle)
    return ground._colored(-contrast * square_wave(u) * square_wave(v))


def _inside(distance: Any) -> Any:
    """Returns the share of a pixel inside of a form, from the distance to its edge."""
    return jnp.clip(0.5 - distance, 0, 1)
