r"""Rules for products of activations: attention, and the gates of recurrent networks.

Notation as in `rule.py`. A gate $g \in [0, 1]$ decides how much of a signal $x$ goes
on, $z = g \odot x$, as in LSTM, GRU and gated linear units.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import checked_integer
from jaxinterp.rules.any_site import Norm
from jaxinterp.rules.rule import (
    Absorbed,
    Rule,
    RuleSiteError,
    contributions,
    to_shape,
)
from jaxinterp.rules.stabilize import Stabilizer, stabilizer
from jaxinterp.tracing.layer.layer import Layer


@dataclasses.dataclass(frozen=True)
class Uniform(Rule):
    r"""Shares relevance equally among the factors of a product.

    $$R_{x_i} = \frac{1}{n}\, x_i \odot J_{x_i}^\top \frac{R_z}{s(z)}$$

    For an elementwise product of $n$ factors this is $R_z / n$ each; for a matrix
    product the sum over the contraction is shared in proportion to contributions.

    Attributes:
        epsilon: stabilizer of the denominator, in the units of $z$; elementwise
            products are not divided.

    References:
        Achtibat et al., 2024, propositions 3.2 and 3.3 [achtibat2024attnlrp].
    """

    epsilon: float | Stabilizer = 1e-6

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the share of each factor."""
        if not self._contracts(layer):
            return _shares(layer, relevance, set(layer.factors))
        degree, *_ = degrees(layer)  # the same for each factor of a matrix product
        quotient = self._quotient(layer, relevance) / degree
        return contributions(layer, layer.pull_back(quotient))

    def _contracts(self, layer: Layer) -> bool:
        return layer.node.role == "matmul"

    def _quotient(self, layer: Layer, relevance: Any) -> Any:
        return relevance.astype(layer.dtype) / stabilizer(self.epsilon).at(layer)(
            layer.z
        )

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the stabilizer keeps."""
        if not self._contracts(layer):
            return super().absorbed(layer, relevance)
        quotient = self._quotient(layer, relevance)
        in_stabilizer = jnp.sum(
            (stabilizer(self.epsilon).at(layer)(layer.z) - layer.z) * quotient
        )
        return Absorbed(jnp.zeros(()), in_stabilizer)


@dataclasses.dataclass(frozen=True)
class FixedAttention(Rule):
    r"""Gives all relevance of attention to its values: its weights count as constants.

    $$R_v = v \odot A^\top \frac{R_z}{s(z)}, \; R_A = 0 \quad \text{for } z = A\,v$$

    where $A$ is the result of a softmax, which the graph tells. So nothing goes back to
    queries and keys. Other products are shared equally, as by `Uniform`.

    Attributes:
        epsilon: stabilizer of the denominator, in the units of $z$.

    References:
        Ali et al., 2022, section 4 [ali2022xai].

    Example:
        >>> FixedAttention()
        FixedAttention(epsilon=1e-06)
    """

    epsilon: float | Stabilizer = 1e-6

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the share of each factor."""
        if not attends(layer):
            return Uniform(self.epsilon)(layer, relevance)
        shares = Norm(self.epsilon)(layer, relevance)
        return tuple(
            jnp.zeros_like(share) if value in layer.node.softmaxes else share
            for value, share in zip(layer.node.inputs, shares, strict=True)
        )

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the stabilizer keeps."""
        if not attends(layer):
            return Uniform(self.epsilon).absorbed(layer, relevance)
        return kept_by_stabilizer(layer, relevance, self.epsilon)


@dataclasses.dataclass(frozen=True)
class SignalTakesAll(Rule):
    r"""Gives all relevance of a gated product to its signal, and none to its gate.

    $$R_x = R_z, \; R_g = 0$$

    A gate is a factor that the graph proves to lie between zero and one: a sigmoid, one
    minus it, an exponential of what is never positive, such as the decay of a state or
    a gate that is stabilized by a maximum. A product without a gate, or of gates alone,
    is shared equally, as by `Uniform`. If gates had a share as well, every step of a
    recurrent network would halve the relevance of all earlier steps: after ten steps
    nothing would be left of it.

    Attributes:
        signal: the number of the factor that is the signal, in the order in which they
            are multiplied, from zero on. It is for what the graph cannot prove: the
            memory that a query reads, in an xLSTM or a state space. By default the
            factors that are no gates.

    References:
        Arras et al., 2017, section 3.2 [arras2017explaining]; of the state of a state
        space Jafari et al., 2024, section 4.2 [jafari2024mambalrp].

    Example:
        >>> lines = [("matmul", SignalTakesAll(signal=0))]
        >>> model = lambda w, x: jnp.einsum("bij,bj->bi", x[:, 1:], x[:, 0])
        >>> attribute = ji.attribution.lrp(model, composite=lines)
        >>> x = jnp.array([[[1.0, 2.0], [3.0, 0.5], [1.0, 1.0]]])
        >>> jnp.round(attribute(None, x, jnp.array([0])), 4).tolist()
        [[[0.0, 0.0], [3.0, 1.0], [0.0, 0.0]]]
    """

    signal: int | None = None

    def __post_init__(self) -> None:
        if self.signal is not None:
            checked_integer("signal", self.signal, 0, call="SignalTakesAll")

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the share of each factor."""
        signals = self._signals(layer)
        if signals == set(layer.factors):
            return Uniform()(layer, relevance)
        if layer.node.role != "matmul":
            return _shares(layer, relevance, signals)
        shares = Norm()(layer, relevance)
        return tuple(
            share / len(signals) if factor in signals else jnp.zeros_like(x)
            for x, factor, share in zip(
                layer.inputs, layer.factors, shares, strict=True
            )
        )

    def _signals(self, layer: Layer) -> set[int]:
        """The factors that have a share, as in `Layer.factors`."""
        factors = layer.factors
        if self.signal is not None:
            if self.signal >= len(factors):
                needed = f"a product of at least {self.signal + 1} factors"
                raise RuleSiteError(self, layer, needed)
            return {factors[self.signal]}
        pairs = zip(factors, layer.gates, strict=True)
        return {f for f, is_gate in pairs if not is_gate} or set(factors)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the stabilizer keeps."""
        if self._signals(layer) == set(layer.factors) or layer.node.role != "matmul":
            return Uniform().absorbed(layer, relevance)
        return kept_by_stabilizer(layer, relevance, Uniform().epsilon)


def kept_by_stabilizer(
    layer: Layer, relevance: Any, epsilon: float | Stabilizer
) -> Absorbed:
    """Returns what the stabilizer keeps if one factor of a product has all.

    Args:
        layer: the site in this pass.
        relevance: the relevance of its output.
        epsilon: the stabilizer, or the size of the default one.
    """
    safe = stabilizer(epsilon).at(layer)(layer.z)
    kept = (safe - layer.z) * (relevance.astype(layer.dtype) / safe)
    return Absorbed(jnp.zeros(()), jnp.sum(kept))


def attends(layer: Layer) -> bool:
    """Whether one of two factors is the result of a softmax.

    Args:
        layer: the site in this pass.
    """
    return len(layer.inputs) == 2 and len(layer.node.softmaxes) == 1


def degrees(layer: Layer) -> list[int]:
    """Returns by what the derivative in each input of a product is to be divided.

    A matrix times itself is two factors, a matrix times a mask one. In an elementwise
    product inputs that are functions of one value share what their factor gets.

    Args:
        layer: the site in this pass.
    """
    reads = _n_reads(layer)
    if layer.node.role == "matmul":
        return [sum(reads)] * len(reads)
    factors = layer.factors
    n_factors = len(set(factors))
    return [
        n_factors * factors.count(f) * n for f, n in zip(factors, reads, strict=True)
    ]


def _shares(layer: Layer, relevance: Any, chosen: set[int]) -> Any:
    """Returns relevance shared equally among some factors of an elementwise product.

    Args:
        layer: the site in this pass.
        relevance: the relevance of its output.
        chosen: the factors that have a share, as in `Layer.factors`. Inputs that are
            functions of one value share what their factor gets.
    """
    factors = layer.factors
    if len(layer.node.members) == 1:
        back = [to_shape(relevance, x.shape) for x in layer.inputs]
    else:  # to the layout of each input: the derivative where all factors are one
        ones = [jnp.ones_like(x) for x in layer.inputs]
        z, pull = jax.vjp(layer, *ones)
        whole = pull(jnp.where(z == 0, 0, relevance / jnp.where(z == 0, 1, z)))
        back = [r / n for r, n in zip(whole, _n_reads(layer), strict=True)]
    return tuple(
        r / (len(chosen) * factors.count(f)) if f in chosen else jnp.zeros_like(r)
        for r, f in zip(back, factors, strict=True)
    )


def _n_reads(layer: Layer) -> list[int]:
    """How often the equations of a product read each of its inputs."""
    reads = [value for equation in layer.node.members for value in equation.values]
    return [reads.count(value) for value in layer.node.inputs]
