"""One number for each token, of any attribution of its features."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.types import Inputs, Key, Target, Variables


@method
def per_token(attribution_fn: Attribution) -> Attribution:
    r"""Attributes to tokens by the sum of an attribution over the features of each.

    $$r_{bt} = \sum_d a_{btd}$$

    What adds up to the score goes on doing so. For attributions that are no shares,
    such as a gradient, signs may cancel. Cost: that of the method.

    Args:
        attribution_fn: an attribution function of features, `(batch, token, ...)`; of
            integer tokens one with `at=` their embedding.

    Returns:
        An attribution function, `(batch, token)`, in the units of `attribution_fn`. If
        that returns a mapping from address to array, or explains several inputs, there
        is one such array for each.

    Raises:
        ValueError: when called, if an attribution has no features.

    Example:
        >>> from jaxinterp.attribution import input_x_gradient
        >>> from jaxinterp.objectives import total
        >>> model = lambda w, tokens: jnp.take(w, tokens, axis=0).sum((1, 2))
        >>> attribute = per_token(input_x_gradient(model, at="embed", score=total))
        >>> table = jnp.array([[1.0, 2.0], [0.5, -0.5]])
        >>> attribute(table, jnp.array([[0, 1, 0]])).tolist()
        [[3.0, 0.0, 3.0]]
    """

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        return jax.tree.map(token_sums, attribution_fn(variables, inputs, target, key))

    return attribute


def token_sums(features: Any) -> Any:
    """Returns the sum over the features of each token, `(batch, token)`.

    Args:
        features: an attribution `(batch, token, ...)`.

    Raises:
        ValueError: if there are no features.
    """
    if features.ndim < 3:
        raise ValueError(
            f"per_token: the attribution has the shape {features.shape}, and no "
            "features to be added after (batch, token).\nGive the method `at=` the "
            "address of the embedding, such as `at='Model/Embed_0'`; one that has a "
            "number for each token already needs no sum."
        )
    wide = jnp.promote_types(features.dtype, jnp.float32)
    axes = tuple(range(2, features.ndim))
    return features.astype(wide).sum(axes).astype(features.dtype)
