r"""Rules for affine sites (convolution, dense, scale): LRP-0, epsilon and gamma.

A site computes $z = L_W(x) + b$ (`layer.linear(x, kernel) + layer.bias`); given the
relevance $R_z$ of its output, a rule returns the relevance $R_x$ of its input.
$L_W^\top$ is the transposed map, $s$ the stabilizer; $t^+ = \max(t, 0)$ and $t^- =
\min(t, 0)$.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxinterp.checks import checked_real
from jaxinterp.rules.any_site import Norm
from jaxinterp.rules.rule import (
    Absorbed,
    Rule,
    RuleSiteError,
    absorbed_by,
    contributions,
)
from jaxinterp.rules.stabilize import Stabilizer, stabilizer
from jaxinterp.tracing.layer.layer import Layer


def need_affine(rule: Rule, layer: Layer) -> None:
    """Raises unless a site is affine.

    Args:
        rule: the rule that needs an affine site, for the error message.
        layer: the site in this pass.

    Raises:
        RuleSiteError: if the site is not affine.
    """
    if not layer.is_affine:
        raise RuleSiteError(rule, layer, "an affine site (convolution, dense or scale)")


@dataclasses.dataclass(frozen=True)
class Epsilon(Rule):
    r"""LRP-$\epsilon$: relevance in proportion to contributions, weak ones get less.

    $$R_x = x \odot L_W^\top \frac{R_z}{s(L_W(x) + b)}$$

    The bias takes part in the denominator, and so keeps its share of the relevance,
    unless `keep_bias` is false. At sites that are not affine the rule is `Norm`, with
    the derivative of the site for $L_W$.

    Attributes:
        epsilon: stabilizer, in the units of the pre-activation $z$.
        keep_bias: whether the bias takes part in the denominator.

    References:
        Bach et al., 2015, eq. 58 [bach2015pixel].

    Example:
        >>> Epsilon(0.25)
        Epsilon(epsilon=0.25, keep_bias=True)
    """

    epsilon: float | Stabilizer = 1e-6
    keep_bias: bool = True

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        if not layer.is_affine:
            return Norm(self.epsilon)(layer, relevance)
        return layer.x * layer.transpose(layer.kernel, self._quotient(layer, relevance))

    def _quotient(self, layer: Layer, relevance: Any) -> Any:
        z = layer.z if self.keep_bias else layer.z - layer.bias
        return relevance.astype(layer.dtype) / stabilizer(self.epsilon).at(layer)(z)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the bias and the stabilizer keep."""
        if not layer.is_affine:
            return Norm(self.epsilon).absorbed(layer, relevance)
        quotient = self._quotient(layer, relevance)
        if self.keep_bias:
            return absorbed_by(layer, quotient, self.epsilon)
        z = layer.z - layer.bias
        in_stabilizer = jnp.sum((stabilizer(self.epsilon).at(layer)(z) - z) * quotient)
        return Absorbed(jnp.zeros(()), in_stabilizer)


