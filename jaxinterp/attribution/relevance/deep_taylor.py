"""Deep Taylor decomposition: relevance propagation from a root point in each layer."""

from __future__ import annotations

from typing import Any

from jaxinterp.attribution.backward import attribution_by_backward
from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import positive_relevance_seed
from jaxinterp.rules import presets
from jaxinterp.types import ApplyFn, Sites


@method
def deep_taylor(
    apply_fn: ApplyFn,
    *,
    low: Any = None,
    high: Any = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by deep Taylor decomposition.

    LRP with the z-plus rule without biases, started with $\max(\mathrm{score}, 0)$: a
    score below zero has no evidence to decompose, and gets nothing. The first layer has
    the z-box rule if the inputs are bounded, the w-square rule otherwise. Cost: one
    backward pass, by rules.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        low: the smallest possible input: a number, or one per channel.
        high: the largest possible input: a number, or one per channel.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: a site, whose relevance is returned instead of that of the inputs.

    Returns:
        An attribution function, in units of the score.

    Raises:
        ValueError: if only one bound is given.

    References:
        Montavon et al., 2017, section 4 [montavon2017explaining].

    Example:
        >>> attribute = deep_taylor(lambda w, x: x @ w, low=0.0, high=1.0)
        >>> w = jnp.array([[3.0], [-1.0]])
        >>> relevance = attribute(w, jnp.ones((1, 2)), jnp.array([0]))
        >>> [round(value, 4) for value in relevance[0].tolist()]
        [2.0, 0.0]
    """
    return attribution_by_backward(
        apply_fn,
        score=score,
        at=at,
        composite=presets.deep_taylor(low, high),
        seed=positive_relevance_seed,
    )
