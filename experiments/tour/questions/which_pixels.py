"""Which pixels mattered? Attribution methods side by side."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Section, drawing
from experiments.tour.subject import Subject
from jaxinterp import plot
from jaxinterp.attribution import Attribution

SHOWN = 4


def methods(subject: Subject, coarse: bool = False) -> dict[str, Attribution]:
    """Returns attribution functions by name.

    Args:
        subject: the model.
        coarse: whether to leave out what hides parts of the image, which takes longer.
    """
    f, a, rules = subject.apply_fn, ji.attribution, ji.rules
    chosen = {
        "gradient": a.gradient(f),
        "integrated\ngradients": a.integrated_gradients(f, steps=16, baseline=0.5),
        "SmoothGrad": a.smooth(a.gradient(f), samples=16),
        "guided\nbackprop": a.guided_backprop(f),
        "LRP\nepsilon plus flat": a.lrp(f, composite=rules.epsilon_plus_flat()),
        "LRP\nepsilon gamma box": a.lrp(f, composite=rules.epsilon_gamma_box(0, 1)),
        "Grad-CAM": a.grad_cam(f, at=last_convolution(subject)),
    }
    if not coarse:
        height, width = subject.images.shape[1:3]
        patch = max(min(height, width) // 8, 1)
        segments = ji.perturbation.grid_segments((height, width), patch)
        hidden = {"baseline": 0.5, "segments": segments}
        chosen |= {
            "occlusion": a.occlusion(f, size=patch, baseline=0.5),
            "Shapley\nvalues": a.shapley(f, samples=8, **hidden),
            "LIME": a.lime(f, samples=256, **hidden),
        }
    return chosen


def last_convolution(subject: Subject) -> str:
    """Returns the address of the convolution nearest to the outputs."""
    graph = ji.trace(subject.apply_fn, subject.variables, subject.images[:1])
    convolutions = [n.address for n in graph.nodes if n.role.value == "convolution"]
    if not convolutions:
        raise ValueError("The model has no convolution, whose channels could be shown.")
    return convolutions[-1]


def decided(subject: Subject, images: Any) -> Any:
    """Returns the class that the model decides for, `(batch,)`."""
    return jax.jit(subject.apply_fn)(subject.variables, images).argmax(axis=1)


def answer(subject: Subject, key: Any) -> Section:
    """Explains a few images by every method.

    Args:
        subject: the model and its images.
        key: the random key of methods that draw.
    """
    images = jnp.asarray(subject.images[:SHOWN])
    target = decided(subject, images)
    found = {
        name: np.asarray(jax.jit(attribute)(subject.variables, images, target, key))
        for name, attribute in methods(subject).items()
    }
    ranks = [_ranks(one) for one in found.values()]
    pairs = np.corrcoef(np.stack([np.concatenate(r) for r in ranks]))
    agreement = pairs[np.triu_indices(len(pairs), 1)]
    names = [subject.class_names[i] for i in np.asarray(target)]
    figure = plot.gallery(
        images, found, labels=[n.replace(" ", "\n") for n in names], percentile=99.5
    )
    caption = (
        "Each row is an image and the class that the network decided for, each column "
        "a method. Red pixels spoke for the class, blue ones against it."
    )
    return Section(
        f"{len(found)} methods, one answer each; they agree only partly: the order in "
        f"which two of them put the pixels correlates by {agreement.min():.2f} to "
        f"{agreement.max():.2f}, {np.median(agreement):.2f} in the middle.",
        [drawing(figure, caption, is_wide=True)],
        "A map says where the score is sensitive, or what it was shared out to, by the "
        "definition of its method. It does not say what the network saw there, nor "
        "whether the map is right: that is the next question.",
    )


def _ranks(attributions: np.ndarray) -> list[np.ndarray]:
    """The rank of every pixel within its image."""
    magnitudes = np.abs(attributions.sum(axis=-1)).reshape(len(attributions), -1)
    return [row.argsort().argsort().astype(float) for row in magnitudes]