@dataclasses.dataclass(frozen=True)
class Zero(Rule):
    r"""LRP-0: relevance in proportion to contributions, nothing added.

    $$R_x = x \odot L_W^\top \frac{R_z}{L_W(x) + b}$$

    Where the denominator is exactly zero, inputs get nothing (0/0 is taken as 0).

    Attributes:
        keep_bias: whether the bias takes part in the denominator.

    References:
        Bach et al., 2015, eq. 56 [bach2015pixel].

    Example:
        >>> Zero()
        Zero(keep_bias=True)
    """

    keep_bias: bool = True

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        quotient = self._quotient(layer, relevance)
        if not layer.is_affine:
            return contributions(layer, layer.pull_back(quotient))
        return layer.x * layer.transpose(layer.kernel, quotient)

    def _quotient(self, layer: Layer, relevance: Any) -> Any:
        drops_bias = not self.keep_bias and layer.is_affine
        z = layer.z - layer.bias if drops_bias else layer.z
        quotient = relevance.astype(layer.dtype) / jnp.where(z == 0, 1, z)
        return jnp.where(z == 0, 0, quotient)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the bias keeps, and what is lost where z is zero."""
        quotient = self._quotient(layer, relevance)
        lost = jnp.sum(jnp.where(quotient == 0, relevance.astype(layer.dtype), 0))
        if not self.keep_bias and layer.is_affine:
            return Absorbed(jnp.zeros(()), lost)
        return Absorbed(absorbed_by(layer, quotient, 0.0).bias, lost)


@dataclasses.dataclass(frozen=True)
class Gamma(Rule):
    r"""LRP-$\gamma$ for inputs of any sign: favors what agrees with the output.

    With $W_p = W + \gamma W^+$, $W_n = W + \gamma W^-$ and $b_p, b_n$ likewise,

    $$z_p = L_{W_p}(x^+) + L_{W_n}(x^-) + b_p, \quad
      z_n = L_{W_n}(x^+) + L_{W_p}(x^-) + b_n,$$

    $$R_x = x^+ \odot (L_{W_p}^\top q_p + L_{W_n}^\top q_n)
          + x^- \odot (L_{W_n}^\top q_p + L_{W_p}^\top q_n),$$

    where $q_p = R_z / s(z_p)$ if $z > 0$ and $q_n = R_z / s(z_n)$ if $z < 0$, else 0.

    Attributes:
        gamma: the weight that contributions of the output's sign get in addition.
        epsilon: stabilizer, in the units of the pre-activation $z$.
        keep_bias: whether the bias takes part in the denominators.

    References:
        Montavon et al., 2019, section 10.2.1 [montavon2019layer], generalized to signed
        inputs as in Anders et al., 2021 [anders2021software].

    Example:
        >>> Gamma(0.1)
        Gamma(gamma=0.1, epsilon=1e-06, keep_bias=True)
    """

    gamma: float = 0.25
    epsilon: float | Stabilizer = 1e-6
    keep_bias: bool = True

    def __post_init__(self) -> None:
        checked_real("gamma", self.gamma, 0, call="Gamma")
        stabilizer(self.epsilon)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        need_affine(self, layer)
        (q_p, _), (q_n, _) = self._quotients(layer, relevance)
        w_p, w_n = self._kernels(layer)
        if layer.nonnegative:
            share = layer.transpose(w_p, q_p) + layer.transpose(w_n, q_n)
            return layer.x * share
        p_of_p, n_of_p = layer.transpose_each([w_p, w_n], q_p)
        p_of_n, n_of_n = layer.transpose_each([w_p, w_n], q_n)
        return layer.x * jnp.where(layer.x > 0, p_of_p + n_of_n, n_of_p + p_of_n)

    def _kernels(self, layer: Layer) -> tuple[Any, Any]:
        w = layer.kernel
        return w + self.gamma * jnp.maximum(w, 0), w + self.gamma * jnp.minimum(w, 0)

    def _biases(self, layer: Layer) -> tuple[Any, Any]:
        if not self.keep_bias:
            return 0.0, 0.0
        b = layer.bias
        return b + self.gamma * jnp.maximum(b, 0), b + self.gamma * jnp.minimum(b, 0)

    def _quotients(self, layer: Layer, relevance: Any) -> tuple[Any, Any]:
        r"""The pairs $(q_p, z_p)$ and $(q_n, z_n)$."""
        relevance = relevance.astype(layer.dtype)
        (w_p, w_n), (b_p, b_n) = self._kernels(layer), self._biases(layer)
        z_p = signed_linear(layer, w_p, w_n) + b_p
        # W_p + W_n = (2 + gamma) W, so the other sum needs no pass of its own.
        both = (2 + self.gamma) * (layer.z - layer.bias)
        z_n = both - (z_p - b_p) + b_n
        safe = stabilizer(self.epsilon).at(layer)
        q_p = jnp.where(layer.z > 0, relevance / safe(z_p), 0)
        q_n = jnp.where(layer.z < 0, relevance / safe(z_n), 0)
        return (q_p, z_p), (q_n, z_n)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the biases and the stabilizer keep, and what is lost at zero."""
        safe = stabilizer(self.epsilon).at(layer)
        b_p, b_n = self._biases(layer)
        (q_p, z_p), (q_n, z_n) = self._quotients(layer, relevance)
        bias = jnp.sum(q_p * b_p) + jnp.sum(q_n * b_n)
        in_stabilizer = jnp.sum(q_p * (safe(z_p) - z_p)) + jnp.sum(
            q_n * (safe(z_n) - z_n)
        )
        lost = jnp.sum(jnp.where(layer.z == 0, relevance.astype(layer.dtype), 0))
        return Absorbed(bias, in_stabilizer + lost)


def signed_linear(layer: Layer, for_positive: Any, for_negative: Any) -> Any:
    r"""Returns $L_A(x^+) + L_B(x^-)$ for two kernels.

    Args:
        layer: the site in this pass.
        for_positive: the kernel $A$, of the positive part of the input.
        for_negative: the kernel $B$, of the negative part; not used where the graph
            proves that $x$ is nonnegative.
    """
    if layer.nonnegative:
        return layer.linear(layer.x, for_positive)
    positive = layer.linear(jnp.maximum(layer.x, 0), for_positive)
    return positive + layer.linear(jnp.minimum(layer.x, 0), for_negative)
