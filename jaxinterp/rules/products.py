r"""The rule of gated products, as in LSTM, GRU and gated linear units.

A gate $g \in [0, 1]$ decides how much of a signal $x$ goes on, $z = g \odot x$.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxinterp.rules.any_site import Uniform
from jaxinterp.rules.rule import Rule, to_shape
from jaxinterp.tracing.layer.layer import Layer


@dataclasses.dataclass(frozen=True)
class SignalTakesAll(Rule):
    r"""Gives all relevance of a gated product to its signal, and none to its gate.

    $$R_x = R_z, \; R_g = 0$$

    A gate is a factor that the graph proves to be a sigmoid, or one minus it. A product
    without a gate, or of gates alone, is shared equally, as by `Uniform`. To share with
    the gates as well would halve, at every step of a recurrent network, what comes from
    before: after ten steps nothing is left of it.

    References:
        Arras et al., 2017, section 3.2 [arras2017explaining].
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns each factor's share."""
        is_gate = layer.gates
        if all(is_gate) or not any(is_gate):
            return Uniform()(layer, relevance)
        count = len(is_gate) - sum(is_gate)
        return tuple(
            jnp.zeros_like(x) if gate else to_shape(relevance / count, x.shape)
            for gate, x in zip(is_gate, layer.inputs, strict=True)
        )
