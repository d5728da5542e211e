"""A number that is drawn anew for every image: from a range, a list, a function."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.loop.static import hashable

Distribution = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Chance:
    """A random number; fields as in `chance`."""

    low: float
    high: float
    choices: tuple[float, ...] = ()
    distribution: Distribution | None = None

    def draw(self, key: Any, dtype: Any) -> Any:
        """Returns the number.

        Args:
            key: a key of `jax.random`.
            dtype: of the number.
        """
        if self.choices:
            index = jax.random.randint(key, (), 0, len(self.choices), jnp.int32)
            return jnp.asarray(self.choices, dtype)[index]
        if self.distribution is not None:
            number = jnp.asarray(self.distribution(key))
            return jnp.clip(number.astype(dtype), self.low, self.high)
        # Drawn in float32 always: the same key is the same number in any precision.
        share = jax.random.uniform(key, (), jnp.float32).astype(dtype)
        return self.low + (self.high - self.low) * share


def chance(
    name: str,
    low: float | None,
    high: float | None,
    choices: Iterable[float] | None,
    distribution: Distribution | None = None,
    *,
    above: float = -math.inf,
) -> Chance:
    """Returns the random number that a transform is asked for.

    Args:
        name: of the transform.
        low: the smallest; without `high` the only one.
        high: the largest.
        choices: the numbers to choose from instead.
        distribution: a function from a key to a number of that range.
        above: all must be greater.

    Raises:
        TypeError: if the distribution is no function from a key to one float.
        ValueError: if it is said in neither way or in both, or if a number is not
            finite, too small, or `low` above `high`; if the distribution has no range.
    """
    if distribution is not None and (high is None or choices is not None):
        raise ValueError(
            f"{name}(distribution=...) clips what is drawn to a range. Write its ends, "
            f"`{name}(1.0, 2.0, distribution=...)`, and no choices."
        )
    values = _numbers(low, high, choices)
    if values is None:
        raise ValueError(
            f"{name}() takes a range or a list, `{name}(1.0, 2.0)` or "
            f"`{name}(choices=[1.0, 2.0])`; low={low!r}, high={high!r} and "
            f"choices={choices!r} were given."
        )
    for value in values:
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= above:
            least = f" above {above:g}" if above > -math.inf else ""
            raise ValueError(
                f"{name}() takes finite numbers{least}, and was given {value!r}."
            )
    if not values or (choices is None and values[0] > values[-1]):
        raise ValueError(
            f"{name}() has nothing to choose from: low={low!r}, high={high!r}, "
            f"choices={choices!r}."
        )
    values = tuple(map(float, values))
    if distribution is not None:
        _check_distribution(name, distribution)
    chosen = () if choices is None else values
    return Chance(min(values), max(values), chosen, hashable(distribution))


def _check_distribution(name: str, distribution: Any) -> None:
    wanted = (
        f"{name}(distribution=...) is a function from a key to one float, `lambda key: "
        "1 + 0.1 * jax.random.normal(key)`"
    )
    if not callable(distribution):
        raise TypeError(f"{wanted}; {distribution!r} was given.")
    try:
        drawn = jax.eval_shape(distribution, jax.random.key(0))
    except Exception as error:
        raise TypeError(f"{wanted}; a call of it failed: {error}") from error
    is_array = isinstance(drawn, jax.ShapeDtypeStruct)
    if not is_array or drawn.shape or not jnp.isdtype(drawn.dtype, "real floating"):
        found = jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", drawn)
        raise TypeError(f"{wanted}; one that returns {found} was given.")


def _numbers(
    low: float | None, high: float | None, choices: Iterable[float] | None
) -> tuple[float, ...] | None:
    """Returns the ends of a range or the list; `None` if it is not clear which."""
    if choices is not None:
        if not isinstance(choices, Iterable):
            return None
        return tuple(choices) if low is None and high is None else None
    if low is None:
        return None
    return low, low if high is None else high
