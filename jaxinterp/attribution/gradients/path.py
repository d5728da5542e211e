r"""What path methods share: a path to the inputs, and the sum of slope times step.

$\gamma(t)$ is the point of a path at $t$, from $\gamma(0)$, where nothing is there, to
$\gamma(1) = x$. A score $f$ changes along it by $f(x) - f(\gamma(0)) = \int_0^1
\sum_i \partial_i f(\gamma(t))\,\gamma_i'(t)\,dt$, of which each entry has its part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

# A pytree of arrays that is a function of `t`.
Path = Callable[[Any], Any]


class Line(NamedTuple):
    """A straight path.

    Attributes:
        start: where it starts, in the structure and shapes of what is explained.
        difference: from there to the end.
    """

    start: Any
    difference: Any

    @classmethod
    def to(cls, array: Any, baseline: Any, key: Key) -> Line:
        """Returns the line from a baseline to an array.

        Args:
            array: the explained array, or pytree of arrays.
            baseline: the baseline, as methods take it.
            key: the random key that a baseline that is a function gets.
        """
        start = fill_baseline(baseline, array, key)
        return cls(start, jax.tree.map(jnp.subtract, array, start))

    def __call__(self, t: Any) -> Any:
        """Returns the point at a share `t` of the way."""
        return jax.tree.map(lambda b, d: b + t.astype(d.dtype) * d, *self)


def path_integral(
    apply_fn: ApplyFn,
    path_to: Callable[[Any, Key], Path],
    nodes: np.ndarray,
    weights: np.ndarray,
    *,
    name: str,
    batch_size: int | None,
    score: Score | Objective | str,
    at: Sites | None,
    channels_last: bool = False,
) -> Attribution:
    r"""Returns the attribution function $\int_0^1 \partial_i f\,\gamma_i'(t)\,dt$.

    Args:
        apply_fn: the model.
        path_to: the function from the explained array and a random key to the path,
            which is differentiable in `t`.
        nodes: the values of `t` at which the path is looked at.
        weights: how much each of them counts.
        name: the name of the method, for the progress bar and errors.
        batch_size: the number of points computed at once.
        score: which number per example is explained.
        at: the site whose activation is explained; the inputs by default.
        channels_last: whether the array that the path leads to has its channels on the
            last axis, wherever a site has them.

    Raises:
        ValueError: if `batch_size` is not positive.
    """
    model, score_fn = explained(apply_fn, score)

    def step(context: tuple[Place, Any], point: Any) -> Any:
        place, path = context
        t, weight = point
        x, speed = jax.jvp(path, (t,), (jnp.ones_like(t),))
        slopes = place.slopes(model, score_fn, x)
        return jax.tree.map(lambda g, s: weight.astype(g.dtype) * g * s, slopes, speed)

    sum_over = summed(step, batch_size=batch_size, name=name)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name=name, channels_last=channels_last)
        points = (jnp.asarray(nodes), jnp.asarray(weights))
        context = place, path_to(place.array, key)
        total = sum_over(context, points, place.array)
        return place.shaped(at, place.in_model(total))

    return attribute
