"""What does each input do overall? A network that learned a function of three."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxinterp as ji
from experiments.tour.page import Section, drawing

ROWS = 2048


def answer(_: Any, key: Any) -> Section:
    """Draws the effect of each input, and shares out the variance.

    Args:
        key: the random key of the samples.
    """
    apply_fn, variables, _ = ji.models.pretrained("tabular_ishigami")
    function = ji.data.Ishigami()
    one, two = (
        function.sample(k, ROWS).astype(jnp.float32) for k in jax.random.split(key)
    )
    concepts, score = ji.concepts, ji.objectives.total
    indices = jax.jit(concepts.sobol_indices(apply_fn, score=score))(
        variables, one, two
    )
    true = function.sobol()
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for j, ax in enumerate(axes):
        curves = concepts.ice(apply_fn, feature=j, grid=25, score=score)(
            variables, one[:40]
        )
        mean = concepts.partial_dependence(apply_fn, feature=j, grid=25, score=score)(
            variables, one
        )
        ax.plot(curves.grid, np.asarray(curves.values).T, color="0.8", linewidth=0.7)
        ax.plot(mean.grid, mean.values, color="tab:red", linewidth=2)
        ax.set_xlabel(f"input {j + 1}")
    axes[0].set_ylabel("output")
    first, total = np.asarray(indices.first), np.asarray(indices.total)
    error = max(np.abs(first - true.first).max(), np.abs(total - true.total).max())
    return Section(
        "Input 2 matters most by itself. Input 3 does nothing by itself, yet "
        f"{total[2]:.0%} of the variance goes if it is known last: it acts only "
        f"together with input 1. The true shares differ from these by {error:.2f} at "
        "most.",
        [
            drawing(
                figure,
                "Red: the mean output against one input. Gray: the same for single "
                "examples; where they are not parallel, inputs act together.",
            )
        ],
        "Shares of variance need independent inputs. Where inputs are correlated, the "
        "curves average over examples that do not exist.",
    )
