r"""Attribution by relevance propagation: LRP with any composite, deep Taylor.

The relevance of the output is the score; each site shares what it receives among its
inputs by its rule, so that relevance is conserved but for what biases and stabilizers
keep (see `jaxinterp.ledger`).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxinterp.attribution.explain import (
    At,
    Attribution,
    Backward,
    attribution_by_backward,
    examples_in,
)
from jaxinterp.attribution.scores import (
    Score,
    check_score,
    logit,
    need_score,
    relevance_seed,
)
from jaxinterp.rules import presets
from jaxinterp.rules.composite import Composite, check_composite
from jaxinterp.trace.transform import ApplyFn


def lrp(
    apply_fn: ApplyFn,
    *,
    composite: Composite | None = None,
    score: Score = logit,
    at: At = None,
) -> Attribution:
    r"""Attributes by layer-wise relevance propagation.

    $$R_y = y \odot \frac{\partial\,\mathrm{score}}{\partial y}, \qquad
      R_x = \mathrm{rule}_\mathrm{site}(R_z) \text{ from each site to its inputs}$$

    One forward and one backward pass. `at="*"` gives the relevance at every site from
    that one pass. For many targets at once, which then share the forward pass, write
    `jax.vmap(attribute, in_axes=(None, None, 0))`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        composite: which site gets which rule; `epsilon_plus_flat()` by default.
        score: which number per example is explained.
        at: a site, whose relevance is returned instead of that of the inputs. For a
            glob or a selector a dict from address to relevance is returned.

    Returns:
        An attribution function, in units of the score. With conserving rules and
        without biases it adds up to the score.

    Raises:
        UnmatchedSiteError: if relevance reaches a site that no line of the composite
            matches.

    References:
        Bach et al., 2015, eq. 1 to 3 [bach2015pixel]. The default composite is that of
        Kohlbrenner et al., 2020, section III [kohlbrenner2020towards].

    Example:
        >>> from jaxinterp.rules import Composite, Epsilon
        >>> composite = Composite([("*", Epsilon(0.0))])
        >>> attribute = lrp(lambda w, x: x @ w, composite=composite)
        >>> w = jnp.array([[1.0], [2.0]])
        >>> attribute(w, jnp.array([[3.0, 4.0]]), jnp.array([0])).tolist()
        [[3.0, 8.0]]
    """
    if composite is None:
        composite = presets.epsilon_plus_flat()
    check_composite(
        composite, "lrp(apply_fn, composite=jaxinterp.rules.epsilon_plus())"
    )
    return attribution_by_backward(
        apply_fn, score=score, at=at, composite=composite, seeds_relevance=True
    )


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
