"""KernelSHAP: Shapley values as the coefficients of a weighted linear model."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import masked_scores, spread_over
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import checked_integer, is_traced
from jaxinterp.keys import check_key
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.coalitions import (
    all_coalitions,
    kernel_coalitions,
    shapley_of_all,
)
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def kernel_shap(
    apply_fn: ApplyFn,
    *,
    samples: int,
    baseline: Any = 0.0,
    segments: Any = None,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes `score(inputs) - score(baseline)` to segments by KernelSHAP.

    $$\phi = \arg\min_\phi \sum_S \pi(S) \left(f(S) - f(\emptyset) - \sum_{j \in S}
    \phi_j\right)^2, \quad \sum_j \phi_j = f(N) - f(\emptyset)$$

    $f(S)$ is the score with the baseline in place of all segments but $S$, and $\pi(S)
    \propto (n - 1) / (\binom{n}{|S|} |S| (n - |S|))$. If `samples` is enough for all
    coalitions of the $n$ segments, these are evaluated, and the result are the exact
    Shapley values; otherwise pairs of a coalition and its complement are drawn from
    $\pi$. Cost: `samples` forward passes and two; at most $2^n$.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        samples: the number of coalitions, which are those of all examples. There should
            be several times as many as segments.
        baseline: what is seen of what is hidden: a number, an array (or a pytree like
            `inputs`) that broadcasts against the inputs, or a function `(inputs, key)
            -> baseline`.
        segments: which entries are one segment: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a segment.
        batch_size: the number of coalitions evaluated at once; by default as many as
            make 16 MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function that needs a `key`, in the units of `score`; the
        attributions add up to the difference exactly. Each entry has an equal share of
        its segment's value, so that `jaxinterp.perturbation.segment_sums` returns
        these, and an entry in no segment has 0.

    Raises:
        ValueError: if `samples` or `batch_size` is not positive; when called, if the
            samples are too few to determine the values, or if the baseline or the
            segments do not fit. Under `jax.jit`, with a key that is an argument, only
            the number of samples is checked.
        TypeError: when called, if there is no key, or if the segments are no integers.

    References:
        Lundberg and Lee, 2017, theorem 2 [lundberg2017unified]; drawn in pairs as by
        Covert and Lee, 2021 [covert2021improving].

    Example:
        >>> attribute = kernel_shap(lambda w, x: x.prod(1, keepdims=True), samples=4)
        >>> values = attribute(None, jnp.array([[2.0, 3.0]]), 0, jax.random.key(0))
        >>> values.tolist()
        [[3.0, 3.0]]
    """
    samples = checked_integer("samples", samples, 1, call="kernel_shap")
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(model, score_fn, name="kernel_shap", batch_size=batch_size)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="kernel_shap", needs_slopes=False)
        check_key("kernel_shap", key)
        players = fill_segments(segments, place.array)
        start = fill_baseline(baseline, place.array, key)
        n = players.count
        if n < 30 and 2**n <= samples + 2:
            values = scores(place, start, players, all_coalitions(n))
            return place.shaped(
                at, spread_over(place.array, shapley_of_all(values), players)
            )
        drawn = kernel_coalitions(key, n, samples)
        _check_rank(drawn)
        ends = jnp.arange(2)[:, None] > jnp.zeros((1, n), int)  # none, and all
        values = scores(place, start, players, jnp.concatenate([ends, drawn]))
        return place.shaped(
            at, spread_over(place.array, _constrained(drawn, values), players)
        )

    return attribute


def _check_rank(coalitions: Any) -> None:
    """Raises if coalitions do not determine the values, as far as they are known.

    A pair of complements tells no more than one of them if effects add up.
    """
    samples, n = coalitions.shape
    if samples >= 2 * (n - 1):
        if is_traced(coalitions):
            return
        z = np.asarray(coalitions, float)
        if np.linalg.matrix_rank(z[:, :-1] - z[:, -1:]) == n - 1:
            return
    raise ValueError(
        f"kernel_shap: these {samples} samples do not determine the values of {n} "
        f"segments.\nWrite `samples={8 * n}` or more, or make the segments fewer, such "
        "as by `segments=jaxinterp.perturbation.grid_segments((height, width), 8)`."
    )


def _constrained(coalitions: Any, values: Any) -> Any:
    """Least squares whose coefficients add up to what all segments change.

    Args:
        coalitions: booleans `(samples, segments)`, drawn by their weights.
        values: the scores of no segment, of all, and of the coalitions, by example.
    """
    dtype = jnp.promote_types(values.dtype, jnp.float32)
    z, values = coalitions.astype(dtype), values.astype(dtype)
    whole = values[1:2] - values[:1]
    # The last coefficient is what the others leave of the whole.
    reduced = z[:, :-1] - z[:, -1:]
    gains = values[2:] - values[:1] - z[:, -1:] * whole
    first = jnp.linalg.lstsq(reduced, gains)[0]
    return jnp.concatenate([first, whole - first.sum(0, keepdims=True)])
