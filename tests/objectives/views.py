"""Objectives evaluated on arrays, without a model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.objectives.evaluate import count_units, evaluate, units
from jaxinterp.objectives.objective import Objective, Shapes, View
from tests.compiled import compiled


def bind(objective: Objective, activations: Any = None, outputs: Any = None) -> Any:
    """Returns the objective bound to activations `(pictures, ...)`."""
    shapes = {site: a.shape[1:] for site, a in (activations or {}).items()}
    found = jax.tree.map(lambda o: o.shape[1:], outputs)
    return objective.bound(Shapes(shapes, found, (4, 4, 3)))


def scores(
    objective: Objective, activations: Any = None, outputs: Any = None, step: int = 0
) -> np.ndarray:
    """Returns scores `(units, pictures)`; every unit sees the same pictures."""
    bound = bind(objective, activations, outputs)
    count = count_units(bound)
    pictures = jax.tree.leaves((activations, outputs))[0].shape[0]

    @compiled
    def run(*given):
        seen, outputs, images = jax.tree.map(
            lambda a: jnp.broadcast_to(a, (count, *a.shape)), given
        )
        return evaluate(bound, View(seen, outputs, images, step), count)

    images = np.zeros((pictures, 4, 4, 3), np.float32)
    return np.asarray(run(activations or {}, outputs, images))


def alone(
    objective: Objective, activations: Any = None, outputs: Any = None
) -> np.ndarray:
    """Returns the same as `scores`, from one evaluation for each unit."""
    bound = bind(objective, activations, outputs)
    return np.concatenate(
        [
            scores(units(bound, slice(i, i + 1)), activations, outputs)
            for i in range(count_units(bound))
        ]
    )
