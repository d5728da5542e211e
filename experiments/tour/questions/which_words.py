"""Which words mattered? A transformer that has to find one token."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Picture, Section
from jaxinterp import plot

COUNT = 200
SHOWN = 3


def answer(_: Any, key: Any) -> Section:
    """Explains texts of which the token that counts is known.

    Args:
        key: the random key of the texts.
    """
    apply_fn, variables, draw = ji.models.pretrained("evidence_transformer")
    data = draw(key, COUNT)
    attribute = ji.attribution.lrp(
        apply_fn, composite=ji.rules.attn_lrp(), at="*/embed*"
    )
    found = jax.jit(attribute)(variables, data.tokens, data.labels)
    relevance = np.asarray(found).sum(axis=-1)
    is_first = relevance.argmax(axis=1) == np.asarray(data.position)
    words = ["WHICH", *"ABCD", *"abcdefgh"]
    texts = [
        plot.tokens([words[t] for t in np.asarray(data.tokens[i])], relevance[i])
        for i in range(SHOWN)
    ]
    return Section(
        f"In {is_first.mean():.0%} of {COUNT} texts the token with the most relevance "
        "is the one that decides the answer: that after the marker WHICH.",
        [
            Picture(
                text.html,
                f"The answer is {'ABCD'[int(label)]}. Red tokens spoke for it, blue "
                "ones against it.",
            )
            for text, label in zip(texts, data.labels, strict=False)
        ],
        "Relevance of a token is not its meaning, and what a token does together with "
        "another is shared out between the two by a rule.",
    )
