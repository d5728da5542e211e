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
    attribute = ji.attribution.integrated_gradients(
        apply_fn, at="Transformer/token_embedding", score="margin", steps=24
    )
    found = jax.jit(attribute)(variables, data.tokens, data.labels)
    relevance = np.asarray(found).sum(axis=-1)
    order, position = relevance.argsort(axis=1), np.asarray(data.position)[:, None]
    is_first = (order[:, -1:] == position).mean()
    is_among = (order[:, -2:] == position).any(axis=1).mean()
    words = ["WHICH", *"ABCD", *"abcdefgh"]
    texts = [
        plot.tokens([words[t] for t in np.asarray(data.tokens[i])], relevance[i])
        for i in range(SHOWN)
    ]
    return Section(
        "The token after WHICH decides the answer. It has the most relevance "
        f"in {is_first:.0%} of {COUNT} texts, and is among the first two in "
        f"{is_among:.0%}; the other is mostly the marker.",
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
