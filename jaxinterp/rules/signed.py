"""Rules for affine sites that split contributions by sign.

Alpha-beta, z-plus and relative influence. Notation as in `affine.py`. The positive
contributions to $z$ are $L_{W^+}(x^+) + L_{W^-}(x^-)$, the negative ones $L_{W^-}(x^+)
+ L_{W^+}(x^-)$.

zennit and iNNvestigate differ in the bias. zennit (`convention="zennit"`, the default)
puts $b^+$ into the positive denominator and $b^-$ into the negative; iNNvestigate puts
the whole bias into both for alpha-beta, and none into z-plus.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from jaxinterp.checks import checked_real
from jaxinterp.rules.affine import need_affine, signed_linear
from jaxinterp.rules.rule import Absorbed, Rule, of_example, total
from jaxinterp.rules.stabilize import Stabilizer, or_zero, stabilizer
from jaxinterp.tracing.layer.layer import Layer

Convention = Literal["zennit", "innvestigate"]


def default_stabilizer(
    epsilon: float | Stabilizer | None, convention: Convention, owner: str
) -> Stabilizer:
    """Returns the stabilizer of a rule: that of the convention by default.

    Args:
        epsilon: the stabilizer of the rule or its size; `None` for the default.
        convention: `"zennit"` adds 1e-6, `"innvestigate"` replaces zeros by 1e-7.
        owner: the name of the rule, for the error message.

    Raises:
        ValueError: if there is no such convention.
        TypeError: if `epsilon` is neither a number nor a stabilizer.
    """
    if convention not in ("zennit", "innvestigate"):
        raise ValueError(
            f"{owner}: `convention` is 'zennit' or 'innvestigate', not {convention!r}."
        )
    if epsilon is not None:
        return stabilizer(epsilon)
    if convention == "innvestigate":
        return Stabilizer(1e-7, only_zeros=True)
    return Stabilizer(1e-6)


@dataclasses.dataclass(frozen=True)
class AlphaBeta(Rule):
    r"""LRP-$\alpha\beta$: contributions of either sign share relevance separately.

    $$z_a = L_{W^+}(x^+) + L_{W^-}(x^-) + b^+, \quad
      z_b = L_{W^-}(x^+) + L_{W^+}(x^-) + b^-,$$

    $$R_x = \alpha\,[x^+ \odot L_{W^+}^\top q_a + x^- \odot L_{W^-}^\top q_a]
          - \beta\,[x^+ \odot L_{W^-}^\top q_b + x^- \odot L_{W^+}^\top q_b]$$

    with $q_a = R_z / s(z_a)$ and $q_b = R_z / s(z_b)$. Where a site has no negative
    contribution the second bracket is empty and relevance grows by the factor $\alpha$.

    Attributes:
        alpha: weight of the positive contributions.
        beta: weight of the negative contributions; `alpha - beta` must be 1.
        epsilon: stabilizer of the denominators; by default that of the convention.
        keep_bias: whether the bias takes part in the denominators.
        convention: `"zennit"` or `"innvestigate"`, see the head of this file.

    Raises:
        ValueError: if `alpha - beta` is not 1 or either is negative.

    References:
        Bach et al., 2015, eq. 60 [bach2015pixel].

    Example:
        >>> AlphaBeta(1.0, 0.0).alpha
        1.0
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float | Stabilizer | None = None
    keep_bias: bool = True
    convention: Convention = "zennit"

    def __post_init__(self) -> None:
        checked_real("alpha", self.alpha, 0, call="AlphaBeta")
        checked_real("beta", self.beta, 0, call="AlphaBeta")
        if abs(self.alpha - self.beta - 1) > 1e-6:
            raise ValueError(
                f"AlphaBeta: `alpha - beta` must be 1, and alpha={self.alpha}, "
                f"beta={self.beta}.\nWrite `AlphaBeta(alpha={self.beta + 1}, "
                f"beta={self.beta})`."
            )
        default_stabilizer(self.epsilon, self.convention, "AlphaBeta")

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        need_affine(self, layer)
        (q_a, _), (q_b, _) = self._quotients(layer, relevance)
        w_p, w_n = jnp.maximum(layer.kernel, 0), jnp.minimum(layer.kernel, 0)
        if layer.nonnegative:
            share = layer.transpose(w_p, self.alpha * q_a)
            if self.beta:
                share -= layer.transpose(w_n, self.beta * q_b)
            return layer.x * share
        up, down = layer.transpose_each([w_p, w_n], self.alpha * q_a)
        if self.beta:
            against_down, against_up = layer.transpose_each([w_p, w_n], self.beta * q_b)
            up, down = up - against_up, down - against_down
        return layer.x * jnp.where(layer.x > 0, up, down)

    def _biases(self, layer: Layer) -> tuple[Any, Any]:
        if not self.keep_bias:
            return 0.0, 0.0
        if self.convention == "innvestigate":
            return layer.bias, layer.bias
        return jnp.maximum(layer.bias, 0), jnp.minimum(layer.bias, 0)

    def _quotients(self, layer: Layer, relevance: Any) -> tuple[Any, Any]:
        r"""The pairs $(q_a, z_a)$ and $(q_b, z_b)$."""
        relevance = relevance.astype(layer.dtype)
        safe = default_stabilizer(self.epsilon, self.convention, "AlphaBeta").at(layer)
        b_a, b_b = self._biases(layer)
        w_p, w_n = jnp.maximum(layer.kernel, 0), jnp.minimum(layer.kernel, 0)
        z_a = signed_linear(layer, w_p, w_n) + b_a
        if not self.beta:
            return (relevance / safe(z_a), z_a), (jnp.zeros_like(z_a), z_a)
        # Not z - z_a: where one sign outweighs the other, that is rounding noise.
        z_b = signed_linear(layer, w_n, w_p) + b_b
        return (relevance / safe(z_a), z_a), (relevance / safe(z_b), z_b)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the biases, the stabilizer and a missing sign keep."""
        safe = default_stabilizer(self.epsilon, self.convention, "AlphaBeta").at(layer)
        (q_a, z_a), (q_b, z_b) = self._quotients(layer, relevance)
        b_a, b_b = self._biases(layer)
        bias = self.alpha * jnp.sum(q_a * b_a) - self.beta * jnp.sum(q_b * b_b)
        in_stabilizer = self.alpha * jnp.sum(q_a * (safe(z_a) - z_a))
        in_stabilizer -= self.beta * jnp.sum(q_b * (safe(z_b) - z_b))
        return Absorbed(bias, in_stabilizer)


@dataclasses.dataclass(frozen=True)
class ZPlus(Rule):
    r"""LRP-$z^+$: only positive contributions share relevance.

    $$R_x = x^+ \odot L_{W^+}^\top q + x^- \odot L_{W^-}^\top q, \quad
      q = \frac{R_z}{s(L_{W^+}(x^+) + L_{W^-}(x^-) + b^+)}$$

    It is `AlphaBeta(1, 0)`, also for inputs below zero.

    Attributes:
        epsilon: stabilizer of the denominator; by default that of the convention.
        keep_bias: whether the bias takes part in the denominator; it never does in
            iNNvestigate.
        convention: `"zennit"` or `"innvestigate"`, see the head of this file.

    References:
        Montavon et al., 2017, eq. 17 [montavon2017explaining]; Bach et al., 2015, eq.
        60 with alpha = 1 [bach2015pixel].

    Example:
        >>> ZPlus().keep_bias
        True
    """

    epsilon: float | Stabilizer | None = None
    keep_bias: bool = True
    convention: Convention = "zennit"

    def __post_init__(self) -> None:
        default_stabilizer(self.epsilon, self.convention, "ZPlus")

    @property
    def _as_alpha_beta(self) -> AlphaBeta:
        epsilon = default_stabilizer(self.epsilon, self.convention, "ZPlus")
        keep_bias = self.keep_bias and self.convention == "zennit"
        return AlphaBeta(1.0, 0.0, epsilon, keep_bias)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        need_affine(self, layer)
        return self._as_alpha_beta(layer, relevance)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the bias and the stabilizer keep."""
        return self._as_alpha_beta.absorbed(layer, relevance)


