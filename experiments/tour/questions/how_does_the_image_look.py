"""How does the image look at each layer? Images that a layer cannot tell from it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Section, drawing
from experiments.tour.subject import Subject
from jaxinterp import plot

SHOWN = 3
LAYERS = 4
STEPS = 96


def layers(subject: Subject) -> list[str]:
    """Returns the addresses of a few convolutions from first to last."""
    graph = ji.trace(subject.apply_fn, subject.variables, subject.images[:1])
    all_of_them = [n.address for n in graph.nodes if n.role.value == "convolution"]
    places = np.linspace(0, len(all_of_them) - 1, min(LAYERS, len(all_of_them)))
    return [all_of_them[round(place)] for place in places]


def answer(subject: Subject, key: Any) -> Section:
    """Makes images with the activations that a few images have at each layer.

    Args:
        subject: the model and its images.
        key: the random key of the first images.
    """
    images = np.asarray(subject.images[:SHOWN], np.float32)
    rows, missing = {"the image": images}, []
    for site in layers(subject):
        problem = ji.featurevis.invert(
            subject.apply_fn, site, subject.variables, images
        )
        made = ji.featurevis.maximize(
            subject.apply_fn,
            variables=subject.variables,
            key=key,
            steps=STEPS,
            progress=False,
            **problem._asdict(),
        )
        rows[site.split("/")[-1]] = np.asarray(made.images)
        difference = np.abs(made.images - images).mean()
        missing.append(float(jax.numpy.asarray(difference)))
    shown = np.stack(list(rows.values()), axis=1).reshape(-1, *images.shape[1:])
    figure = plot.image_grid(shown, columns=len(rows), titles=[*rows] * SHOWN, size=1.5)
    return Section(
        "The first layer keeps almost everything, the last one little more than it "
        f"needs: an image made from it alone is off by {missing[-1]:.2f} a pixel, one "
        f"made from the first layer by {missing[0]:.2f} (of 1).",
        [
            drawing(
                figure,
                "From left to right the image, and images made from noise that have "
                "the activations of the image at one layer after another.",
                is_wide=True,
            )
        ],
        "What the made image lacks, the layer may still hold where the search did not "
        "find it; what it shows, the layers after it need not use.",
    )
