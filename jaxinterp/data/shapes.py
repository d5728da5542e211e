"""Images of flat objects, one of which is the target, with a mask of every concept.

Every image has one *target*, the only object with a white outline and larger than all
others, and some *distractors*. The class is the shape, texture and color of the target.
Those of the distractors are drawn independently of it, so only the pixels of the target
tell the class.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxinterp.checks import checked_integer, checked_share
from jaxinterp.data.examples import draw
from jaxinterp.data.geometry import (
    COLORS,
    HUES,
    PART_FROM,
    PARTS,
    SHAPES,
    TEXTURES,
    marks,
    rgb,
    signed_distances,
)
from jaxinterp.keys import each_folded
from jaxinterp.types import Key

# The data may also be NumPy arrays, as by `jax.tree.map(np.asarray, data)`.
AnyArray = Array | np.ndarray

# All lengths are fractions of the side of the image.
TARGET_RADII = (0.22, 0.3)
DISTRACTOR_RADII = (0.1, 0.15)
OUTLINE = 0.027
PERIOD = 0.09
GAP = 0.02
# A distractor is put at the first of so many random positions that touches no other
# object.
POSITIONS = 32
# How far a hue may differ from red, green or blue.
HUE_JITTER = 0.05
# The brightness of the marks of a texture, relative to the color around them.
DARK = 0.25


class Shapes(NamedTuple):
    """Images, labels, and the pixels of every concept.

    Attributes:
        images: RGB in [0, 1].
        labels: the class of the target, `(shape * 3 + texture) * 3 + color`.
        objects: shape, texture and color of every object, as indices into
            `data.SHAPES`, `data.TEXTURES`, `data.COLORS`. The target is the first.
        instances: the object that is visible at each pixel: 0 is the background, 1 the
            target, and `k` the object `objects[:, k - 1]`.
        parts: the pixels of the named part of each object, see `data.PARTS`.
        marks: the pixels of the dark marks of each texture.
        outline: the pixels of the outline of the target.
        without_target: the same images without the target. They differ on `mask` alone
            (see `noise` of `shapes`), so they are the counterfactual and the ideal
            baseline.
    """

    images: Float[Array, "count size size 3"]
    labels: Int[Array, " count"]
    objects: Int[Array, "count objects 3"]
    instances: Int[Array, "count size size"]
    parts: Bool[Array, "count size size"]
    marks: Bool[Array, "count size size"]
    outline: Bool[Array, "count size size"]
    without_target: Float[Array, "count size size 3"]

    @property
    def shape_label(self) -> Int[AnyArray, " count"]:
        """The shape of the target, as an index into `data.SHAPES`."""
        return self.objects[:, 0, 0]

    @property
    def texture_label(self) -> Int[AnyArray, " count"]:
        """The texture of the target, as an index into `data.TEXTURES`."""
        return self.objects[:, 0, 1]

    @property
    def color_label(self) -> Int[AnyArray, " count"]:
        """The color of the target, as an index into `data.COLORS`."""
        return self.objects[:, 0, 2]

    @property
    def mask(self) -> Bool[AnyArray, "count size size"]:
        """The pixels of the target, where an ideal explanation of the class lies."""
        return self.instances == 1

    @property
    def part_mask(self) -> Bool[AnyArray, "count size size"]:
        """The pixels of the rim, the corners, the tips or the points of the target."""
        return self.mask & self.parts

    @property
    def texture_mask(self) -> Bool[AnyArray, "count size size"]:
        """The pixels of the texture of the target: all but the outline."""
        return self.mask & ~self.outline

    @property
    def color_mask(self) -> Bool[AnyArray, "count size size"]:
        """The pixels of the color of the target: neither outline nor dark marks."""
        return self.texture_mask & ~self.marks

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels, such as `"striped red star"`."""
        return tuple(f"{t} {c} {s}" for s in SHAPES for t in TEXTURES for c in COLORS)

    def concept(self, name: str) -> Bool[AnyArray, "count size size"]:
        """Returns the pixels of a concept, on the target and on distractors alike.

        They are what network dissection needs. `concept(name).any((1, 2))` says which
        images show the concept, which is what TCAV needs.

        Args:
            name: the concept, one of `data.SHAPES`, `data.PARTS`, `data.TEXTURES` or
                `data.COLORS`.

        Raises:
            ValueError: if there is no such concept.
        """
        is_object = self.instances > 0
        is_texture = is_object & ~self.outline
        if name in SHAPES:
            return is_object & self._has(0, SHAPES.index(name))
        if name in PARTS:
            return is_object & self.parts & self._has(0, PARTS.index(name))
        if name in TEXTURES:
            return is_texture & self._has(1, TEXTURES.index(name))
        if name in COLORS:
            return is_texture & ~self.marks & self._has(2, COLORS.index(name))
        names = ", ".join((*SHAPES, *PARTS, *TEXTURES, *COLORS))
        raise ValueError(f"There is no concept {name!r}. There are: {names}.")

    def _has(self, column: int, value: int) -> Bool[AnyArray, "count size size"]:
        """Whether the object at a pixel has a property; arbitrary on the background."""
        count = self.instances.shape[0]
        index = jnp.maximum(self.instances - 1, 0).reshape(count, -1)
        values = jnp.take_along_axis(self.objects[..., column], index, axis=1)
        return (values == value).reshape(self.instances.shape)


