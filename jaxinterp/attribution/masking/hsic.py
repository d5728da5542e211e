"""Attribution by how much the score depends on whether a segment is kept."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import masked_scores, spread_over
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import checked_integer, checked_positive
from jaxinterp.keys import check_key
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.masks import random_masks
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def hsic(
    apply_fn: ApplyFn,
    *,
    segments: Any = None,
    baseline: Any = 0.0,
    samples: int = 500,
    kernel_width: float = 1.0,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes to each segment the dependence of the score on whether it is kept.

    $$\mathrm{HSIC}_j = \frac1{n^2} \mathrm{tr}(K_j H L H), \quad K_{j,kl} = [z_{kj} =
    z_{lj}], \quad L_{kl} = \exp\left(-\frac{(v_k - v_l)^2}{2 w^2 s^2}\right)$$

    That is the Hilbert-Schmidt independence criterion, the distance between the joint
    distribution of mask and score and that of independent ones. $z_k \in \{0, 1\}^d$
    keeps every segment with probability 1/2, $v_k$ is the score, $s$ the standard
    deviation of the scores of an example, and $H$ takes away the mean. Any dependence
    counts, not of the mean alone, and has no sign. A segment that matters only together
    with another may get nothing; `sobol` sees it. Cost: `samples` forward passes, and
    `samples`$^2$ numbers for each segment and example.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        segments: which entries are one segment: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a segment.
        baseline: what takes the place of segments that are not kept: a number, an array
            (or a pytree like `inputs`) that broadcasts against the inputs, or a
            function `(inputs, key) -> baseline`. With `at`, that of the activation.
        samples: the number $n$ of masks, which are those of all examples.
        kernel_width: $w$, in standard deviations of the scores.
        batch_size: the number of masks evaluated at once; by default as many as make 16
            MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function that needs a `key`. The values have no unit, and lie
        between 0 and 1/4 but for rounding; what the score does not depend on gets $(1 -
        \bar L) / 2n$ on average, by chance. Each entry has an equal share of its
        segment's value, so that `jaxinterp.perturbation.segment_sums` returns the
        criterion, and an entry in no segment has 0. Inputs may be integers such as
        tokens; their attributions have the dtype of the score.

    Raises:
        ValueError: if a hyperparameter is out of range; when called, if the baseline or
            the segments do not fit.
        TypeError: when called, if there is no key, or if the segments are no integers.

    References:
        Novello et al., 2022 [novello2022making]; the biased estimator of Gretton et
        al., 2005, divided by $n^2$ [gretton2005measuring].

    Example:
        >>> attribute = hsic(lambda w, x: x @ w, samples=200)
        >>> weights, x = jnp.array([[2.0], [0.0]]), jnp.array([[1.0, 1.0]])
        >>> values = attribute(weights, x, 0, jax.random.key(0))
        >>> [round(value, 1) for value in values[0].tolist()]
        [0.2, 0.0]
    """
    samples = checked_integer("samples", samples, 1, call="hsic")
    kernel_width = checked_positive("kernel_width", kernel_width, call="hsic")
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(model, score_fn, name="hsic", batch_size=batch_size)

    def row(context: tuple[Any, Any], point: tuple[Any, Any]) -> Any:
        # Less 1, which changes nothing, and leaves nothing of scores that are equal.
        kept, values = context
        own, value = point
        kernel = jnp.expm1(-jnp.square(values - value[None]) / 2)
        return own[:, None] * jnp.matmul(kept.T, kernel, precision="highest")

    sum_of_rows = summed(row, name="hsic")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="hsic", needs_slopes=False)
        check_key("hsic", key)
        parts = fill_segments(segments, place.array)
        start = fill_baseline(baseline, place.array, key)
        masks = random_masks(key, samples, parts.count)
        values = scores(place, start, parts, masks)
        values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
        values = values - values.mean(0, keepdims=True)
        variance = jnp.square(values).mean(0, keepdims=True)
        scale = jnp.where(variance == 0, 1, variance)
        values = values / (kernel_width * jnp.sqrt(scale))
        # Of equal masks the kernel is 1: centered, it is twice a product.
        kept = masks.astype(values.dtype)
        kept = kept - kept.mean(0, keepdims=True)
        both = kept, values
        sums = sum_of_rows(both, both, (place.array, values))
        return place.shaped(at, spread_over(place.array, 2 * sums / samples**2, parts))

    return attribute
