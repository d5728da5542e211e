"""DeepDream: what excites a layer in a photograph, made visible in the photograph.

Gradient ascent on the photograph itself, with gradients divided by their mean size, at
several sizes (octaves) one after another, each starting from what the smaller one
added.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxinterp.checks import checked_integer, checked_real
from jaxinterp.featurevis.images import checked_images
from jaxinterp.featurevis.optimize.maximize import maximize
from jaxinterp.featurevis.parametrizations.from_image import from_image
from jaxinterp.featurevis.parametrizations.pixels import pixels
from jaxinterp.featurevis.transforms.roll import roll
from jaxinterp.objectives.objective import Objective
from jaxinterp.rules.composite import DERIVATIVE, Composite
from jaxinterp.types import ApplyFn, Images, Key, Variables


def deepdream(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Variables,
    images: Images,
    *,
    key: Key,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    step_size: float = 1.5 / 255,
    jitter: int = 32,
    composite: Composite = DERIVATIVE,
    progress: bool = True,
) -> Images:
    r"""Changes images so that they drive an objective, from coarse to fine.

    $$x \leftarrow x + \eta\, g / \overline{|g|}, \qquad g = \nabla_x s(x)$$

    at each of several sizes of the image $x$, called octaves, where $s$ is the score
    of the objective and $\overline{|g|}$ the mean over an image. What was added at one
    size is enlarged and added to the image at the next, so that the image keeps its
    own detail. Time grows with the pixels of all octaves; each octave compiles a
    program.

    Args:
        apply_fn: the model. It has to take images of other sizes, at least up to the
            sites of the objective.
        objective: the objective to drive, of one unit; `layer(site)` for what excites
            a whole layer, as in the publication.
        variables: the weights of the model.
        images: the images to start from, `(batch, height, width, channels)` in [0, 1].
        key: the random key from which the shifts by `jitter` are drawn.
        octaves: the number of sizes, of which the last is that of the images.
        octave_scale: the ratio of each size to the next smaller one.
        steps: the number of steps at each size.
        step_size: $\eta$, the mean absolute change of an entry of the image in a step.
        jitter: the largest number of pixels by which an image is rolled along both axes
            before each step, and back after it, so that no grid shows.
        composite: the rules of the backward pass; the derivative by default.
        progress: whether to show progress bars.

    Returns:
        Images in the shape of `images`, in [0, 1].

    Raises:
        ValueError: if the images have other axes or another range, a number is of
            another kind or negative, an octave would have no pixels, the objective has
            several units, or as `maximize` does.

    References:
        Mordvintsev et al., 2015 [mordvintsev2015inceptionism].

    Example:
        >>> from jaxinterp.featurevis import layer
        >>> apply_fn = lambda w, x: jnp.tanh(x - 0.4)
        >>> dream = deepdream(apply_fn, layer("tanh"), None,
        ...                   jnp.full((1, 16, 16, 3), 0.5), key=jax.random.key(0),
        ...                   octaves=2, jitter=2)
        >>> bool((dream > 0.5).all())
        True
    """
    images = jnp.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            "deepdream() takes images (batch, height, width, channels), and was given "
            f"{images.shape}. A single image is `images[None]`."
        )
    images = checked_images(images, images.shape[1:])
    step_size = checked_real("step_size", step_size, 0, call="deepdream")
    jitter = checked_integer("jitter", jitter, 0, call="deepdream")
    change = jnp.zeros_like(images)
    for size in _sizes(images.shape[1:3], octaves, octave_scale):
        small = _resized(images, size)
        start = jnp.clip(small + _resized(change, size), 0, 1)
        shape = (*size, images.shape[-1])
        dream = maximize(
            apply_fn,
            objective,
            variables,
            key=key,
            parametrization=from_image(pixels(shape, squash="clip"), start),
            transforms=[roll(min(jitter, *size))],
            steps=steps,
            count=len(images),
            optimizer=optax.chain(_MEAN_SIZE, optax.sgd(step_size)),
            composite=composite,
            progress=progress,
        ).images
        if len(dream) != len(images):
            raise ValueError(
                "deepdream() takes an objective of one unit, and this one has "
                f"{len(dream) // len(images)}. Call it for each of them, or add their "
                "objectives up."
            )
        change = dream - small
    return dream


def _sizes(
    size: tuple[int, int], octaves: int, octave_scale: float
) -> list[tuple[int, int]]:
    """The sizes of all octaves, the smallest first."""
    octaves = checked_integer("octaves", octaves, 1, call="deepdream")
    octave_scale = checked_real("octave_scale", octave_scale, 1, call="deepdream")
    factors = [octave_scale**-i for i in reversed(range(octaves))]
    sizes = [(round(size[0] * f), round(size[1] * f)) for f in factors]
    if min(sizes[0]) < 1:
        raise ValueError(
            f"deepdream: {octaves} octaves of {octave_scale:g} leave nothing of images "
            f"of {size[0]}x{size[1]}. Take fewer."
        )
    return sizes


def _resized(images: Any, size: tuple[int, int]) -> Any:
    shape = (images.shape[0], *size, images.shape[-1])
    return jax.image.resize(images, shape, "linear")


def _by_mean_size(gradients: Any, params: Any) -> Any:
    """Divides the gradient of each image by its mean absolute value."""

    def quotient(g: Any) -> Any:
        size = jnp.abs(g).mean(axis=tuple(range(1, g.ndim)), keepdims=True)
        return g / jnp.where(size > 0, size, 1)

    return jax.tree.map(quotient, gradients)


_MEAN_SIZE = optax.stateless(_by_mean_size)
