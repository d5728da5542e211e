r"""Attribution by a linear model of the score, fitted to masked copies of an example.

A copy $k$ keeps the segments $z_k \in \{0, 1\}^n$ of the example; a baseline takes the
place of the others. $v(z)$ is its score.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import masked_scores, spread_over
from jaxinterp.attribution.place import place_of
from jaxinterp.checks import checked_integer, checked_positive, checked_real
from jaxinterp.fit.linear import ridge
from jaxinterp.keys import check_key
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.perturbation.masks import random_masks
from jaxinterp.perturbation.segments import fill_segments
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def lime(
    apply_fn: ApplyFn,
    *,
    baseline: Any = 0.0,
    segments: Any = None,
    samples: int = 1000,
    kernel_width: float = 0.25,
    penalty: float = 1.0,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes to each segment its coefficient in a local linear model of the score.

    $$\min_{\beta, c} \sum_k \pi(z_k)\,(v(z_k) - c - z_k \cdot \beta)^2 +
    \lambda\,|\beta|^2, \quad \pi(z) = \exp(-D(z)^2 / \sigma^2), \quad D(z) = 1 -
    \sqrt{|z| / n}$$

    $D$ is the cosine distance to the mask that keeps all $n$ segments. Each mask keeps
    every segment with probability 1/2; the first keeps all. The coefficients do not add
    up to a difference of scores. Cost: `samples` forward passes, and one singular value
    decomposition of `samples` x segments.

    The ridge penalty stands where the paper selects few segments by K-LASSO; so it does
    in its authors' code for images, which also takes the square root of $\pi$, as if
    $\sigma$ were larger by a factor of $\sqrt 2$.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        baseline: what takes the place of segments that are not kept: a number, an array
            (or a pytree like `inputs`) that broadcasts against the inputs, or a
            function `(inputs, key) -> baseline`. With `at`, that of the activation.
        segments: which entries are one segment: an integer map of the positions of an
            example, or one that broadcasts against the inputs, see
            `jaxinterp.perturbation.grid_segments`. By default each entry is a segment.
        samples: the number of masks, which are those of all examples. There should be
            several times as many as segments.
        kernel_width: $\sigma$, the distance at which a copy counts $1/e$.
        penalty: $\lambda$, by which coefficients shrink; the more, the fewer samples
            there are.
        batch_size: the number of masks evaluated at once; by default as many as make 16
            MB of explained arrays of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is explained instead of the inputs; one site only.

    Returns:
        An attribution function that needs a `key`, in the units of `score`. Each entry
        has an equal share of its segment's coefficient, so that
        `jaxinterp.perturbation.segment_sums` returns coefficients, and an entry in no
        segment has 0. Inputs may be integers such as tokens; their attributions have
        the dtype of the score.

    Raises:
        ValueError: if a hyperparameter is out of range; when called, if the baseline or
            the segments do not fit.
        TypeError: when called, if there is no key, or if the segments are no integers.

    References:
        Ribeiro et al., 2016, eqs. 1 and 2 [ribeiro2016why].

    Example:
        >>> attribute = lime(lambda w, x: x @ w, samples=200, penalty=0.0)
        >>> weights, x = jnp.array([[2.0], [-1.0]]), jnp.array([[1.0, 3.0]])
        >>> coefficients = attribute(weights, x, 0, jax.random.key(0))
        >>> [round(value, 3) for value in coefficients[0].tolist()]
        [2.0, -3.0]
    """
    samples = checked_integer("samples", samples, 1, call="lime")
    penalty = checked_real("penalty", penalty, 0, call="lime")
    kernel_width = checked_positive("kernel_width", kernel_width, call="lime")
    model, score_fn = explained(apply_fn, score)
    scores = masked_scores(model, score_fn, name="lime", batch_size=batch_size)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name="lime", needs_slopes=False)
        check_key("lime", key)
        parts = fill_segments(segments, place.array)
        start = fill_baseline(baseline, place.array, key)
        masks = random_masks(key, samples, parts.count).at[0].set(True)
        values = scores(place, start, parts, masks)
        wide = jnp.promote_types(values.dtype, jnp.float32)
        distance = 1 - jnp.sqrt(masks.mean(1, dtype=wide))
        weights = jnp.exp(-((distance / kernel_width) ** 2))
        line = ridge(masks, values, weights, penalty=penalty)
        return place.shaped(at, spread_over(place.array, line.coefficients, parts))

    return attribute
