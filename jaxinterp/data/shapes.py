"""Images of flat objects of which one is asked for, with a mask for every concept.

Every image has one *target*, the only object with a white outline and larger than all
others, and some *distractors*. The class is what the target is: its shape, texture and
color. Those of the distractors are drawn independently of it, so only the pixels of the
target tell the class.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

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

# `jax.tree.map(np.asarray, data)` is as good as the data themselves.
AnyArray = Array | np.ndarray

# All lengths are fractions of the side of the image.
TARGET_RADII = (0.22, 0.3)
DISTRACTOR_RADII = (0.1, 0.15)
OUTLINE = 0.027
PERIOD = 0.09
GAP = 0.02
# A distractor takes the first of so many places that touches no other object.
PLACES = 32
# How far a hue strays; red, green and blue stay apart.
HUE_JITTER = 0.05
# How dark the marks of a texture are, against the color they lie on.
DARK = 0.25


class Shapes(NamedTuple):
    """Images, labels, and where every concept is seen.

    Attributes:
        images: RGB in [0, 1].
        labels: the class of the target, `(shape * 3 + texture) * 3 + color`.
        objects: shape, texture and color of every object, as places in
            `data.SHAPES`, `data.TEXTURES`, `data.COLORS`. The target is the first.
        instances: the object that is seen at a pixel: 0 is the background, 1 the
            target, and `k` the object `objects[:, k - 1]`.
        parts: where an object shows its named part, see `data.PARTS`.
        marks: where an object shows the dark marks of its texture.
        outline: the outline of the target.
        without_target: the images, had the target been left out. All that differs is
            `mask` (see `noise` of `shapes`), so this is the counterfactual and the
            ideal baseline.
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
        """The shape of the target, as a place in `data.SHAPES`."""
        return self.objects[:, 0, 0]

    @property
    def texture_label(self) -> Int[AnyArray, " count"]:
        """The texture of the target, as a place in `data.TEXTURES`."""
        return self.objects[:, 0, 1]

    @property
    def color_label(self) -> Int[AnyArray, " count"]:
        """The color of the target, as a place in `data.COLORS`."""
        return self.objects[:, 0, 2]

    @property
    def mask(self) -> Bool[AnyArray, "count size size"]:
        """The target: where an ideal explanation of the class lies."""
        return self.instances == 1

    @property
    def part_mask(self) -> Bool[AnyArray, "count size size"]:
        """The rim, the corners, the tips or the points of the target."""
        return self.mask & self.parts

    @property
    def texture_mask(self) -> Bool[AnyArray, "count size size"]:
        """Where the texture of the target is seen: all of it but the outline."""
        return self.mask & ~self.outline

    @property
    def color_mask(self) -> Bool[AnyArray, "count size size"]:
        """Where the color of the target is seen: neither outline nor dark marks."""
        return self.texture_mask & ~self.marks

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels, such as `"striped red star"`."""
        return tuple(f"{t} {c} {s}" for s in SHAPES for t in TEXTURES for c in COLORS)

    def concept(self, name: str) -> Bool[AnyArray, "count size size"]:
        """Returns where a concept is seen, on the target and on distractors alike.

        These are the labels of network dissection, and `.any((1, 2))` of them the
        examples with a concept that TCAV asks for.

        Args:
            name: one of `data.SHAPES`, `data.PARTS`, `data.TEXTURES` or `data.COLORS`.

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
        known = ", ".join((*SHAPES, *PARTS, *TEXTURES, *COLORS))
        raise ValueError(f"There is no concept {name!r}. There are: {known}.")

    def _has(self, column: int, value: int) -> Bool[AnyArray, "count size size"]:
        """Whether the object at a pixel has a property; the background answers too."""
        count = self.instances.shape[0]
        which = jnp.maximum(self.instances - 1, 0).reshape(count, -1)
        values = jnp.take_along_axis(self.objects[..., column], which, axis=1)
        return (values == value).reshape(self.instances.shape)


