"""Which concepts does it use? Shape, texture and color of the objects."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Picture, Section
from jaxinterp.data import COLORS, SHAPES, TEXTURES

TARGET = "striped green star"
SITE = "CNN/stage3_1_relu"
COUNT = 700
EXAMPLES = 40


def answer(_: Any, key: Any) -> Section:
    """Tests directions of concepts at the last convolution.

    Args:
        key: the random key of the images and the tests.
    """
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = draw(key, COUNT)
    images, labels = np.asarray(data.images), np.asarray(data.labels)
    target = list(data.class_names).index(TARGET)
    own = target // 9, target // 3 % 3, target % 3
    concepts, used = {}, set()
    for names, values, mine in zip(
        (SHAPES, TEXTURES, COLORS),
        (labels // 9, labels // 3 % 3, labels % 3),
        own,
        strict=True,
    ):
        for i in (mine, (mine + 1) % len(names)):
            concepts[names[i]] = images[:500][values[:500] == i][:EXAMPLES]
        used.add(names[mine])
    result = ji.concepts.tcav(
        apply_fn,
        SITE,
        variables,
        draw(jax.random.key(7), 400).images[:32],
        concepts,
        images[500:],
        key=key,
        target=target,
        nulls=199,
    )
    p_values = np.asarray(result.p_values)
    found = {c for c, p in zip(result.concepts, p_values, strict=True) if p < 0.05}
    return Section(
        f"The class {TARGET} reacts to {_listed(found & used)}"
        + (f", and to {_listed(found - used)} as well" if found - used else "")
        + "; "
        + (f"{_listed(used - found)} could not be shown." if used - found else "")
        + ("the other concepts could not be shown." if not used - found else ""),
        [
            Picture(
                result._repr_html_(),
                "For each concept how the score of the class changes towards it, and "
                "the probability of so large an effect for random examples.",
                is_wide=True,
            )
        ],
        "A concept is what its examples have in common, which may be more than you "
        "meant. That the score is sensitive to a concept does not say that the network "
        "needs it.",
    )


def _listed(names: set[str]) -> str:
    return " and ".join(sorted(names)) or "nothing"
