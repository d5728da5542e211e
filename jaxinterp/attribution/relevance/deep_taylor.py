"""Deep Taylor decomposition: relevance propagation from a root point in each layer."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.attribution.backward import Backward
from jaxinterp.attribution.contract import At, Attribution, examples_in
from jaxinterp.objectives.score import (
    Score,
    check_score,
    logit,
    need_score,
    relevance_seed,
)
from jaxinterp.rules import presets
from jaxinterp.types import ApplyFn


def deep_taylor(
    apply_fn: ApplyFn,
    *,
    low: Any = None,
    high: Any = None,
    score: Score = logit,
    at: At = None,
) -> Attribution:
    r"""Attributes by deep Taylor decomposition.

    LRP with the z-plus rule without biases, started with $\max(\mathrm{score}, 0)$: a
    score below zero has no evidence to decompose, and gets nothing. The first layer has
    the z-box rule if the inputs are bounded, the w-square rule otherwise.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        low: smallest possible input: a number, or one per channel.
        high: largest possible input.
        score: which number per example is explained.
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
    need_score(score)
    composite = presets.deep_taylor(low, high)

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        back = Backward(apply_fn, variables, inputs, composite, at)
        values = score(back.outputs, target)
        check_score(values, examples_in(inputs), score)
        weight = jnp.where(values <= 0, 0, 1)  # NaN stays
        return back.shaped(back(relevance_seed(score, back.outputs, target, weight)))

    return attribute