def shapes(
    key: Any,
    count: int,
    *,
    size: int = 64,
    distractors: int = 2,
    noise: float = 0.03,
) -> Shapes:
    """Draws images of objects, of which the outlined one is to be named.

    There are 36 classes, 4 shapes x 3 textures x 3 colors, all equally likely. Place,
    size, angle, hue and the background vary at random. The target is never covered,
    nor cut off by the border; distractors are not cut off either, and keep a distance
    from other objects wherever a place for them is found.

    An ideal explanation finds the target, `Shapes.mask`: nothing on distractors, which
    tell nothing about the class, and nothing on the background. What was learned of
    each concept has a map of its own, `Shapes.concept`.

    Time and memory grow with `count`: 200 kB an image of 64 pixels.

    Args:
        key: a key of `jax.random`. Image `i` depends on `fold_in(key, i)` alone.
        count: number of images.
        size: side of the images, in pixels.
        distractors: number of objects besides the target. Fewer of them leave the
            others, the target and the background as they were.
        noise: standard deviation of the noise of pixels, before clipping to [0, 1].
            Up to 0.1 the image differs from `without_target` on `mask`, all of it; with
            more, clipping makes both black or white at some pixels, one in 7,000 of the
            mask at 0.2 and one in 8 at 1.

    Returns:
        Images, labels and masks.

    Raises:
        TypeError: if there is no key.
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
    """What is drawn where; lengths in pixels, and `center` is x, y."""

    kind: Int[Array, " 3"]
    center: Float[Array, " 2"]
    radius: Float[Array, ""]
    angle: Float[Array, ""]
    phase: Float[Array, " 2"]
    color: Float[Array, " 3"]


class _Drawing(NamedTuple):
    """Where an object and its details are, on all pixels."""

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

    def __call__(self, key: Any) -> Shapes:
        keys = jax.random.split(key, 3)
        items = self._objects(keys[0])
        is_target = jnp.arange(1 + self.distractors) == 0
        drawings = jax.vmap(self._drawing)(items, is_target)

        canvas = _background(keys[1], self.size)
        nowhere = jnp.zeros((self.size, self.size), bool)
        seen = _Drawing(nowhere, nowhere, nowhere, nowhere)
        instances = jnp.zeros((self.size, self.size), jnp.int32)
        without_target = canvas
        # The target comes last, so that nothing covers it.
        for k in (*range(1, 1 + self.distractors), 0):
            without_target = canvas
            new = _Drawing(*(leaf[k] for leaf in drawings))
            canvas = jnp.where(
                new.inside[..., None], _paint(items.color[k], new), canvas
            )
            instances = jnp.where(new.inside, 1 + k, instances)
            pairs = zip(new, seen, strict=True)
            seen = _Drawing(*(jnp.where(new.inside, a, b) for a, b in pairs))

        grain = self.noise * jax.random.normal(keys[2], canvas.shape, jnp.float32)
        shape, texture, color = items.kind[0]
        return Shapes(
            images=jnp.clip(canvas + grain, 0, 1),
            labels=(shape * len(TEXTURES) + texture) * len(COLORS) + color,
            objects=items.kind,
            instances=instances,
            parts=seen.part,
            marks=seen.marks,
            outline=seen.outline,
            without_target=jnp.clip(without_target + grain, 0, 1),
        )

    def _objects(self, key: Any) -> _Object:
        """Draws all objects at random, each at a place that those before leave free."""
        number = 1 + self.distractors
        keys = each_folded(key, jnp.arange(number))
        # One call for all that is random about an object: each call is slow to compile.
        draws = jax.vmap(lambda k: _uniform(k, (10 + 2 * PLACES,)))(keys)
        kinds = jnp.array([len(SHAPES), len(TEXTURES), len(COLORS)], jnp.float32)
        kind = (draws[:, :3] * kinds[None, :]).astype(jnp.int32)
        radii = np.array([TARGET_RADII, *[DISTRACTOR_RADII] * self.distractors])
        low, high = jnp.asarray(self.size * radii.T, jnp.float32)
        radius = low + (high - low) * draws[:, 3]
        hue = jnp.array(HUES, jnp.float32)[kind[:, 2]]
        hue = hue + HUE_JITTER * (2 * draws[:, 4] - 1)
        return _Object(
            kind=kind,
            center=self._places(draws[:, 10:].reshape(number, PLACES, 2), radius),
            radius=radius,
            angle=2 * np.pi * draws[:, 7],
            phase=PERIOD * self.size * draws[:, 8:10],
            color=rgb(hue, 0.75 + 0.25 * draws[:, 5], 0.75 + 0.2 * draws[:, 6]),
        )

    def _places(
        self,
        draws: Float[Array, "objects places 2"],
        radius: Float[Array, " objects"],
    ) -> Float[Array, "objects 2"]:
        """Takes the first free place of each; where none is, that of least overlap."""
        margin = radius[:, None, None]
        places = margin + (self.size - 2 * margin) * draws
        centers = []
        for k in range(len(draws)):
            room = jnp.zeros(PLACES, jnp.float32)
            for j, center in enumerate(centers):
                distance = jnp.linalg.norm(places[k] - center[None, :], axis=1)
                free = distance - radius[k] - radius[j] - GAP * self.size
                room = jnp.minimum(room, free)
            centers.append(places[k, jnp.argmax(room)])
        return jnp.stack(centers)

    def _drawing(self, item: _Object, is_target: Bool[Array, ""]) -> _Drawing:
        """Finds the pixels of an object; a pixel is where its middle is."""
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
    """Colors every pixel as if the object were there."""
    paint = jnp.where(drawing.marks[..., None], DARK, 1.0) * color[None, None, :]
    return jnp.where(drawing.outline[..., None], 1.0, paint)


def _background(key: Any, size: int) -> Float[Array, "size size 3"]:
    """A dim gray with soft colored clouds."""
    draws = _uniform(key, (1 + 6 * 6 * 3,))
    gray, clouds = 0.2 + 0.25 * draws[0], 0.24 * (draws[1:] - 0.5)
    return gray + jax.image.resize(clouds.reshape(6, 6, 3), (size, size, 3), "linear")


def _uniform(key: Any, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, jnp.float32)
