"""Does it cheat? A network that reads a watermark, and is caught."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Section, drawing
from jaxinterp import plot
from jaxinterp.data import SHAPES

COUNT = 400
SHOWN = 5


def answer(_: Any, key: Any) -> Section:
    """Finds the suspected pixels, and pastes them into other images.

    Args:
        key: the random key of images and controls.
    """
    apply_fn, variables, _ = ji.models.pretrained("watermark_cnn")
    data = ji.data.watermark(key, COUNT)  # as in training: the patch tells the class
    images, labels = np.asarray(data.images), np.asarray(data.labels)
    attribute = jax.jit(ji.attribution.input_x_gradient(apply_fn))
    found = np.asarray(attribute(variables, images, labels))
    positive = np.maximum(found.sum(axis=-1), 0)
    mask = np.asarray(data.artefact)
    share = float((positive * mask).sum() / positive.sum())
    target = 0
    donor = jnp.asarray(images[labels == target][0])
    place = jnp.asarray(mask[labels == target][0])[..., None]
    clean = np.asarray(data.clean)[:128]
    result = ji.trust.artifact_effect(
        apply_fn,
        lambda batch, _: jnp.where(place, donor, batch),
        variables,
        clean,
        target,
        key=key,
    )
    pasted = np.where(place, donor, clean[:SHOWN])
    shown = np.concatenate([clean[:SHOWN], pasted])
    classes = np.asarray(jax.jit(apply_fn)(variables, shown)).argmax(axis=1)
    titles = [f"decides: {SHAPES[i]}" for i in classes]
    maps = plot.gallery(
        images[:3],
        {"input x gradient": found[:3]},
        labels=[SHAPES[i] for i in labels[:3]],
        percentile=99.5,
        size=1.5,
    )
    flips, controls = (
        float(np.asarray(part.mean)) for part in (result.flips, result.control_flips)
    )
    return Section(
        f"Yes. {share:.0%} of the positive relevance lies on the patch in the corner, "
        f"which covers {mask.mean():.0%} of the image; pasted into images of other "
        f"shapes it makes {flips:.0%} of them a {SHAPES[target]}, where other patches "
        f"do so in {controls:.0%}.",
        [
            drawing(
                maps, "Red pixels spoke for the class: part of them lies on the patch."
            ),
            drawing(
                plot.image_grid(shown, columns=SHOWN, titles=titles, size=1.7),
                "The same images without the patch, and below with one pasted in.",
            ),
        ],
        "Only what is suspected can be pasted. A network that passes this test may "
        "cheat by something else.",
    )
