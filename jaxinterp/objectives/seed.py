"""Seeds: what a backward pass starts with, at the outputs.

A seed is a function `(score, outputs, target) -> cotangent`, whose value is like the
outputs. Gradients start with the gradient of the score and relevance with shares of it;
contrastive seeds set the relevance of the target against that of all other classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.objectives.score import (
    AtClass,
    Score,
    log_probability,
    logit,
    probability,
)
from jaxinterp.types import Target

Seed = Callable[[Score, Any, Any], Any]


def gradient_seed(score: Score, outputs: Any, target: Target) -> Any:
    r"""Returns the gradient of the score, $\partial\,\mathrm{score} / \partial y$.

    Args:
        score: which number per example is explained.
        outputs: what the model returns, $y$.
        target: what the score needs beside the outputs, such as class indices.

    Returns:
        A cotangent of the outputs, in units of the score per unit of output.
    """
    values, pull = jax.vjp(lambda y: score(y, target), outputs)
    (slopes,) = pull(jnp.ones_like(values))
    return slopes


def relevance_seed(
    score: Score, outputs: Any, target: Target, weight: Any = 1.0
) -> Any:
    r"""Returns the relevance of the outputs, from which propagation starts.

    $R_y = y \odot \partial\,\mathrm{score} / \partial y$, which adds up to the score if
    it is linear in the outputs (or homogeneous of degree one, as `margin`).
    `probability` and `log_probability` place their value on the target's output. An
    output that the score does not depend on gets nothing, even if it is infinite.

    Args:
        score: which number per example is explained.
        outputs: what the model returns, $y$.
        target: what the score needs beside the outputs, such as class indices.
        weight: a number by which the score of each example is multiplied.

    Returns:
        The relevance of the outputs, in units of the score.

    Example:
        >>> relevance_seed(logit, jnp.array([[4.0, 7.0]]), 1).tolist()
        [[0.0, 7.0]]
    """
    values, pull = jax.vjp(lambda y: score(y, target), outputs)
    weights = jnp.broadcast_to(jnp.asarray(weight, values.dtype), values.shape)
    if isinstance(score, AtClass) and score.score in (probability, log_probability):
        (at_class,) = jax.vjp(score.logits, outputs)[1](values * weights)
        return at_class
    if score in (probability, log_probability):
        value = values * weights
        has_value = _is_target(outputs, target) | jnp.isnan(value)[:, None]
        return jnp.where(has_value, value[:, None], 0).astype(outputs.dtype)
    (slopes,) = pull(weights)

    def relevance(y: Any, slope: Any) -> Any:
        if not jnp.issubdtype(y.dtype, jnp.inexact):
            return slope
        return jnp.where(slope == 0, 0, y * slope)

    return jax.tree.map(relevance, outputs, slopes)


def positive_relevance_seed(score: Score, outputs: Any, target: Target) -> Any:
    r"""Returns the relevance of the outputs where the score is positive, otherwise 0.

    $R_y = y \odot \partial\,\mathrm{score} / \partial y$ for examples whose score is
    above zero, $R_y = 0$ for the others; the relevance of a linear score adds up to
    $\max(\mathrm{score}, 0)$.

    Args:
        score: which number per example is explained.
        outputs: what the model returns, $y$.
        target: what the score needs beside the outputs, such as class indices.

    Returns:
        The relevance of the outputs, in units of the score. A score of NaN gives NaN.
    """
    values = score(outputs, target)
    return relevance_seed(score, outputs, target, jnp.where(values <= 0, 0, 1))


def contrastive_seed(score: Score, outputs: Any, target: Target) -> Any:
    r"""Returns the target's relevance, and as much against it, in equal parts.

    $$R_{y_t} = y_t, \qquad R_{y_j} = -\frac{y_t}{C - 1} \;\text{for}\; j \neq t$$

    Contrastive LRP (CLRP1): what speaks for every class alike cancels. The shares add
    up to zero. Beside it the paper sets negative relevance of the inputs to zero.

    Args:
        score: not used: the logit of the target is what is explained.
        outputs: the logits, `(batch, classes)`.
        target: class indices, `(batch,)`, or one class for all examples.

    Returns:
        The relevance of the outputs, in logits.

    References:
        Gu et al., 2018 [gu2018understanding].

    Example:
        >>> contrastive_seed(logit, jnp.array([[4.0, 7.0, 5.0]]), 0).tolist()
        [[4.0, -2.0, -2.0]]
    """
    value = logit(outputs, target)[:, None]
    return jnp.where(_is_target(outputs, target), value, -value / _others(outputs))


def softmax_gradient_seed(score: Score, outputs: Any, target: Target) -> Any:
    r"""Returns the gradient of the target's probability as relevance.

    $$R_{y_t} = p_t (1 - p_t), \qquad R_{y_j} = -p_t\, p_j \;\text{for}\; j \neq t$$

    Softmax-gradient LRP (SGLRP): other classes count as far as they compete. The shares
    add up to zero.

    Args:
        score: not used: the probability of the target is what is explained.
        outputs: the logits, `(batch, classes)`.
        target: class indices, `(batch,)`, or one class for all examples.

    Returns:
        The relevance of the outputs, in probability.

    References:
        Iwana et al., 2019 [iwana2019explaining].

    Example:
        >>> softmax_gradient_seed(logit, jnp.zeros((1, 4)), 1).tolist()
        [[-0.0625, 0.1875, -0.0625, -0.0625]]
    """
    return gradient_seed(probability, outputs, target)


def _is_target(outputs: Any, target: Target) -> Any:
    return jnp.arange(outputs.shape[1])[None, :] == jnp.reshape(target, (-1, 1))


def _others(outputs: Any) -> int:
    """The number of classes beside the target."""
    if outputs.shape[1] < 2:
        raise ValueError(
            "contrastive_seed sets one class against the others, and the outputs have "
            f"the shape {outputs.shape}.\nUse the seed `relevance_seed`, the default."
        )
    return outputs.shape[1] - 1
