"""Which training examples mattered? Influence on a network of handwritten digits."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Section, drawing
from jaxinterp import plot

QUERIES = 3
SHOWN = 5
DAMPING = 1e-3


def answer(_: Any, key: Any) -> Section:
    """Finds what helped and what harmed the least certain test digits.

    Args:
        key: not used; nothing is drawn.
    """
    del key
    apply_fn, variables, draw = ji.models.pretrained("digits_cnn")
    data = ji.data.digits(jax.random.key(0))
    batches = [
        (data.train_inputs[i : i + 256], data.train_labels[i : i + 256])
        for i in range(0, len(data.train_labels), 256)
    ]
    test = draw(jax.random.key(1), 300)
    loss = ji.influence.cross_entropy
    losses = loss(jax.jit(apply_fn)(variables, test.inputs), test.labels)
    hardest = np.argsort(-np.asarray(losses))[:QUERIES]
    queries = test.inputs[hardest], test.labels[hardest]
    options = {"progress": False}
    curvature = ji.influence.ekfac(apply_fn, loss, variables, batches, **options)
    ranking = ji.influence.influence(
        apply_fn,
        loss,
        variables,
        batches,
        queries,
        curvature=curvature,
        damping=DAMPING,
        k=SHOWN,
        **options,
    )
    rows, titles = [], []
    for i in range(QUERIES):
        groups = ranking.highest.indices[i], ranking.lowest.indices[i]
        rows.append(np.asarray(queries[0][i : i + 1]))
        titles.append(f"test: {queries[1][i]}")
        for group, word in zip(groups, ("helped", "harmed"), strict=True):
            rows.append(np.asarray(data.train_inputs)[np.asarray(group)])
            titles += [f"{word}: {data.train_labels[j]}" for j in np.asarray(group)]
    figure = plot.image_grid(
        np.concatenate(rows), columns=1 + 2 * SHOWN, titles=titles, size=1.0
    )
    helped = np.asarray(data.train_labels)[np.asarray(ranking.highest.indices)]
    harmed = np.asarray(data.train_labels)[np.asarray(ranking.lowest.indices)]
    same = [
        float((group == np.asarray(queries[1])[:, None]).mean())
        for group in (helped, harmed)
    ]
    return Section(
        "What helped most looks like the test digit and mostly has its label "
        f"({same[0]:.0%}); what harmed looks like it and has another ({1 - same[1]:.0%}"
        ").",
        [
            drawing(
                figure,
                "Each row: a test digit that the network is least sure of, the "
                f"{SHOWN} training digits that helped it most, and the {SHOWN} that "
                "harmed it most, with their labels.",
                is_wide=True,
            )
        ],
        "Influence is an estimate of what would happen if an example were left out and "
        "the network trained on to a minimum; it is made for one example at a time.",
    )
