r"""Functions whose Shapley values, Sobol indices and partial dependence are known.

The features are independent. The value of a set of features is what is expected when
they are known, $v(S) = \mathbb E[f(X) \mid X_S = x_S]$; with independent features the
conditional and the interventional expectation are the same. Everything here is exact,
from formulas in closed form.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxinterp.checks import checked_integer
from jaxinterp.data.examples import draw
from jaxinterp.types import Key


class SobolIndices(NamedTuple):
    r"""Shares of the variance of a function.

    Attributes:
        first: the share of each feature alone, $\mathrm{Var}(\mathbb E[f \mid X_i]) /
            \mathrm{Var}(f)$.
        total: the share of each feature and all its interactions, $1 -
            \mathrm{Var}(\mathbb E[f \mid X_{-i}]) / \mathrm{Var}(f)$.
    """

    first: Float[np.ndarray, " features"]
    total: Float[np.ndarray, " features"]


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Draws one input whose features are independent and uniform.

    Attributes:
        features: how many features there are.
        low: the smallest value of a feature.
        high: the largest value of a feature.
    """

    features: int
    low: float
    high: float

    def __call__(self, key: Key) -> Float[Array, " features"]:
        """Returns an input in JAX's default precision, but drawn in float32."""
        shape = (self.features,)
        draws = jax.random.uniform(key, shape, jnp.float32, self.low, self.high)
        return draws.astype(jnp.result_type(float))


def checked(x: Any, features: int) -> Any:
    """Returns inputs as an array of floats; integers and booleans are converted.

    Args:
        x: inputs of shape `(..., features)`.
        features: how many features the function has.

    Raises:
        ValueError: if the last axis has another length.
    """
    if jnp.ndim(x) == 0 or jnp.shape(x)[-1] != features:
        raise ValueError(
            f"The function has {features} features, the last axis of its inputs; they "
            f"have the shape {jnp.shape(x)}."
        )
    x = jnp.asarray(x)
    is_real = jnp.issubdtype(x.dtype, jnp.inexact)
    return x if is_real else x.astype(jnp.result_type(float))


