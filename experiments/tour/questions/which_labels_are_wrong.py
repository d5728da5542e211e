"""Which labels are wrong, and how good is it really?"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Section, drawing
from experiments.tour.subject import Subject
from jaxinterp import plot

RATE = 0.03
SHOWN = 8


def answer(subject: Subject, key: Any) -> Section:
    """Makes some labels wrong, finds them, and says what the accuracy is worth.

    Args:
        subject: the model and its images.
        key: the random key of the wrong labels.
    """
    names, images = subject.class_names, np.asarray(subject.images)
    noisy = ji.data.mislabeled(
        key, np.asarray(subject.labels), rate=RATE, classes=len(names)
    )
    given, is_wrong = np.asarray(noisy.labels), np.asarray(noisy.is_corrupted)
    logits = jax.jit(subject.apply_fn)(subject.variables, images)
    probabilities = np.asarray(jax.nn.softmax(logits))
    issues = ji.labels.find_label_issues(given, probabilities)
    flagged = np.asarray(issues.indices)
    measured = float((probabilities.argmax(axis=1) == given).mean())
    true = float((probabilities.argmax(axis=1) == np.asarray(subject.labels)).mean())
    rate = float(is_wrong.mean())
    bounds = ji.labels.accuracy_under_noise(measured, rate, len(names))
    n_found = int(is_wrong[flagged].sum())
    titles = [
        f"given: {names[given[i]]}\nguess: {names[issues.predicted[i]]}"
        + ("" if is_wrong[i] else "\n(as it was)")
        for i in flagged[:SHOWN]
    ]
    pictures = []
    if len(flagged):
        figure = plot.image_grid(
            images[flagged[:SHOWN]], columns=4, titles=titles, size=1.7
        )
        caption = f"The {len(titles)} most suspicious labels."
        if not is_wrong[flagged[:SHOWN]].all():
            caption += " Those with (as it was) had not been changed by us."
        pictures.append(drawing(figure, caption))
    return Section(
        f"We made {int(is_wrong.sum())} of {len(given)} labels wrong; {len(flagged)} "
        f"were flagged, among them {n_found} of ours. With these labels the network "
        f"measures {measured:.1%}, which means a true accuracy between "
        f"{bounds.lower:.1%} and {bounds.upper:.1%}; it is {true:.1%}.",
        pictures,
        "A flag is a label for somebody to look at, not a verdict: what the network "
        "confuses by itself is flagged too. The bounds hold whatever the errors depend "
        "on, if the share of wrong labels is known.",
    )
