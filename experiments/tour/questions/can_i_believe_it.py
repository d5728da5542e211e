"""Can I believe it? Metrics, against random maps and against edges."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji
from experiments.tour.page import Picture, Section
from experiments.tour.questions.which_pixels import decided, methods
from experiments.tour.subject import Subject
from jaxinterp.metrics import rank_correlation

COUNT = 24


def answer(subject: Subject, key: Any) -> Section:
    """Measures some of the methods.

    Args:
        subject: the model and its images.
        key: the random key.
    """
    f, variables = subject.apply_fn, subject.variables
    images = jnp.asarray(subject.images[:COUNT])
    target = decided(subject, images)
    chosen = {
        name.replace("\n", " "): jax.jit(attribute)
        for name, attribute in methods(subject, coarse=True).items()
    }
    segments = ji.perturbation.grid_segments(images.shape[1:3], images.shape[1] // 8)
    options = {"segments": segments, "steps": 16, "baseline": 0.5}
    metrics = {
        "deletion": jax.jit(ji.metrics.deletion(f, **options)),
        "insertion": jax.jit(ji.metrics.insertion(f, **options)),
    }

    other = shuffled(key, variables)

    def forgotten(attribute: Any) -> Any:
        def measure(_: Any, images: Any, found: Any, target: Any, key: Any) -> Any:
            return rank_correlation(found, attribute(other, images, target, key))

        return measure

    table = ji.metrics.compare(
        chosen,
        metrics,
        variables,
        images,
        target,
        key=key,
        method_metrics={"likeness after forgetting": forgotten},
    )
    rows = dict(zip(table.methods, np.nanmean(table.values, axis=0), strict=True))
    return Section(_sentence(chosen, rows), [_picture(table)], _LIMITS)


_LIMITS = (
    "Deleting parts makes images that the network never saw, and the metrics prefer "
    "methods that work like them. A map that passes may still be wrong; one that does "
    "no better than a random map, or that does not change when the network forgets "
    "everything, explains nothing."
)


def shuffled(key: Any, variables: Any) -> Any:
    """Returns weights in random order, each array by itself: nothing learned is left.

    Args:
        key: the random key.
        variables: the trained weights.
    """
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        jax.random.permutation(k, leaf.ravel()).reshape(leaf.shape)
        for k, leaf in zip(keys, map(jnp.asarray, leaves), strict=True)
    )


def _sentence(chosen: Any, rows: dict[str, np.ndarray]) -> str:
    best = max(chosen, key=lambda name: rows[name][1] - rows[name][0])
    blind = [name for name in chosen if rows[name][2] > 0.5]
    gap, by_chance, edges = (
        rows[name][1] - rows[name][0] for name in (best, "random", "edges")
    )
    text = (
        f"By what deleting and inserting do, {best} is the best here: insertion minus "
        f"deletion is {gap:.2f}; of random maps {by_chance:.2f}, of edges, which know "
        f"nothing of the network, {edges:.2f}. "
    )
    if not blind:
        return text + "All of them depend on what the network learned."
    return text + (
        f"But {' and '.join(blind)} stay much the same when the network forgets "
        "everything: do not believe them."
    )


def _picture(table: Any) -> Picture:
    return Picture(
        table._repr_html_(),
        "Deletion: the mean probability of the class while the most relevant parts are "
        "deleted, low is good. Insertion: while they are added, high is good. Likeness "
        "after forgetting: the rank correlation of the map with that of a network "
        "whose weights were shuffled, near 0 is good.",
        is_wide=True,
    )
