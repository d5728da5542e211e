"""Several rules at one site: a convex combination of what they send back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxinterp.checks import checked_share, shown
from jaxinterp.rules.rule import Absorbed, Rule
from jaxinterp.tracing.layer.layer import Layer, received_by


@dataclasses.dataclass(frozen=True)
class Mixture(Rule):
    r"""Several rules at once, each with a share of the relevance.

    $$R_x = \sum_k \lambda_k R_x^{(k)}, \quad \lambda_k \ge 0, \quad
      \sum_k \lambda_k = 1$$

    where $R_x^{(k)}$ is what rule $k$ would send to the input. If all rules conserve
    relevance, so does their mixture; what they absorb is mixed likewise. It costs as
    much as its rules together.

    Attributes:
        parts: pairs of a weight $\lambda_k$ and a rule.

    Raises:
        TypeError: if `parts` is no sequence of pairs of a number and a rule.
        ValueError: if a weight is negative, or the weights do not add up to 1.

    Example:
        >>> from jaxinterp.rules import Composite, Epsilon, ZPlus
        >>> mixture = Mixture([(0.75, Epsilon(0.0)), (0.25, ZPlus(epsilon=0.0))])
        >>> attribute = ji.attribution.lrp(
        ...     lambda w, x: x @ w, composite=Composite([("*", mixture)]))
        >>> w = jnp.array([[3.0], [-1.0]])
        >>> attribute(w, jnp.array([[1.0, 1.0]]), jnp.array([0])).tolist()
        [[2.75, -0.75]]
    """

    parts: Sequence[tuple[float, Rule]]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, list | tuple) or not all(
            map(_is_part, self.parts)
        ):
            raise TypeError(
                "Mixture: `parts` is a list of pairs of a weight and a rule, and is "
                f"{shown(self.parts)}.\n"
                "Write `Mixture([(0.7, Epsilon()), (0.3, ZPlus())])`."
            )
        weights = [checked_share("a weight", w, call="Mixture") for w, _ in self.parts]
        if not math.isclose(math.fsum(weights), 1, abs_tol=1e-6):
            raise ValueError(
                f"Mixture: the weights must add up to 1, and {weights} add up to "
                f"{math.fsum(weights):g}.\n"
                "Write for example `Mixture([(0.7, Epsilon()), (0.3, ZPlus())])`."
            )
        rules = [rule for _, rule in self.parts]
        object.__setattr__(self, "parts", tuple(zip(weights, rules, strict=True)))
        needs_whole = any(rule.of_activations for rule in rules)
        object.__setattr__(self, "of_activations", needs_whole)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the mixed relevance of each input."""
        received = [
            received_by(rule, layer, rule(layer, relevance)) for _, rule in self.parts
        ]
        return tuple(
            None
            if shares[0] is None
            else sum(w * r for (w, _), r in zip(self.parts, shares, strict=True))
            for shares in zip(*received, strict=True)
        )

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns the mixture of what the rules keep."""
        kept = [rule.absorbed(layer, relevance) for _, rule in self.parts]
        weights = [weight for weight, _ in self.parts]
        bias, in_stabilizer = (
            sum(w * k for w, k in zip(weights, column, strict=True))
            for column in zip(*kept, strict=True)
        )
        return Absorbed(jnp.asarray(bias), jnp.asarray(in_stabilizer))


def _is_part(part: Any) -> bool:
    is_pair = isinstance(part, tuple) and len(part) == 2
    return is_pair and isinstance(part[1], Rule)
