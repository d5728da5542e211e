"""What does this unit look for? Made and found images."""

from __future__ import annotations

from typing import Any

import numpy as np

import jaxinterp as ji
from experiments.tour.page import Section, drawing
from experiments.tour.questions.which_pixels import last_convolution
from experiments.tour.subject import Subject
from jaxinterp import plot

UNITS = 6
STEPS = 128


def answer(subject: Subject, key: Any) -> Section:
    """Makes images for the units that vary most, and finds images for them.

    Args:
        subject: the model and its images.
        key: the random key of the first images.
    """
    site = last_convolution(subject)
    images = np.asarray(subject.images, np.float32)
    capture = ji.capture(subject.apply_fn, site)
    _, activations = capture(subject.variables, images[:64])
    spread = np.asarray(activations[site]).mean(axis=(1, 2)).std(axis=0)
    units = np.sort(np.argsort(-spread)[:UNITS])
    objective = ji.objectives.channel(site, units)
    made = ji.featurevis.maximize(
        subject.apply_fn,
        objective,
        subject.variables,
        key=key,
        shape=images.shape[1:],
        transforms=[ji.featurevis.jitter(max(images.shape[1] // 16, 1))],
        steps=STEPS,
        progress=False,
    )
    found = ji.featurevis.dataset_examples(
        subject.apply_fn, objective, subject.variables, [images], k=9, progress=False
    )
    names = [f"channel {unit}" for unit in units]
    figure = plot.feature_sheet(
        np.asarray(made.images), found, dataset=images, names=names
    )
    return Section(
        f"The {len(units)} channels of {site} that vary most look for textures, colors "
        "and edges like these: on the left an image that was made to excite the "
        "channel, on the right the real images that excite it most.",
        [drawing(figure, f"Channels of {site}: made on the left, found on the right.")],
        "A made image shows one thing that excites a channel, not all; a channel may "
        "answer to several unlike things, and its name is yours, not the network's.",
    )
