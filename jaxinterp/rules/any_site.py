"""Rules for sites of any kind: derivative, identity, zero, shares in proportion."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.rules.rule import (
    Absorbed,
    Rule,
    RuleSiteError,
    absorbed_by,
    contributions,
    to_shape,
    total,
)
from jaxinterp.rules.stabilize import Stabilizer, or_zero, stabilizer
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.facts.signs import nonnegative_values
from jaxinterp.tracing.layer.layer import Layer


@dataclasses.dataclass(frozen=True)
class Gradient(Rule):
    r"""The site's own derivative: $R_x = J_f(x)^\top R_z$.

    In a relevance composite this is right where $f$ only picks entries (max pooling).
    Other libraries apply it silently to layers that they do not know.

    Example:
        >>> Gradient()
        Gradient()
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the cotangent of each input."""
        return layer.pull_back(relevance)


@dataclasses.dataclass(frozen=True)
class Pass(Rule):
    r"""Hands relevance on unchanged: $R_x = R_z$.

    For activations, normalizations and other sites whose single input has the shape of
    the output. What a scale of zero makes constant gets nothing.

    Example:
        >>> Pass()
        Pass()
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the output."""
        if len(layer.inputs) == 1 and layer.node.role is Role.NORMALIZATION:
            relevance = layer.before_layout(relevance)
        if len(layer.inputs) != 1 or layer.inputs[0].shape != relevance.shape:
            raise RuleSiteError(self, layer, "one input in the shape of the output")
        return (
            relevance
            if layer.node.role is not Role.SCALE
            else self._kept(layer, relevance)
        )

    def _kept(self, layer: Layer, relevance: Any) -> Any:
        return jnp.where(layer.kernel == 0, 0, relevance)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what stays where a scale is zero."""
        if layer.node.role is not Role.SCALE:
            return super().absorbed(layer, relevance)
        lost = relevance - self._kept(layer, relevance)
        return Absorbed(total(lost), jnp.zeros(()))


@dataclasses.dataclass(frozen=True)
class Stop(Rule):
    r"""Gives no relevance to the inputs: $R_x = 0$.

    It is lost on purpose; the ledger shows how much.

    Example:
        >>> Stop()
        Stop()
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns zeros for each input."""
        return tuple(jnp.zeros_like(x) for x in layer.inputs)


@dataclasses.dataclass(frozen=True)
class Norm(Rule):
    r"""Shares relevance in proportion to contributions, at any differentiable site.

    $$R_x = x \odot J_f(x)^\top \frac{R_z}{s(z)}$$

    For a sum $z = a + b$ this is the ratio $R_a = R_z\, a / s(a + b)$, for an average
    zennit's `Norm`. Where $a$ and $b$ cancel the ratio is unbounded: see `AbsRatio`.

    Attributes:
        epsilon: stabilizer of the denominator, in the units of $z$.

    References:
        Anders et al., 2021, table 1 [anders2021software].
    """

    epsilon: float | Stabilizer = 1e-6

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the share of each input."""
        share = layer.pull_back(self._quotient(layer, relevance))
        return contributions(layer, share)

    def _quotient(self, layer: Layer, relevance: Any) -> Any:
        safe = stabilizer(self.epsilon).at(layer)(layer.z)
        relevance = relevance.astype(layer.dtype)
        if jnp.iscomplexobj(safe):  # two numbers; JAX's cotangent conjugates
            parts = relevance.real / safe.real, -relevance.imag / safe.imag
            return jax.lax.complex(*parts)
        return relevance / safe

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the constant part of $f$ and the stabilizer keep."""
        return absorbed_by(layer, self._quotient(layer, relevance), self.epsilon)


@dataclasses.dataclass(frozen=True)
class FixedStatistics(Rule):
    r"""Shares relevance through a normalization whose divisor counts as a constant.

    A layer norm is then the affine map $z = \frac{\gamma}{\sigma} \odot
    (x - \bar x) + \beta$ with a fixed $\sigma$, and $J$ its matrix:

    $$R_x = x \odot J^\top \frac{R_z}{s(z)}$$

    The shift $\beta$ absorbs its share. An RMS norm has no mean and no shift, and so
    hands relevance on unchanged, up to the stabilizer. `Pass` does that at every
    normalization, and says nothing about what the mean took away.

    Of a quotient of two activations, such as the memory of an xLSTM over its
    normalizer, the dividend gets all.

    Attributes:
        epsilon: stabilizer of the denominator, in the units of $z$.

    References:
        Achtibat et al., 2024, proposition 3.4 [achtibat2024attnlrp].

    Example:
        >>> FixedStatistics()
        FixedStatistics(epsilon=1e-06)
    """

    epsilon: float | Stabilizer = 1e-6

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the share of the input, or of the dividend."""
        if not layer.node.statistics:
            raise RuleSiteError(self, layer, "a normalization or a quotient")
        return Norm(self.epsilon)(layer.with_fixed_statistics(), relevance)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the shift and the stabilizer keep."""
        fixed = layer.with_fixed_statistics()
        return Norm(self.epsilon).absorbed(fixed, relevance)