def shapes(
    key: Key,
    count: int,
    *,
    size: int = 64,
    distractors: int = 2,
    noise: float = 0.03,
) -> Shapes:
    """Draws images of objects, the outlined of which is to be classified.

    There are 36 classes, 4 shapes x 3 textures x 3 colors, all equally likely.
    Position, size, angle, hue and the background vary at random. The target is never
    covered, nor cut off by the border; distractors are not cut off either, and keep a
    distance from other objects if a free position is found.

    An ideal explanation finds the target, `Shapes.mask`: nothing on distractors, which
    tell nothing about the class, and nothing on the background. `Shapes.concept` has
    the pixels of every single concept.

    Time and memory grow with `count`: 200 kB for an image of 64 x 64 pixels.

    Args:
        key: the random key of the data. Image `i` depends on `fold_in(key, i)` alone.
        count: how many images to draw.
        size: height and width of the images, in pixels.
        distractors: how many objects there are besides the target. With fewer, the
            remaining ones, the target and the background stay the same.
        noise: standard deviation of the noise of pixels, before clipping to [0, 1].
            Up to 0.1 the image differs from `without_target` at every pixel of `mask`;
            with more, clipping makes both black or white at some pixels, one in 7,000
            of the mask at 0.2 and one in 8 at 1.

    Returns:
        Images, labels and masks.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if `count` or `size` is too small, or another number out of range.

    Example:
        >>> data = shapes(jax.random.key(0), 2)
        >>> data.images.shape, data.class_names[0]
        ((2, 64, 64, 3), 'plain red disk')
        >>> differs = (data.images != data.without_target).any(-1)
        >>> bool((differs == data.mask).all())
        True
    """
    size = checked_integer("size", size, 16, call="shapes")
    distractors = checked_integer("distractors", distractors, 0, call="shapes")
    noise = checked_share("noise", noise, call="shapes")
    return draw("shapes", _Scene(size, distractors, noise), key, count)


class _Object(NamedTuple):
    """Shape, position and color of an object.

    Attributes:
        kind: indices of shape, texture and color.
        center: x and y of the center, in pixels.
        radius: the radius in pixels.
        angle: the angle of rotation in radians.
        phase: the offset of the texture, in pixels.
        color: red, green and blue.
    """

    kind: Int[Array, " 3"]
    center: Float[Array, " 2"]
    radius: Float[Array, ""]
    angle: Float[Array, ""]
    phase: Float[Array, " 2"]
    color: Float[Array, " 3"]


class _Drawing(NamedTuple):
    """Which pixels belong to an object, and to its part, marks and outline."""

    inside: Bool[Array, "size size"]
    part: Bool[Array, "size size"]
    marks: Bool[Array, "size size"]
    outline: Bool[Array, "size size"]


