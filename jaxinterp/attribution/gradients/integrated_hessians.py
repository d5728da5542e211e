"""Interactions between features, along a path: integrated Hessians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import checked_call
from jaxinterp.attribution.gradients.integrated_gradients import quadrature
from jaxinterp.attribution.gradients.path import Line
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import checked_integer
from jaxinterp.loop.sums import evaluated, summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.segments import Segments, fill_segments, segment_sums
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


def integrated_hessians(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    segments: Any = None,
    steps: int = 50,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Callable[..., jax.Array]:
    r"""Divides `score(inputs) - score(baseline)` among pairs of features.

    $$\Gamma_{ij}(x) = d_i\,d_j \int_0^1 -s \ln s\;\partial_i \partial_j f(b + s d)\,ds
    + [i = j]\;d_i \int_0^1 -\ln s\;\partial_i f(b + s d)\,ds, \quad d = x - b$$

    These are the integrated gradients, for feature $j$, of the integrated gradient of
    feature $i$: how much $i$ counts because of $j$. They are symmetric; a row adds up
    to the integrated gradient of its feature, and all of them to $f(x) - f(b)$, as
    `steps` grows. An entry off the diagonal is 0 where the score is a sum of a function
    of $i$ and one of $j$.

    The model needs second derivatives. Those of a relu network are 0 but at its kinks,
    and rows do not add up: explain it with `jax.nn.softplus(beta * x) / beta` in place
    of each relu, as the authors do. Cost: for each segment `steps` times two backward
    passes, the second one through the first.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: the input that means "nothing here": a number, an array (or a pytree
            like `inputs`) that broadcasts against the inputs, or a function `(inputs,
            key) -> baseline`. With `at`, that of the activation.
        segments: which entries are one feature: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a feature.
        steps: the number of points of the path.
        batch_size: the number of points computed at once; by default as many as make 16
            MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        A function `(variables, inputs, target=None, key=None)` that returns an array
        `(batch, segments, segments)` in the units of `score`. A positive entry off the
        diagonal raised the score by both features together. What belongs to no segment
        is left out.

    Raises:
        ValueError: if `steps` or `batch_size` is not positive; when called, if the
            baseline or the segments do not fit.
        TypeError: when called, if the inputs are not real numbers, or the segments are
            no integers.

    References:
        Janizek et al., 2021 [janizek2021explaining], whose double integral over
        $\alpha$ and $\beta$ is one over $s = \alpha\beta$ here.

    Example:
        >>> interactions = integrated_hessians(lambda w, x: x.prod(1, keepdims=True))
        >>> matrix = interactions(None, jnp.array([[2.0, 6.0]]), 0)[0]
        >>> matrix.round().tolist()
        [[3.0, 3.0], [3.0, 3.0]]
    """
    steps = checked_integer("steps", steps, 1, call="integrated_hessians")
    model, score_fn = explained(apply_fn, score)
    # With s = u^3 the logarithm at zero is no obstacle to the sum.
    u, weights = quadrature("gausslegendre", steps)
    weights = weights * -9 * u**2 * np.log(u)

    def at_point(context: tuple[Place, Line, Segments, Any], point: Any) -> Any:
        place, line, segments, number = context
        s, weight = point
        slopes, pull = jax.vjp(lambda x: place.slopes(model, score_fn, x), line(s))
        feature = jax.tree.map(
            lambda d, labels: jnp.where(labels == number, d, 0),
            *(line.difference, segments.labels),
        )
        (changes,) = pull(feature)  # the Hessian is symmetric

        def part(d: Any, change: Any, own: Any, slope: Any) -> Any:
            return s * _wide(d) * _wide(change) + _wide(own) * _wide(slope)

        parts = jax.tree.map(part, line.difference, changes, feature, slopes)
        return weight * segment_sums(parts, segments)

    sum_over = summed(at_point, batch_size=batch_size, name="integrated_hessians")

    def row(context: tuple[Place, Line, Segments], number: Any) -> Any:
        points = jnp.asarray(u**3), jnp.asarray(weights)
        return sum_over((*context, number), points, context[0].array)

    rows_at = evaluated(row, batch_size=1, name="integrated_hessians")

    @checked_call
    def interactions(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> jax.Array:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="integrated_hessians")
        features = fill_segments(segments, place.array)
        context = place, Line.to(place.array, baseline, key), features
        rows = rows_at(context, jnp.arange(features.count), place.array)
        dtype = jnp.result_type(*jax.tree.leaves(place.array))
        return jnp.moveaxis(rows, 0, 1).astype(dtype)

    return interactions


def _wide(x: Any) -> Any:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