@dataclasses.dataclass(frozen=True)
class AbsRatio(Rule):
    r"""Shares relevance by magnitude: bounded even if contributions cancel.

    $$R_{x_i} = \sum_j R_{z_j} \frac{|c_{ji}|}{\sum_k |c_{jk}| + |b_j|}$$

    where $c_{ji}$ is what the entry $x_i$ contributes to $z_j$: $W_{ji} x_i$ in a
    convolution or dense layer, $x_i$ itself as a summand. Unlike `Norm` and `Epsilon`
    it never amplifies: $\sum_i |R_{x_i}| \le \sum_j |R_{z_j}|$. It needs a sum, an
    affine site, or a mean (average pooling). Where all summands of a sum are zero they
    share equally.

    Attributes:
        keep_bias: whether the bias of an affine site takes part in the denominator.

    References:
        Otsuki et al., 2024, section 3.3, for residual sums [otsuki2024layer].

    Example:
        >>> attribute = ji.attribution.lrp(
        ...     lambda w, x: x @ w, composite=[("*", AbsRatio())])
        >>> w = jnp.array([[3.0], [-1.0]])
        >>> attribute(w, jnp.array([[1.0, 1.0]]), jnp.array([0])).tolist()
        [[1.5, 0.5]]
    """

    keep_bias: bool = True

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the share of each summand."""
        if layer.is_affine:
            quotient, _ = self._of_affine(layer, relevance)
            return jnp.abs(layer.x) * layer.transpose(jnp.abs(layer.kernel), quotient)
        if layer.node.role is Role.LINEAR:
            (share,) = layer.pull_back(self._of_mean(layer, relevance))
            return jnp.abs(layer.inputs[0]) * share
        return self._of_sum(layer, relevance)

    def _of_affine(self, layer: Layer, relevance: Any) -> tuple[Any, Any]:
        r"""The quotient $R_z / (L_{|W|}(|x|) + |b|)$, and the magnitude of the bias."""
        bias = jnp.abs(layer.bias) if self.keep_bias else jnp.zeros((), layer.dtype)
        sizes = layer.linear(jnp.abs(layer.x), jnp.abs(layer.kernel)) + bias
        return or_zero(relevance.astype(layer.dtype), sizes), bias

    def _of_mean(self, layer: Layer, relevance: Any) -> Any:
        """The same quotient of a fixed linear map, whose weights are not negative."""
        node = layer.node
        proven = nonnegative_values(node.flow.program, frozenset(node.inputs))
        if len(node.inputs) != 1 or node.outputs[0] not in proven:
            raise RuleSiteError(self, layer, "a sum, an affine site or a mean")
        (x,) = layer.inputs
        _, push = jax.linearize(layer, x)
        sizes = push(jnp.abs(x)).astype(layer.dtype)
        return or_zero(relevance.astype(layer.dtype), sizes)

    def _of_sum(self, layer: Layer, relevance: Any) -> tuple[Any, ...]:
        _, push = jax.linearize(layer, *layer.inputs)
        zeros = [jnp.zeros_like(x) for x in layer.inputs]
        sizes = [
            jnp.abs(push(*(*zeros[:i], x, *zeros[i + 1 :])))
            for i, x in enumerate(layer.inputs)
        ]
        total = sum(sizes)
        is_zero = total == 0
        n_summands = len(sizes)
        shares = []
        for x, size in zip(layer.inputs, sizes, strict=True):
            ratio = size / jnp.where(is_zero, 1, total)
            part = jnp.where(is_zero, 1 / n_summands, ratio)
            shares.append(to_shape(part * relevance, x.shape))
        return tuple(shares)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the bias keeps, and what is lost where nothing contributes."""
        if layer.is_affine:
            quotient, bias = self._of_affine(layer, relevance)
        elif layer.node.role is Role.LINEAR:
            quotient, bias = self._of_mean(layer, relevance), jnp.zeros((), layer.dtype)
        else:
            return super().absorbed(layer, relevance)
        lost = jnp.sum(jnp.where(quotient == 0, relevance.astype(layer.dtype), 0))
        return Absorbed(jnp.sum(quotient * bias), lost)