@dataclasses.dataclass(frozen=True)
class RelativeInfluence(Rule):
    r"""Both signs of contributions get relevance, then what is below the mean loses it.

    With $c_{ij}$ for what the entry $x_i$ contributes to $z_j$, and $a_j = \sum_i
    |c_{ij}|$,

    $$\tilde R_i = \sum_j \left(\frac{c_{ij}^+}{\sum_k c_{kj}^+} +
    \frac{|c_{ij}^-|}{a_j}\right) R_{z_j}, \quad
    R_{x_i} = \tilde R_i - \frac1n \left(\sum_k \tilde R_k - \sum_j R_{z_j}\right)$$

    The sums over $k$ and $j$ on the right are of one example, and $n$ is the number of
    its entries that differ from 0 by more than rounding; the others get nothing. So the
    sum is kept, whatever the bias is, and a negative entry is one of little influence
    rather than one that speaks against the score.

    Raises:
        BatchAxisError: when used, if it cannot be told along which axis examples lie.

    References:
        Nam et al., 2020, relative attributing propagation [nam2020relative], as their
        code has it for dense layers. For convolutions the code sends all negative
        relevance to negative weights, which would treat a 1 x 1 convolution otherwise
        than the same dense layer; and where inputs have both signs it hands the sum on
        twice, once for each of them. Neither is done here.

    Example:
        >>> attribute = ji.attribution.lrp(
        ...     lambda w, x: x @ w, composite=[("*", RelativeInfluence())])
        >>> w = jnp.array([[6.0], [-2.0], [1.0]])
        >>> attribute(w, jnp.array([[1.0, 1.0, 0.0]]), jnp.array([0])).tolist()
        [[3.5, 0.5, 0.0]]
    """

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        need_affine(self, layer)
        relevance = relevance.astype(layer.dtype)
        received = self._received(layer, relevance)
        kept = of_example(jnp.sum, relevance, layer, str(self), is_output=True)
        excess = of_example(jnp.sum, received, layer, str(self)) - kept
        # Not `!= 0`: rounding in place of a zero would change the share of all others.
        largest = of_example(jnp.max, jnp.abs(received), layer, str(self))
        is_in = jnp.abs(received) > 64 * jnp.finfo(layer.dtype).eps * largest
        count = of_example(jnp.sum, is_in.astype(layer.dtype), layer, str(self))
        return jnp.where(is_in, received - or_zero(excess, count), 0)

    def _received(self, layer: Layer, relevance: Any) -> Any:
        r"""The shares $\tilde R$ of both signs, before they are shifted."""
        w_p, w_n = jnp.maximum(layer.kernel, 0), jnp.minimum(layer.kernel, 0)
        sizes = layer.linear(jnp.abs(layer.x), jnp.abs(layer.kernel))
        for_helping = or_zero(relevance, signed_linear(layer, w_p, w_n))
        for_hindering = or_zero(relevance, sizes)
        if layer.nonnegative:
            share = layer.transpose(w_p, for_helping)
            return layer.x * (share - layer.transpose(w_n, for_hindering))
        helping_up, helping_down = layer.transpose_each([w_p, w_n], for_helping)
        against_up, against_down = layer.transpose_each([w_p, w_n], for_hindering)
        up, down = helping_up - against_down, helping_down - against_up
        return layer.x * jnp.where(layer.x > 0, up, down)

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what is lost where no entry of an example contributes."""
        lost = total(relevance.astype(layer.dtype)) - total(self(layer, relevance))
        return Absorbed(jnp.zeros(()), lost)
