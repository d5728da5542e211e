"""A number that is drawn anew for every image: from a range, a list, a function."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import is_real, shown
from jaxinterp.loop.static import hashable
from jaxinterp.types import Key

# From a random key to one float.
Sampler = Callable[[Key], Any]


@dataclasses.dataclass(frozen=True)
class RandomNumber:
    """A random number.

    Attributes:
        low: the smallest number.
        high: the largest number.
        choices: the numbers to choose from, each equally likely; if there are none,
            all between `low` and `high` are.
        sampler: a function from a key to the number, which is clipped to the range;
            `None` if all between `low` and `high` are equally likely.
    """

    low: float
    high: float
    choices: tuple[float, ...] = ()
    sampler: Sampler | None = None

    def draw(self, key: Key, dtype: Any) -> Any:
        """Returns the number of a random key, in a dtype."""
        if self.choices:
            index = jax.random.randint(key, (), 0, len(self.choices), jnp.int32)
            return jnp.asarray(self.choices, dtype)[index]
        if self.sampler is not None:
            number = jnp.asarray(self.sampler(key))
            return jnp.clip(number.astype(dtype), self.low, self.high)
        # Drawn in float32 always: the same key is the same number in any precision.
        share = jax.random.uniform(key, (), jnp.float32).astype(dtype)
        return self.low + (self.high - self.low) * share


def random_number(
    name: str,
    low: float | None,
    high: float | None,
    choices: Iterable[float] | None,
    sampler: Sampler | None,
    *,
    above: float = -math.inf,
) -> RandomNumber:
    """Returns the random number that a transform draws, if its arguments say one.

    Args:
        name: the name of the transform.
        low: the smallest number; without `high` the only one.
        high: the largest number.
        choices: the numbers to choose from instead.
        sampler: a function from a key to a number of that range.
        above: the number that all numbers must exceed.

    Raises:
        TypeError: if the sampler is no function from a key to one float.
        ValueError: if it is said in neither way or in both, or if a number is not
            finite, too small, or `low` above `high`; if the sampler has no range.
    """
    if sampler is not None and (high is None or choices is not None):
        raise ValueError(
            f"{name}(distribution=...) clips what is drawn to a range. Write its ends, "
            f"`{name}(1.0, 2.0, distribution=...)`, and no choices."
        )
    values = _values(low, high, choices)
    if values is None:
        raise ValueError(
            f"{name}() takes a range or a list, `{name}(1.0, 2.0)` or "
            f"`{name}(choices=[1.0, 2.0])`; low={shown(low)}, high={shown(high)} and "
            f"choices={shown(choices)} were given."
        )
    for value in values:
        if not is_real(value) or value <= above:
            least = f" above {above:g}" if above > -math.inf else ""
            raise ValueError(
                f"{name}() takes finite numbers{least}, and was given {shown(value)}."
            )
    if not values or (choices is None and values[0] > values[-1]):
        raise ValueError(
            f"{name}() has nothing to choose from: low={shown(low)}, "
            f"high={shown(high)}, choices={shown(choices)}."
        )
    values = tuple(map(float, values))
    if sampler is not None:
        _check_sampler(name, sampler)
    options = () if choices is None else values
    return RandomNumber(min(values), max(values), options, hashable(sampler))


def _check_sampler(name: str, sampler: Any) -> None:
    rule = (
        f"{name}(distribution=...) is a function from a key to one float, `lambda key: "
        "1 + 0.1 * jax.random.normal(key)`"
    )
    if not callable(sampler):
        raise TypeError(f"{rule}; {shown(sampler)} was given.")
    try:
        number = jax.eval_shape(sampler, jax.random.key(0))
    except Exception as error:
        raise TypeError(f"{rule}; a call of it failed: {error}") from error
    is_array = isinstance(number, jax.ShapeDtypeStruct)
    if not is_array or number.shape or not jnp.isdtype(number.dtype, "real floating"):
        kind = jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", number)
        raise TypeError(f"{rule}; one that returns {kind} was given.")


def _values(
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
