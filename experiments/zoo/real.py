"""The small real sets, as tasks of which the true explanation is not known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.zoo.recipe import Pairs, Task
from jaxinterp.data.sets import RealSet


@dataclasses.dataclass(frozen=True)
class RealTask(Task):
    """Name the class of an example of a small real set.

    A set is too small to be split in three, so the examples that say when to stop are
    those that `held_out` draws from.

    Attributes:
        read: reads the set, `read(key) -> RealSet`.
        split: seed of the split.
    """

    read: Callable[[Any], RealSet]
    split: int = 0

    def __repr__(self) -> str:
        """Returns the name of the set instead of the place of a function in memory."""
        return f"RealTask(read={self.read.__name__}, split={self.split})"

    def data(self) -> RealSet:
        """Returns the set, shuffled and split."""
        return self.read(jax.random.key(self.split))

    def draw(self, key: Any, count: int) -> Pairs:
        """Returns the first of the examples that were held out, whatever the key."""
        del key
        data = self.data()
        return first(Pairs(data.test_inputs, data.test_labels), count)

    def train_set(self, key: Any) -> Pairs:
        """Returns the examples that were not held out."""
        del key
        data = self.data()
        return Pairs(data.train_inputs, data.train_labels)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns the examples that were held out."""
        data = self.data()
        return {"accuracy": Pairs(data.test_inputs, data.test_labels)}


def first(pairs: Pairs, count: int) -> Pairs:
    """Returns the first examples.

    Args:
        pairs: all that there are.
        count: how many.

    Raises:
        ValueError: if there are not so many.
    """
    if not 0 < count <= len(pairs.labels):
        raise ValueError(
            f"{len(pairs.labels)} examples were held out, and {count} are asked for."
        )
    return Pairs(jnp.asarray(pairs.inputs[:count]), jnp.asarray(pairs.labels[:count]))
