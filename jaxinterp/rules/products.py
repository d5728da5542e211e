r"""Rules for products of activations: attention, and the gates of recurrent networks.

Notation as in `rule.py`. A gate $g \in [0, 1]$ decides how much of a signal $x$ goes
on, $z = g \odot x$, as in LSTM, GRU and gated linear units.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.rules.any_site import Norm
from jaxinterp.rules.rule import Absorbed, Rule, contributions, to_shape
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
        share = layer.pull_back(self._quotient(layer, relevance))
        # A matrix times itself is two factors, a matrix times a mask one.
        degree = sum(_n_reads(layer))
        return contributions(layer, [s / degree for s in share])

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
        if not self._attends(layer):
            return Uniform(self.epsilon)(layer, relevance)
        shares = Norm(self.epsilon)(layer, relevance)
        return tuple(
            jnp.zeros_like(share) if value in layer.node.softmaxes else share
            for value, share in zip(layer.node.inputs, shares, strict=True)
        )

    def _attends(self, layer: Layer) -> bool:
        """Whether one of two factors is the result of a softmax."""
        return len(layer.inputs) == 2 and len(layer.node.softmaxes) == 1

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the stabilizer keeps."""
        if not self._attends(layer):
            return Uniform(self.epsilon).absorbed(layer, relevance)
        safe = stabilizer(self.epsilon).at(layer)(layer.z)
        kept = (safe - layer.z) * (relevance.astype(layer.dtype) / safe)
        return Absorbed(jnp.zeros(()), jnp.sum(kept))


@dataclasses.dataclass(frozen=True)
class SignalTakesAll(Rule):
    r"""Gives all relevance of a gated product to its signal, and none to its gate.

    $$R_x = R_z, \; R_g = 0$$

    A gate is a factor that the graph proves to be a sigmoid, or one minus it. A product
    without a gate, or of gates alone, is shared equally, as by `Uniform`. If gates had
    a share as well, every step of a recurrent network would halve the relevance of all
    earlier steps: after ten steps nothing would be left of it.

    References:
        Arras et al., 2017, section 3.2 [arras2017explaining].
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the share of each factor."""
        gates, factors = layer.gates, layer.factors
        signals = {f for f, is_gate in zip(factors, gates, strict=True) if not is_gate}
        if signals in (set(), set(factors)):
            return Uniform()(layer, relevance)
        return _shares(layer, relevance, signals)


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
