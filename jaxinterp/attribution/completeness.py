"""Whether attributions add up to what they explain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxinterp.objectives.score import Score, logit, need_score
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.types import ApplyFn


def convergence_delta(
    apply_fn: ApplyFn, *, baseline: Any = 0.0, score: Score = logit
) -> Callable[..., Any]:
    r"""Says how far attributions are from adding up: $\sum_i a_i - (f(x) - f(b))$.

    Args:
        apply_fn: the model.
        baseline: that of the attribution.
        score: that of the attribution.

    Returns:
        `delta(attributions, variables, inputs, target=None, key=None)` of shape
        `(batch,)`, in units of the score. It is 0 for a complete attribution.

    References:
        Sundararajan et al., 2017, proposition 1 [sundararajan2017axiomatic].

    Example:
        >>> from jaxinterp.objectives import total
        >>> delta = convergence_delta(lambda w, x: w * x, score=total)
        >>> x = jnp.array([[1.0, 3.0]])
        >>> delta(2.0 * x, 2.0, x).tolist()
        [0.0]
    """
    need_score(score)

    def delta(
        attributions: Any,
        variables: Any,
        inputs: Any,
        target: Any = None,
        key: Any = None,
    ) -> Any:
        start = fill_baseline(baseline, inputs, key)
        after = score(apply_fn(variables, inputs), target)
        before = score(apply_fn(variables, start), target)
        leaves = jax.tree.leaves(attributions)
        added = sum(leaf.reshape(leaf.shape[0], -1).sum(axis=1) for leaf in leaves)
        return added - (after - before)

    return delta
