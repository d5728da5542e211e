"""How little change fools it, and is it noticed?"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxinterp as ji
from experiments.tour.page import Section, drawing
from experiments.tour.questions.which_pixels import decided
from experiments.tour.subject import Subject
from jaxinterp import plot

COUNT = 64
SHOWN = 4


def answer(subject: Subject, key: Any) -> Section:
    """Looks for the smallest change, and asks whether simplified images betray it.

    Args:
        subject: the model and its images.
        key: not used; the attack draws nothing.
    """
    del key
    adversarial, variables = ji.adversarial, subject.variables
    images = jnp.asarray(subject.images[:COUNT])
    target = decided(subject, images)
    attack = adversarial.deep_fool(subject.apply_fn, threat=adversarial.linf())
    result = attack(variables, images, target)
    is_fooled = np.asarray(result.is_adversarial)
    sizes = np.asarray(result.size)[is_fooled] * 255
    detect = jax.jit(adversarial.feature_squeezing(subject.apply_fn))
    attacked = jnp.asarray(np.asarray(result.inputs)[is_fooled])
    quality = adversarial.detection_quality(
        detect(variables, images), detect(variables, attacked)
    )
    names = [
        [subject.class_names[i] for i in np.asarray(classes[:SHOWN])]
        for classes in (target, decided(subject, result.inputs))
    ]
    figure = _before_and_after(images[:SHOWN], result.inputs[:SHOWN], names)
    return Section(
        f"For half of the images a change of {np.median(sizes):.1f} of 255 steps of "
        f"brightness at each pixel suffices ({is_fooled.mean():.0%} could be fooled). "
        f"Simplifying the images finds {quality.tpr_at_5_fpr:.0%} of the attacks at 5 "
        f"% false alarms{': no better than chance' * (quality.auroc < 0.6)}.",
        [
            drawing(
                figure,
                "The image and the decision, the change (times ten, gray is none), and "
                "the changed image with what the network decides now.",
            )
        ],
        "The change that was found is an upper bound: a better attack may need less. "
        "An attacker who knows the detector can avoid it.",
    )


def _before_and_after(before: Any, after: Any, names: list[list[str]]) -> Figure:
    before, after = np.asarray(before), np.asarray(after)
    rows = before, np.clip(0.5 + 10 * (after - before), 0, 1), np.clip(after, 0, 1)
    shown = np.stack(rows).reshape(-1, *before.shape[1:])
    titles = [*names[0], *["x 10"] * len(before), *names[1]]
    return plot.image_grid(shown, columns=len(before), titles=titles, size=1.6)
