r"""Relevance per unit of activation: rules by which a gradient becomes relevance.

A site hands on $g_x = R_x / x$ instead of $R_x$. Linear maps, sums and softmax do so by
their own derivative, and here are the other sites of a transformer. With them the input
times its gradient is the relevance that the rules of `any_site` and `products` send it
without stabilizers, and nothing is divided by an activation but at nonlinearities. A
coefficient is also there where the activation is zero, so that it may be multiplied
with a difference of two activations instead.

Notation: $g_z$ is the gradient that a site $z = f(x)$ receives.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxinterp.rules.products import attends, degrees
from jaxinterp.rules.rule import Rule, RuleSiteError
from jaxinterp.tracing.layer.layer import Layer


@dataclasses.dataclass(frozen=True)
class FixedStatisticsGradient(Rule):
    r"""The derivative of a normalization, or a quotient, whose divisor is a constant.

    $$g_x = \left.J_f(x)^\top\right|_{\sigma\,\mathrm{constant}}\; g_z$$

    References:
        Ali et al., 2022, section 4 [ali2022xai]. It is `FixedStatistics` per unit of
        activation.

    Example:
        >>> FixedStatisticsGradient()
        FixedStatisticsGradient()
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the gradient of each input."""
        if not layer.node.statistics:
            raise RuleSiteError(self, layer, "a normalization or a quotient")
        return layer.with_fixed_statistics().pull_back(relevance)


@dataclasses.dataclass(frozen=True)
class UniformGradient(Rule):
    r"""The derivative of a product, divided by how many factors it has.

    $$g_{x_i} = \frac{1}{n}\, J_{x_i}^\top g_z$$

    Of two factors each gets half of its derivative, which is known as the half-rule.

    Attributes:
        is_attention_fixed: whether weights of attention count as constants, so that
            their values get the whole derivative.

    References:
        Jafari et al., 2024, section 4.3 [jafari2024mambalrp]; Achtibat et al., 2024,
        proposition 3.3 [achtibat2024attnlrp]. It is `Uniform`, or `FixedAttention`,
        per unit of activation.

    Example:
        >>> UniformGradient()
        UniformGradient(is_attention_fixed=False)
    """

    is_attention_fixed: bool = False

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the gradient of each factor."""
        slopes = layer.pull_back(relevance)
        if self.is_attention_fixed and attends(layer):
            shares = [float(v not in layer.node.softmaxes) for v in layer.node.inputs]
        else:
            shares = [1 / degree for degree in degrees(layer)]
        return tuple(
            share * slope if jnp.issubdtype(x.dtype, jnp.inexact) else None
            for x, slope, share in zip(layer.inputs, slopes, shares, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class SecantGradient(Rule):
    r"""The slope of the line from the origin, in place of that of an activation.

    $$g_x = \frac{f(x)}{x}\, g_z$$

    At $x = 0$ it is the derivative of $f$.

    References:
        Jafari et al., 2024, section 4.1 [jafari2024mambalrp], for SiLU, whose sigmoid
        is held constant; Arras et al., 2025 [arras2025close]. It is `Pass` per unit of
        activation.

    Example:
        >>> from jaxinterp.rules import Composite
        >>> secant = Composite([("*", SecantGradient())])
        >>> ruled = ji.with_rules(lambda w, x: jnp.tanh(x), secant)
        >>> slope = jax.grad(lambda x: ruled(None, x).sum())(jnp.array([2.0, 0.0]))
        >>> [round(value, 4) for value in slope.tolist()]
        [0.482, 1.0]
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the gradient of the input."""
        if len(layer.inputs) != 1 or layer.inputs[0].shape != layer.output.shape:
            raise RuleSiteError(self, layer, "one input in the shape of the output")
        (x,), (slope,) = layer.inputs, layer.pull_back(relevance)
        secant = layer.output / jnp.where(x == 0, 1, x)
        return jnp.where(x == 0, slope, secant * relevance)