@dataclasses.dataclass(frozen=True)
class _Scene:
    """Draws one image from a key."""

    size: int
    distractors: int
    noise: float

    def __call__(self, key: Key) -> Shapes:
        keys = jax.random.split(key, 3)
        objects = self._objects(keys[0])
        is_target = jnp.arange(1 + self.distractors) == 0
        drawings = jax.vmap(self._drawing)(objects, is_target)

        image = _background(keys[1], self.size)
        nowhere = jnp.zeros((self.size, self.size), bool)
        visible = _Drawing(nowhere, nowhere, nowhere, nowhere)
        instances = jnp.zeros((self.size, self.size), jnp.int32)
        without_target = image
        # The target comes last, so that nothing covers it.
        for k in (*range(1, 1 + self.distractors), 0):
            without_target = image
            new = _Drawing(*(leaf[k] for leaf in drawings))
            colors = _paint(objects.color[k], new)
            image = jnp.where(new.inside[..., None], colors, image)
            instances = jnp.where(new.inside, 1 + k, instances)
            pairs = zip(new, visible, strict=True)
            visible = _Drawing(*(jnp.where(new.inside, a, b) for a, b in pairs))

        grain = self.noise * jax.random.normal(keys[2], image.shape, jnp.float32)
        shape, texture, color = objects.kind[0]
        return Shapes(
            images=jnp.clip(image + grain, 0, 1),
            labels=(shape * len(TEXTURES) + texture) * len(COLORS) + color,
            objects=objects.kind,
            instances=instances,
            parts=visible.part,
            marks=visible.marks,
            outline=visible.outline,
            without_target=jnp.clip(without_target + grain, 0, 1),
        )

    def _objects(self, key: Key) -> _Object:
        """Draws all objects, each at a random position that earlier ones leave free."""
        number = 1 + self.distractors
        keys = each_folded(key, jnp.arange(number))
        # One call draws all random numbers of an object, since each is slow to compile.
        draws = jax.vmap(lambda k: _uniform(k, (10 + 2 * POSITIONS,)))(keys)
        kinds = jnp.array([len(SHAPES), len(TEXTURES), len(COLORS)], jnp.float32)
        kind = (draws[:, :3] * kinds[None, :]).astype(jnp.int32)
        radii = np.array([TARGET_RADII, *[DISTRACTOR_RADII] * self.distractors])
        low, high = jnp.asarray(self.size * radii.T, jnp.float32)
        radius = low + (high - low) * draws[:, 3]
        hue = jnp.array(HUES, jnp.float32)[kind[:, 2]]
        hue = hue + HUE_JITTER * (2 * draws[:, 4] - 1)
        return _Object(
            kind=kind,
            center=self._positions(draws[:, 10:].reshape(number, POSITIONS, 2), radius),
            radius=radius,
            angle=2 * np.pi * draws[:, 7],
            phase=PERIOD * self.size * draws[:, 8:10],
            color=rgb(hue, 0.75 + 0.25 * draws[:, 5], 0.75 + 0.2 * draws[:, 6]),
        )

    def _positions(
        self,
        draws: Float[Array, "objects positions 2"],
        radius: Float[Array, " objects"],
    ) -> Float[Array, "objects 2"]:
        """The first free position of each object, or else that of the least overlap."""
        margin = radius[:, None, None]
        positions = margin + (self.size - 2 * margin) * draws
        centers = []
        for k in range(len(draws)):
            room = jnp.zeros(POSITIONS, jnp.float32)
            for j, center in enumerate(centers):
                distance = jnp.linalg.norm(positions[k] - center[None, :], axis=1)
                free = distance - radius[k] - radius[j] - GAP * self.size
                room = jnp.minimum(room, free)
            centers.append(positions[k, jnp.argmax(room)])
        return jnp.stack(centers)

    def _drawing(self, item: _Object, is_target: Bool[Array, ""]) -> _Drawing:
        """The pixels of an object: those whose middle lies inside."""
        middle = jnp.arange(self.size, dtype=jnp.float32) + 0.5
        y, x = jnp.meshgrid(middle, middle, indexing="ij")
        dx, dy = x - item.center[0], y - item.center[1]
        cos, sin = jnp.cos(item.angle), jnp.sin(item.angle)
        u, v = cos * dx + sin * dy, cos * dy - sin * dx
        distances = signed_distances(u / item.radius, v / item.radius)
        distance = item.radius * distances[item.kind[0]]
        inside = distance < 0
        outline = inside & is_target & (distance > -OUTLINE * self.size)
        part_from = jnp.array(PART_FROM, jnp.float32)[item.kind[0]]
        part = inside & (jnp.hypot(u, v) > part_from * item.radius)
        period = PERIOD * self.size
        dark = marks(item.kind[1], u + item.phase[0], v + item.phase[1], period)
        return _Drawing(inside, part, inside & dark & ~outline, outline)


def _paint(color: Float[Array, " 3"], drawing: _Drawing) -> Float[Array, "size size 3"]:
    """The color that the object would have at every pixel."""
    paint = jnp.where(drawing.marks[..., None], DARK, 1.0) * color[None, None, :]
    return jnp.where(drawing.outline[..., None], 1.0, paint)


def _background(key: Key, size: int) -> Float[Array, "size size 3"]:
    """A dark gray with smooth random colors."""
    draws = _uniform(key, (1 + 6 * 6 * 3,))
    gray, colors = 0.2 + 0.25 * draws[0], 0.24 * (draws[1:] - 0.5)
    return gray + jax.image.resize(colors.reshape(6, 6, 3), (size, size, 3), "linear")


def _uniform(key: Key, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, jnp.float32)
