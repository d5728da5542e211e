r"""Images with an artefact that predicts the label in training, not in the test set.

The honest task is to name the shape of one object. Every image also carries an artefact
whose color is a *cue*: with probability $\rho$ it is the label, and otherwise any
class, all equally likely. A network trained with $\rho$ near 1 may read the cue and
never look at the object, and nothing in its training accuracy tells.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxinterp.checks import check_choice, checked_integer, checked_share
from jaxinterp.data.examples import draw
from jaxinterp.data.geometry import SHAPES, rgb
from jaxinterp.data.shapes import AnyArray, shapes
from jaxinterp.keys import check_key
from jaxinterp.types import Key

Kind = Literal["patch", "tint", "border"]

# The patch lies in the lower left corner; lengths are fractions of the side.
PATCH = 0.15
MARGIN = 0.03
BORDER = 0.05


class Watermark(NamedTuple):
    """Images with an artefact, and what they were without it.

    Attributes:
        images: RGB in [0, 1], with the artefact.
        labels: the shape of the object, as an index into `data.SHAPES`.
        cue: the class whose color the artefact has; -1 if the image has no artefact.
        artefact: the pixels of the artefact; a tint covers the whole image, and a patch
            or border may cover a bit of the object.
        object_mask: the pixels of the object.
        clean: the images without the artefact.
    """

    images: Float[Array, "count size size 3"]
    labels: Int[AnyArray, " count"]
    cue: Int[Array, " count"]
    artefact: Bool[Array, "count size size"]
    object_mask: Bool[AnyArray, "count size size"]
    clean: Float[Array, "count size size 3"]


def watermark(
    key: Key,
    count: int,
    *,
    kind: Kind = "patch",
    correlation: float = 1.0,
    prevalence: float = 1.0,
    opacity: float = 0.5,
    size: int = 64,
) -> Watermark:
    r"""Draws images of one object each, with an artefact that may reveal the label.

    $$P(\text{cue} = \text{label}) = \rho + \frac{1 - \rho}{4}$$

    Train with a `correlation` near 1, test with 0: the accuracy of a network that reads
    the cue falls to 1/4, while one that looks at the object does not care. `clean` is
    the same images without any artefact. The four classes are those of `data.SHAPES`;
    textures, colors, place, size and angle vary at random and tell nothing.

    An ideal explanation of a network that reads the cue finds `artefact`, so it exposes
    a Clever Hans [lapuschkin2019unmasking]; that of an honest network finds
    `object_mask`.

    Args:
        key: the random key of the data. Image `i` depends on `key` and `i` alone; take
            another key for the test set.
        count: how many images to draw.
        kind: the artefact: `"patch"` is a square in the lower left corner, `"tint"`
            colors the whole image, `"border"` frames it.
        correlation: $\rho$, how strongly the cue depends on the label.
        prevalence: the fraction of images that carry an artefact.
        opacity: the opacity of the artefact: at 1 it hides what is under it. From 1e-4
            on, `images` differs from `clean` at every pixel of `artefact`; far below,
            float32 rounds the difference away at some pixels.
        size: height and width of the images, in pixels.

    Returns:
        The images, the labels, the artefacts and the images without them.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if there is no such kind, or a number is out of range.

    Example:
        >>> data = watermark(jax.random.key(0), 3, kind="border")
        >>> bool((data.cue == data.labels).all())
        True
        >>> differs = (data.images != data.clean).any(-1)
        >>> bool((differs == data.artefact).all())
        True
    """
    check_choice("kind", kind, get_args(Kind), call="watermark")
    correlation = checked_share("correlation", correlation, call="watermark")
    prevalence = checked_share("prevalence", prevalence, call="watermark")
    opacity = checked_share("opacity", opacity, call="watermark")
    if opacity == 0:
        raise ValueError("`opacity` is 0, so the artefact is invisible. Write 0.5.")
    size = checked_integer("size", size, 16, call="watermark")
    check_key("watermark", key)
    # The base images use the key itself, so that `clean` holds the images of `shapes`.
    base = shapes(key, count, size=size, distractors=0)
    labels = base.shape_label
    rates = jnp.array([correlation, prevalence], jnp.float32)
    own_key = jax.random.fold_in(key, _CUES)
    cues = draw("watermark", _DrawCue(), own_key, count, rates)
    cue = jnp.where(cues.is_label, labels, cues.other)
    cue = jnp.where(cues.is_present, cue, -1)

    pixels = _pixels(kind, size)
    artefact = pixels[None] & cues.is_present[:, None, None]
    hues = jnp.maximum(cue, 0).astype(jnp.float32) / len(SHAPES)
    # No channel is 0 or 1, so blending changes every pixel, whatever lies under it.
    ones = jnp.ones_like(hues)
    colors = rgb(hues, 0.8 * ones, 0.9 * ones)[:, None, None, :]
    blended = base.images + opacity * (colors - base.images)
    images = jnp.where(artefact[..., None], blended, base.images)
    return Watermark(images, labels, cue, artefact, base.mask, base.images)


# Folded into the key, it gives a key that no image is drawn with.
_CUES = 2**31 - 1


class _Cue(NamedTuple):
    """Whether an image has an artefact, and which class its color is."""

    is_label: Bool[Array, ""]
    is_present: Bool[Array, ""]
    other: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class _DrawCue:
    """Decides for one image whether its cue is the label."""

    def __call__(self, key: Key, rates: Float[Array, " 2"]) -> _Cue:
        # A draw lies in [0, 1), so the rates 0 and 1 mean never and always.
        draws = jax.random.uniform(key, (3,), jnp.float32)
        is_label, is_present = draws[:2] < rates
        other = (len(SHAPES) * draws[2]).astype(jnp.int32)
        return _Cue(is_label, is_present, other)


def _pixels(kind: Kind, size: int) -> Bool[Array, "size size"]:
    """Returns the pixels that an artefact covers."""
    pixels = jnp.zeros((size, size), bool)
    if kind == "tint":
        return ~pixels
    if kind == "border":
        width = max(1, round(BORDER * size))
        return (~pixels).at[width:-width, width:-width].set(False)
    margin, side = max(1, round(MARGIN * size)), max(2, round(PATCH * size))
    return pixels.at[-margin - side : -margin, margin : margin + side].set(True)
