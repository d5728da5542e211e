"""Attribution by the variance of the score under random masks of segments."""

from __future__ import annotations

from typing import Any, get_args

import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import masked_scores, spread_over
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import check_choice, checked_integer
from jaxinterp.keys import check_key
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.masks import kept_entries
from jaxinterp.perturbation.segments import Segments, fill_segments
from jaxinterp.perturbation.sobol_indices import (
    Estimator,
    paired_points,
    total_indices,
)
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def sobol(
    apply_fn: ApplyFn,
    *,
    segments: Any = None,
    baseline: Any = 0.0,
    samples: int = 32,
    estimator: Estimator = "jansen",
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes to each segment its total Sobol index, by masks of random strength.

    $$T_j = \frac{\mathbb E\,\mathrm{Var}(v(M) \mid M_{-j})}{\mathrm{Var}\,v(M)}, \quad
    v(m) = f(m \odot x + (1 - m) \odot b), \quad M_j \sim \mathcal U(0, 1)$$

    That is the share of the variance of the score which remains if all segments but $j$
    are known: the effect of a segment alone, and all its interactions. `ablation` asks
    at the input itself, this method everywhere on the way to the baseline. It does not
    tell whether a segment raises or lowers the score. With 32 samples the ranks of
    segments are right rather than the sizes, whose error falls nearly with $1/N$. Cost:
    `samples` times the number of segments plus two forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        segments: which entries are one segment: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a segment.
        baseline: what is mixed into a segment: a number, an array (or a pytree like
            `inputs`) that broadcasts against the inputs, or a function `(inputs, key)
            -> baseline`. With `at`, that of the activation.
        samples: the number $N$ of rows of the design, a power of two at best.
        estimator: the formula of `jaxinterp.perturbation.sobol_indices.total_indices`:
            `"jansen"`, `"homma"`, `"janon"`, `"glen"` or `"saltelli"`.
        batch_size: the number of masks evaluated at once; by default as many as make 16
            MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function that needs a `key`. The values are shares of the
        variance, which add up to 1 if no segments interact, and to more if they do.
        Each entry has an equal share of its segment's index, so that
        `jaxinterp.perturbation.segment_sums` returns indices, and an entry in no
        segment has 0. They are NaN if the score does not vary.

    Raises:
        ValueError: if a number is not positive, or there is no such estimator; when
            called, if the baseline or the segments do not fit.
        TypeError: when called, if there is no key, if the segments are no integers, or
            if what is explained is integers, which cannot be mixed.

    References:
        Fel et al., 2021 [fel2021look]; their code takes $V$ of $A$ alone.

    Example:
        >>> attribute = sobol(lambda w, x: x @ w, samples=64)
        >>> weights, x = jnp.array([[1.0], [1.0]]), jnp.array([[2.0, -1.0]])
        >>> indices = attribute(weights, x, 0, jax.random.key(0))
        >>> [round(index, 1) for index in indices[0].tolist()]
        [0.8, 0.2]
    """
    samples = checked_integer("samples", samples, 1, call="sobol")
    check_choice("estimator", estimator, get_args(Estimator), call="sobol")
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(
        model, score_fn, name="sobol", batch_size=batch_size, keep=_kept
    )

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="sobol", needs_slopes=False)
        check_key("sobol", key)
        parts = fill_segments(segments, place.array)
        start = fill_baseline(baseline, place.array, key)
        n = parts.count
        design = parts, *paired_points(key, samples, n)
        points = jnp.indices((n + 2, samples)).reshape(2, -1)
        values = scores(place, start, design, (points[0], points[1]))
        values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
        values = values.reshape(n + 2, samples, place.n_examples)
        indices = total_indices(
            values[n], values[n + 1], values[:n], estimator=estimator
        )
        return place.shaped(at, spread_over(place.array, indices, parts))

    return attribute


def _kept(design: tuple[Segments, Any, Any], point: tuple[Any, Any], array: Any) -> Any:
    """What a row of the design keeps, with one feature of the second sample, or all."""
    parts, of_inputs, of_others = design
    feature, row = point
    is_exchanged = (jnp.arange(parts.count) == feature) | (feature > parts.count)
    return kept_entries(jnp.where(is_exchanged, of_others[row], of_inputs[row]), parts)
