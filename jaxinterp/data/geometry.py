"""Flat shapes as signed distances, the marks of their textures, and colors.

A shape is given in its own coordinates $(u, v)$, whose origin is its center and whose
unit is its radius: it lies within the unit disk and touches its edge. A signed distance
is negative inside.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

SHAPES = ("disk", "square", "triangle", "star")
TEXTURES = ("plain", "striped", "dotted")
COLORS = ("red", "green", "blue")
# The name of the outer part of each shape.
PARTS = ("rim", "corner", "tip", "point")

# The part of each shape begins at this distance from the center, in radii. The sides of
# the square and of the triangle, and the valleys of the star, are nearer, so the pieces
# of a part do not touch.
PART_FROM = (0.7, 0.8, 0.65, 0.6)
HUES = (0.0, 1 / 3, 0.62)

_DISK = 0.85
_SQUARE = 0.7
_VALLEY = 0.5


def signed_distances(
    u: Float[Array, "*pixels"], v: Float[Array, "*pixels"]
) -> Float[Array, "shapes ..."]:
    """Returns the distance to the edge of every shape, in the order of `SHAPES`.

    Args:
        u: first coordinate of each pixel, in radii from the center of the shape.
        v: second coordinate of each pixel, in radii.

    Returns:
        Distances in radii, negative inside, to the lines through the edges: for pixels
        outside that are nearest to a corner they are too small.
    """
    return jnp.stack([_disk(u, v), _square(u, v), _triangle(u, v), _star(u, v)])


def _disk(u: Array, v: Array) -> Array:
    return jnp.hypot(u, v) - _DISK


def _square(u: Array, v: Array) -> Array:
    return jnp.maximum(jnp.abs(u), jnp.abs(v)) - _SQUARE


def _triangle(u: Array, v: Array) -> Array:
    # Three half-planes at half a radius; the vertices lie at distance 1.
    angles = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    sides = [float(np.cos(a)) * u + float(np.sin(a)) * v for a in angles]
    return jnp.maximum(jnp.maximum(sides[0], sides[1]), sides[2]) - 0.5


def _star(u: Array, v: Array) -> Array:
    # Ten mirrored copies of one edge, from a point at (1, 0) to a valley at 36 degrees.
    half = np.pi / 5
    angle = jnp.abs(jnp.mod(jnp.arctan2(v, u) + half, 2 * half) - half)
    radius = jnp.hypot(u, v)
    edge = np.array([_VALLEY * np.cos(half) - 1, _VALLEY * np.sin(half)])
    normal = np.array([edge[1], -edge[0]]) / np.linalg.norm(edge)
    along = radius * jnp.cos(angle) - 1
    return float(normal[0]) * along + float(normal[1]) * radius * jnp.sin(angle)


def marks(
    texture: Int[Array, ""],
    x: Float[Array, "*pixels"],
    y: Float[Array, "*pixels"],
    period: float,
) -> Bool[Array, "*pixels"]:
    """Returns where a texture is dark: nowhere, in stripes, or in dots on a grid.

    Args:
        texture: the index of the texture in `TEXTURES`.
        x: coordinate of each pixel across the stripes, in any unit of length.
        y: coordinate of each pixel along the stripes, in the same unit.
        period: distance from one stripe or dot to the next, in the same unit.
    """
    across, down = jnp.mod(x, period), jnp.mod(y, period)
    stripes = across < period / 2
    dots = jnp.hypot(across - period / 2, down - period / 2) < 0.34 * period
    return jnp.stack([jnp.zeros_like(stripes), stripes, dots])[texture]


def rgb(
    hue: Float[Array, "*n"], saturation: Float[Array, "*n"], value: Float[Array, "*n"]
) -> Float[Array, "*n 3"]:
    """Returns colors of a given hue, saturation and value as red, green and blue.

    Args:
        hue: the hue of each color; 0 and 1 are red, 1/3 is green, 2/3 is blue.
        saturation: the saturation of each color; 0 is gray, 1 the pure color.
        value: the largest of red, green and blue; 0 is black.

    Returns:
        Numbers in [0, 1] if saturation and value are in [0, 1].

    References:
        Smith, 1978, the hexcone model [smith1978color].
    """
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = jnp.mod(offset + 6 * hue, 6)
        channels.append(
            value * (1 - saturation * jnp.clip(jnp.minimum(k, 4 - k), 0, 1))
        )
    return jnp.stack(channels, axis=-1)