def checked_per_feature(name: str, values: Any) -> tuple[float, ...]:
    """Returns a sequence or array of numbers as a tuple, which can be hashed.

    Args:
        name: the name of the argument, for the error message.
        values: one finite number for each feature.

    Raises:
        ValueError: if there is no number, one is not finite, or there are several axes.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` needs a finite number for every feature, such as (1.0, 2.0), "
            f"and is {values!r}."
        )
    return tuple(array.tolist())


def checked_grid(grid: Any) -> Any:
    """Returns the values of a feature as an array of floats.

    Args:
        grid: numbers of shape `(points,)`; integers and booleans are converted.
    """
    grid = jnp.asarray(grid)
    is_real = jnp.issubdtype(grid.dtype, jnp.inexact)
    return grid if is_real else grid.astype(jnp.result_type(float))


def checked_feature(feature: int, features: int) -> int:
    """Returns the index of a feature, if there is such a feature.

    Args:
        feature: the index.
        features: how many features the function has.

    Raises:
        ValueError: if the index is no integer, negative or too large.
    """
    feature = checked_integer("feature", feature, 0, call="partial_dependence")
    if not feature < features:
        raise ValueError(
            f"partial_dependence: `feature` must lie between 0 and {features - 1}, and "
            f"is {feature}."
        )
    return feature


def along(row: Array, ndim: int) -> Array:
    """Returns a row that broadcasts along the last axis of an array.

    Args:
        row: numbers of shape `(features,)`.
        ndim: how many axes the array has.
    """
    return row.reshape((1,) * (ndim - 1) + (-1,))


def shares(parts: np.ndarray, whole: float) -> np.ndarray:
    """Returns variances as fractions of the whole.

    Args:
        parts: variances, in the squared unit of the function.
        whole: the variance of the function.

    Raises:
        ValueError: if the function is constant.
    """
    if not whole > 0:
        raise ValueError(
            "The function is constant, so there is no variance to share out."
        )
    return parts / whole


@dataclasses.dataclass(frozen=True)
class Additive:
    r"""A sum of powers, without interactions.

    $$f(x) = \sum_i w_i\,x_i^{p_i}, \qquad X_i \sim \mathcal U(-1, 1)$$

    An ideal explanation gives feature $i$ its own term minus the mean of that term, and
    nothing to a feature of weight 0.

    Attributes:
        weights: $w$, a finite number for each feature.
        powers: $p$, a positive integer for each feature.

    Raises:
        ValueError: if weights and powers do not fit, or a weight is not finite.

    Example:
        >>> f = Additive(weights=(2.0, 3.0), powers=(1, 2))
        >>> x = jnp.array([[0.5, 1.0]])
        >>> f(x).tolist(), f.shapley(x).tolist()
        ([4.0], [[1.0, 2.0]])
    """

    weights: tuple[float, ...] = (1.0, -2.0, 3.0, 0.0)
    powers: tuple[int, ...] = (1, 2, 3, 1)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "weights", checked_per_feature("weights", self.weights)
        )
        if len(self.weights) != len(self.powers):
            raise ValueError(
                f"There must be as many powers as weights, and there are "
                f"{len(self.powers)} and {len(self.weights)}."
            )
        powers = [
            checked_integer("powers", power, 1, call="Additive")
            for power in self.powers
        ]
        object.__setattr__(self, "powers", tuple(powers))

    @property
    def features(self) -> int:
        """The number of features."""
        return len(self.weights)

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch"]:
        """Returns the value of the function."""
        return self._terms(checked(x, self.features)).sum(axis=-1)

    def sample(self, key: Key, count: int) -> Float[Array, "count features"]:
        """Draws `count` inputs; the i-th depends on `fold_in(key, i)` alone."""
        return draw("Additive.sample", Uniform(self.features, -1.0, 1.0), key, count)

    def shapley(
        self, x: Float[Array, "*batch features"]
    ) -> Float[Array, "*batch features"]:
        """Returns the Shapley values of each input."""
        x = checked(x, self.features)
        means = jnp.asarray(self._means(), x.dtype)
        return self._terms(x) - along(means, x.ndim)

    def sobol(self) -> SobolIndices:
        """Returns the Sobol indices; without interactions, `first` is `total`."""
        powers, weights = np.array(self.powers), np.array(self.weights)
        variances = weights**2 / (2 * powers + 1) - self._means() ** 2
        return SobolIndices(*2 * (shares(variances, variances.sum()),))

    def partial_dependence(
        self, feature: int, grid: Float[Array, " points"]
    ) -> Float[Array, " points"]:
        """Returns the mean of the function for each value of one feature."""
        feature, grid = checked_feature(feature, self.features), checked_grid(grid)
        rest = self._means().sum() - self._means()[feature]
        return self.weights[feature] * grid ** self.powers[feature] + float(rest)

    def _terms(self, x: Array) -> Array:
        pairs = zip(self.weights, self.powers, strict=True)
        return jnp.stack([w * x[..., i] ** p for i, (w, p) in enumerate(pairs)], -1)

    def _means(self) -> np.ndarray:
        powers, weights = np.array(self.powers), np.array(self.weights)
        return np.where(powers % 2 == 0, weights / (powers + 1), 0.0)


@dataclasses.dataclass(frozen=True)
class Ishigami:
    r"""The Ishigami function: a feature that acts only through another.

    $$f(x) = \sin x_1 + a \sin^2 x_2 + b\,x_3^4 \sin x_1, \qquad X_i \sim \mathcal
    U(-\pi, \pi)$$

    An ideal explanation shares the interaction of $x_1$ and $x_3$ equally between them,
    though $x_3$ alone explains nothing: its first Sobol index is 0.

    Attributes:
        a: the factor of the second term.
        b: the factor of the interaction.

    Example:
        >>> Ishigami().sobol().first.round(3).tolist()
        [0.314, 0.442, 0.0]

    References:
        Ishigami and Homma, 1990 [ishigami1990importance]; the indices follow from the
        decomposition of Sobol, 2001, section 2 [sobol2001global].
    """

    a: float = 7.0
    b: float = 0.1

    features = 3

    def __call__(self, x: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
        """Returns the value of the function."""
        x1, x2, x3 = jnp.moveaxis(checked(x, 3), -1, 0)
        return jnp.sin(x1) * (1 + self.b * x3**4) + self.a * jnp.sin(x2) ** 2

    def sample(self, key: Key, count: int) -> Float[Array, "count 3"]:
        """Draws `count` inputs; the i-th depends on `fold_in(key, i)` alone."""
        return draw("Ishigami.sample", Uniform(3, -math.pi, math.pi), key, count)

    def shapley(self, x: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
        """Returns the Shapley values of each input."""
        x1, x2, x3 = jnp.moveaxis(checked(x, 3), -1, 0)
        interaction = self.b * jnp.sin(x1) * (x3**4 - math.pi**4 / 5)
        first = self._slope * jnp.sin(x1)
        second = self.a * (jnp.sin(x2) ** 2 - 0.5)
        return jnp.stack([first + interaction / 2, second, interaction / 2], axis=-1)

    def sobol(self) -> SobolIndices:
        """Returns the Sobol indices of every feature."""
        interaction = self.b**2 * math.pi**8 * 8 / 225
        alone = np.array([self._slope**2 / 2, self.a**2 / 8, 0.0])
        variance = alone.sum() + interaction
        joint = np.array([interaction, 0.0, interaction])
        return SobolIndices(shares(alone, variance), shares(alone + joint, variance))

    def partial_dependence(
        self, feature: int, grid: Float[Array, " points"]
    ) -> Float[Array, " points"]:
        """Returns the mean of the function for each value of one feature."""
        feature, grid = checked_feature(feature, 3), checked_grid(grid)
        mean = self.a / 2
        if feature == 0:
            return self._slope * jnp.sin(grid) + mean
        return self.a * jnp.sin(grid) ** 2 if feature == 1 else mean + 0 * grid

    @property
    def _slope(self) -> float:
        return 1 + self.b * math.pi**4 / 5
