"""Products of functions of single features: Sobol's g-function, and logic gates.

Their Shapley values, Sobol indices and partial dependence are exact, as in `tabular`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import check_choice, checked_integer
from jaxinterp.data.examples import draw
from jaxinterp.data.tabular import (
    SobolIndices,
    Uniform,
    along,
    checked,
    checked_feature,
    checked_grid,
    checked_per_feature,
    shares,
)
from jaxinterp.types import Key

Kind = Literal["and", "or", "xor"]


class _Product(NamedTuple):
    r"""Truths about $f(x) = c + s \prod_i h_i(x_i)$ with independent features.

    With $m_i = \mathbb E\,h_i$ and $v_i = \mathrm{Var}\,h_i$, the multilinear extension
    of the game gives $\phi_i = s\,(h_i - m_i) \int_0^1 \prod_{j \ne i} (m_j + t\,(h_j -
    m_j))\,dt$, the integral of a polynomial, for which Gauss-Legendre quadrature is
    exact.

    Attributes:
        c: the constant term $c$.
        s: the factor $s$.
        means: $m_i$, the mean of each factor.
        variances: $v_i$, the variance of each factor.
    """

    c: float
    s: float
    means: np.ndarray
    variances: np.ndarray

    def shapley(self, h: Array) -> Array:
        features = h.shape[-1]
        nodes, weights = np.polynomial.legendre.leggauss(features // 2 + 1)
        means = along(jnp.asarray(self.means, h.dtype), h.ndim)
        effect = jnp.zeros_like(h)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            factors = means + float(node) * (h - means)
            others = [_without(factors, i).prod(axis=-1) for i in range(features)]
            effect = effect + float(weight) * jnp.stack(others, axis=-1)
        return self.s * (h - means) * effect

    def sobol(self) -> SobolIndices:
        squares = self.means**2
        moments = squares + self.variances
        features = range(len(squares))
        first = self.variances * [np.delete(squares, i).prod() for i in features]
        total = self.variances * [np.delete(moments, i).prod() for i in features]
        variance = moments.prod() - squares.prod()
        return SobolIndices(shares(first, variance), shares(total, variance))

    def partial_dependence(self, feature: int, h: Array) -> Array:
        return self.c + self.s * float(np.delete(self.means, feature).prod()) * h


@dataclasses.dataclass(frozen=True)
class SobolG:
    r"""Sobol's g-function: a product, so that all features interact.

    $$f(x) = \prod_i \frac{|4 x_i - 2| + a_i}{1 + a_i}, \qquad X_i \sim \mathcal U(0,
    1)$$

    An ideal explanation ranks the features by $a$: at 0 a feature is important, at 99
    it hardly matters.

    Attributes:
        a: $a_i$, one finite number of at least 0 for each feature.

    Raises:
        ValueError: if there is no feature, or a number is negative or not finite.

    Example:
        >>> SobolG(a=(0.0, 99.0)).sobol().first.round(3).tolist()
        [1.0, 0.0]

    References:
        Saltelli and Sobol, 1995 [saltelli1995about]. The integral for the Shapley
        values is that of Owen, 1972 [owen1972multilinear].
    """

    a: tuple[float, ...] = (0.0, 1.0, 4.5, 9.0, 99.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", checked_per_feature("a", self.a))
        if min(self.a) < 0:
            raise ValueError(
                f"`a` needs a number of at least 0 for every feature, and is {self.a}."
            )

    @property
    def features(self) -> int:
        """The number of features."""
        return len(self.a)

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch"]:
        """Returns the value of the function."""
        return self._factors(checked(x, self.features)).prod(axis=-1)

    def sample(self, key: Key, count: int) -> Float[Array, "count features"]:
        """Draws `count` inputs; the i-th depends on `fold_in(key, i)` alone."""
        return draw("SobolG.sample", Uniform(self.features, 0.0, 1.0), key, count)

    def shapley(
        self, x: Float[Array, "*batch features"]
    ) -> Float[Array, "*batch features"]:
        """Returns the Shapley values of each input."""
        return self._product.shapley(self._factors(checked(x, self.features)))

    def sobol(self) -> SobolIndices:
        """Returns the Sobol indices of every feature."""
        return self._product.sobol()

    def partial_dependence(
        self, feature: int, grid: Float[Array, " points"]
    ) -> Float[Array, " points"]:
        """Returns the mean of the function for each value of one feature."""
        a = self.a[checked_feature(feature, self.features)]
        return (jnp.abs(4 * checked_grid(grid) - 2) + a) / (1 + a)

    def _factors(self, x: Array) -> Array:
        a = along(jnp.asarray(self.a, x.dtype), x.ndim)
        return (jnp.abs(4 * x - 2) + a) / (1 + a)

    @property
    def _product(self) -> _Product:
        a = np.array(self.a)
        return _Product(0.0, 1.0, np.ones_like(a), 1 / (3 * (1 + a) ** 2))


@dataclasses.dataclass(frozen=True)
class Gate:
    r"""A logic gate on binary features, some of which it does not read.

    With $n$ connected features, AND is $\prod_i x_i$, OR is $1 - \prod_i (1 - x_i)$ and
    XOR, the parity, is $\frac12 - \frac12 \prod_i (1 - 2 x_i)$; $P(X_i = 1) = q$.

    An ideal explanation gives equal shares to connected features that are equal, and
    nothing to the others. XOR of fair bits is the hard case: no feature alone tells
    anything, every first Sobol index is 0, and all of the effect is interaction.

    Attributes:
        kind: which gate, `"and"`, `"or"` or `"xor"`.
        connected: how many features the gate reads, the first ones.
        irrelevant: how many features follow that the gate does not read.
        probability: $q$, the probability that a feature is 1, within (0, 1).

    Raises:
        ValueError: if there is no such gate, or a number is out of range.

    Example:
        >>> gate = Gate("xor", irrelevant=1)
        >>> x = jnp.array([[1.0, 0.0, 1.0]])
        >>> gate(x).tolist(), gate.shapley(x).tolist()
        ([1.0], [[0.25, 0.25, 0.0]])
        >>> [indices.tolist() for indices in gate.sobol()]
        [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]

    References:
        The integral for the Shapley values is that of Owen, 1972
        [owen1972multilinear].
    """

    kind: Kind = "xor"
    connected: int = 2
    irrelevant: int = 0
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(Kind), call="Gate")
        for name, smallest in (("connected", 1), ("irrelevant", 0)):
            count = checked_integer(name, getattr(self, name), smallest, call="Gate")
            object.__setattr__(self, name, count)
        if not 0 < self.probability < 1:
            raise ValueError(
                "Gate: `probability` must lie between 0 and 1, and is "
                f"{self.probability}."
            )

    @property
    def features(self) -> int:
        """The number of features."""
        return self.connected + self.irrelevant

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch"]:
        """Returns 0 or 1 for binary inputs, and the value of the formula for others."""
        product = self._product
        return product.c + product.s * self._factors(x).prod(axis=-1)

    def sample(self, key: Key, count: int) -> Float[Array, "count features"]:
        """Draws `count` binary inputs; the i-th depends on `fold_in(key, i)` alone."""
        return draw("Gate.sample", _Bits(self.features, self.probability), key, count)

    def shapley(
        self, x: Float[Array, "*batch features"]
    ) -> Float[Array, "*batch features"]:
        """Returns the Shapley values of each input."""
        return self._product.shapley(self._factors(x))

    def sobol(self) -> SobolIndices:
        """Returns the Sobol indices of every feature."""
        return self._product.sobol()

    def partial_dependence(
        self, feature: int, grid: Float[Array, " points"]
    ) -> Float[Array, " points"]:
        """Returns the mean of the gate for each value of one feature."""
        is_read = checked_feature(feature, self.features) < self.connected
        slope, start = (self._slope, self._start) if is_read else (0.0, 1.0)
        return self._product.partial_dependence(
            feature, start + slope * checked_grid(grid)
        )

    def _factors(self, x: Array) -> Array:
        """The factors of the product: linear in connected features, 1 for others."""
        x = checked(x, self.features)
        is_read = np.arange(self.features) < self.connected
        slopes = jnp.asarray(np.where(is_read, self._slope, 0.0), x.dtype)
        starts = jnp.asarray(np.where(is_read, self._start, 1.0), x.dtype)
        return along(starts, x.ndim) + along(slopes, x.ndim) * x

    @property
    def _slope(self) -> float:
        return {"and": 1.0, "or": -1.0, "xor": -2.0}[self.kind]

    @property
    def _start(self) -> float:
        return 0.0 if self.kind == "and" else 1.0

    @property
    def _product(self) -> _Product:
        q, slope = self.probability, self._slope
        is_read = np.arange(self.features) < self.connected
        means = np.where(is_read, self._start + slope * q, 1.0)
        variances = np.where(is_read, slope**2 * q * (1 - q), 0.0)
        c, s = {"and": (0.0, 1.0), "or": (1.0, -1.0), "xor": (0.5, -0.5)}[self.kind]
        return _Product(c, s, means, variances)


@dataclasses.dataclass(frozen=True)
class _Bits:
    """Draws one input of zeros and ones."""

    features: int
    probability: float

    def __call__(self, key: Key) -> Float[Array, " features"]:
        # Not `bernoulli`, whose draws depend on the default precision.
        draws = jax.random.uniform(key, (self.features,), jnp.float32)
        bits = draws < jnp.float32(self.probability)
        return bits.astype(jnp.result_type(float))


def _without(array: Array, i: int) -> Array:
    return jnp.concatenate([array[..., :i], array[..., i + 1 :]], axis=-1)
