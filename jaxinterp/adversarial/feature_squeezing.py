"""Detection by what a model makes of a simplified image.

Attacked images change their class when small details are taken away, most clean ones do
not. Images are `(batch, height, width, channels)`, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.adversarial.contract import logits_of
from jaxinterp.adversarial.detection import Detector
from jaxinterp.checks import check_function, checked_integer, is_traced, shown
from jaxinterp.tracing.mistakes import call_model
from jaxinterp.types import ApplyFn, Images, Variables

Squeezer = Callable[[Any], Any]

_MOST_BITS = 24


def bit_depth(bits: int) -> Squeezer:
    r"""Returns the squeezer that keeps a few bits of each entry.

    $$\mathrm{round}(x (2^b - 1)) / (2^b - 1)$$

    Args:
        bits: the number of bits $b$: 5 for color images, 1 for images of digits.

    Raises:
        TypeError: when called, if the images are not of real numbers.
        ValueError: if `bits` is not positive, or larger than 24, more than single
            precision has.

    References:
        Xu et al., 2018, section III.A [xu2018feature].

    Example:
        >>> bit_depth(1)(jnp.array([0.2, 0.9])).tolist()
        [0.0, 1.0]
    """
    bits = checked_integer("bits", bits, 1, call="bit_depth")
    if bits > _MOST_BITS:
        raise ValueError(f"bit_depth: `bits` must be at most {_MOST_BITS}: {bits}.")
    levels = float(2**bits - 1)

    def squeeze(images: Images) -> Images:
        images = _checked_images("bit_depth", images)
        return jnp.round(images * levels) / levels

    return squeeze


def median_filter(size: int = 2) -> Squeezer:
    """Returns the squeezer that replaces a pixel by the median around it.

    Each channel alone. The border is reflected, the edge pixels included. Of an even
    number of pixels the larger of the two middle ones is taken, and a window of even
    size reaches one pixel farther up and to the left: SciPy's `ndimage.median_filter`.

    Args:
        size: the height and width of the window, in pixels.

    Raises:
        TypeError: when called, if the images are not of real numbers.
        ValueError: if `size` is not positive; when called, if it is larger than the
            image, or the images have no four axes.

    References:
        Xu et al., 2018, section III.B [xu2018feature].

    Example:
        >>> spot = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(1.0)
        >>> float(median_filter(3)(spot).max())
        0.0
    """
    size = checked_integer("size", size, 1, call="median_filter")
    before, after = size // 2, size - 1 - size // 2

    def squeeze(images: Images) -> Images:
        images = _checked_images("median_filter", images)
        if images.ndim != 4 or min(images.shape[1:3]) < size:
            raise ValueError(
                "median_filter() takes images (batch, height, width, channels) of at "
                f"least {size}x{size} pixels, and was given {tuple(images.shape)}."
            )
        _, height, width, _ = images.shape
        pads = ((0, 0), (before, after), (before, after), (0, 0))
        padded = jnp.pad(images, pads, mode="symmetric")
        shifted = [
            padded[:, row : row + height, column : column + width]
            for row in range(size)
            for column in range(size)
        ]
        return jnp.sort(jnp.stack(shifted), axis=0)[size * size // 2]

    return squeeze


def feature_squeezing(
    apply_fn: ApplyFn, *, squeezers: Sequence[Squeezer] | None = None
) -> Detector:
    r"""Detects attacks by how much probabilities change when an image is simplified.

    $$\max_i \| p(x) - p(q_i(x)) \|_1$$

    over the squeezers $q_i$, with the softmax probabilities $p$. It is between 0 and 2.
    An attack that knows of the squeezers can keep it low.

    Cost: a forward pass, and one for each squeezer.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of logits
            `(batch, classes)`.
        squeezers: functions from images to images; by default `bit_depth(5)` and
            `median_filter(2)`, the authors' for color images but for the filter of
            non-local means.

    Returns:
        A function from a batch to the score of each example; a higher one is more
        suspicious. The authors' threshold lets 5 % of clean images be reported.

    Raises:
        TypeError: if squeezers are no functions in a list; when called, if the inputs
            are not of real numbers.
        ValueError: if there are no squeezers; when called, if the inputs are not in
            [0, 1], a squeezer changes their shape, or the outputs are not `(batch,
            classes)`.

    References:
        Xu et al., 2018 [xu2018feature].

    Example:
        >>> model = lambda w, x: w * x.reshape(len(x), -1)
        >>> detect = feature_squeezing(model, squeezers=[bit_depth(1)])
        >>> images = jnp.array([0.0, 1.0, 0.4, 1.0]).reshape(2, 1, 2, 1)
        >>> [round(score, 4) for score in detect(2.0, images).tolist()]
        [0.0, 0.2245]
    """
    squeezers = (bit_depth(5), median_filter(2)) if squeezers is None else squeezers
    if not isinstance(squeezers, Sequence):
        raise TypeError(
            "feature_squeezing: `squeezers` are functions in a list, and are "
            f"{shown(squeezers)}. Write for example `squeezers=[bit_depth(5)]`."
        )
    for squeezer in squeezers:
        example = "squeeze(images) -> images"
        check_function("squeezers", squeezer, example, call="feature_squeezing")
    if not squeezers:
        raise ValueError(
            "feature_squeezing() compares an image with simplified ones, and "
            "`squeezers` is empty. Write for example `squeezers=[bit_depth(5)]`."
        )

    def detect(variables: Variables, inputs: Images) -> Any:
        def probabilities(images: Images) -> Any:
            outputs = logits_of(call_model(apply_fn, variables, images))
            if getattr(outputs, "ndim", None) != 2:
                raise ValueError(
                    "feature_squeezing() compares probabilities of classes, and the "
                    f"model returns {jax.tree.map(jnp.shape, outputs)}, not (batch, "
                    "classes)."
                )
            wide = jnp.promote_types(outputs.dtype, jnp.float32)
            return jax.nn.softmax(outputs.astype(wide), axis=1)

        inputs = _checked_images("feature_squeezing", inputs)
        _check_range(inputs)
        clean = probabilities(inputs)
        simpler = [_of_shape(squeeze(inputs), inputs) for squeeze in squeezers]
        changes = [probabilities(images) - clean for images in simpler]
        return jnp.abs(jnp.stack(changes)).sum(axis=2).max(axis=0)

    return detect


def _checked_images(call: str, images: Any) -> Any:
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{call}() takes images of real numbers in [0, 1], and was given "
            f"{images.dtype}{list(images.shape)}.\nWrite "
            "`images.astype(jnp.float32) / 255`, in the range the model expects."
        )
    return images


def _check_range(images: Any) -> None:
    """Raises if images lie elsewhere, where fewer bits take nothing away."""
    if is_traced(images) or not images.size:
        return
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"feature_squeezing: images lie in [0, 1], and these from {low:g} to "
            f"{high:g}.\nGive them in [0, 1], and let the model scale them, "
            "`lambda v, x: apply_fn(v, 255 * x)`."
        )


def _of_shape(simpler: Any, images: Any) -> Any:
    if jnp.shape(simpler) != images.shape:
        raise ValueError(
            f"feature_squeezing: a squeezer returned the shape {jnp.shape(simpler)} "
            f"for images {images.shape}. It simplifies images, and keeps their shape."
        )
    return simpler
