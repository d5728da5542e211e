"""What a network of the zoo is made from: a module, a task and a schedule.

Three sets of examples come from the seed of the schedule. The first is trained on; the
second says when to stop, and its figures are the ones that are printed; the third,
`held_out`, is left to the caller, and nothing was decided by it.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.zoo.standardize import Standardize
from experiments.zoo.training import Fitted, Schedule, fit

# So many examples are answered at once when figures are measured.
CHUNK = 256


class Pairs(NamedTuple):
    """What a network reads, and what it should answer; batch first.

    Attributes:
        inputs: one row an example.
        labels: likewise.
    """

    inputs: Any
    labels: Any


class Task(abc.ABC):
    """Examples, a loss and a score. A task is a frozen dataclass of its settings."""

    @abc.abstractmethod
    def draw(self, key: Any, count: int) -> Any:
        """Returns examples with their truth, none of which is trained on.

        Args:
            key: a key of `jax.random`, not that of the training set.
            count: number of examples.
        """

    @abc.abstractmethod
    def train_set(self, key: Any) -> Pairs:
        """Returns all that is trained on.

        Args:
            key: a key of `jax.random`.
        """

    @abc.abstractmethod
    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns the examples that figures are measured with, by name of the figure.

        Args:
            key: a key of `jax.random`, another than that of the training set.
        """

    def varied(self, key: Any, inputs: Any) -> Any:
        """Returns inputs changed at random in a way that leaves their labels.

        Args:
            key: a key of `jax.random`.
            inputs: a batch.
        """
        del key
        return inputs

    def loss(self, outputs: Any, labels: Any) -> Any:
        """Returns what is minimized, here the mean cross-entropy."""
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
        return losses.mean()

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> float:
        """Returns a figure, here the share of answers that are right."""
        return float((outputs.argmax(axis=-1) == labels).mean())


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, and the task that it was trained on.

    Attributes:
        name: of the network.
        apply_fn: `apply_fn(variables, inputs)`, what explanations begin with.
        variables: the trained ones.
        module: the linen module.
        config: how it was trained, by name.
        figures: what was measured, and `steps`, `seconds` and `cpu_seconds`.
        held_out: `held_out(count)` draws examples with their truth that neither trained
            the network nor stopped its training. The same ones each time, and the first
            of more are those of fewer.
    """

    name: str
    apply_fn: Callable[..., Any]
    variables: Any
    module: nn.Module
    config: Mapping[str, Any]
    figures: Mapping[str, float]
    held_out: Callable[[int], Any]


class Recipe(Protocol):
    """What the zoo asks of a recipe; one that trains otherwise has its own class."""

    @property
    def name(self) -> str:
        """The name of the network."""
        ...

    @property
    def module(self) -> nn.Module:
        """The linen module."""
        ...

    @property
    def schedule(self) -> Schedule:
        """How long and how fast it is trained."""
        ...

    @property
    def origins(self) -> tuple[str, ...]:
        """The dotted names of the modules whose code makes the network what it is."""
        ...

    def train(self) -> Fitted:
        """Trains the network."""
        ...

    def held_out(self, count: int) -> Any:
        """Draws examples that training did not see."""
        ...


@dataclasses.dataclass(frozen=True)
class Supervised:
    """A network that learns labels.

    Attributes:
        name: of the network.
        module: what is trained. One with batch norms takes `train=True`.
        task: the examples.
        schedule: how long and how fast.
        standardize: what is done to inputs in training, until the first layer does it.
    """

    name: str
    module: nn.Module
    task: Task
    schedule: Schedule
    standardize: Standardize | None = None

    @property
    def origins(self) -> tuple[str, ...]:
        """The modules of recipe, task and network."""
        return tuple(type(part).__module__ for part in (self, self.task, self.module))

    def held_out(self, count: int) -> Any:
        """Draws examples that training did not see.

        Args:
            count: how many.
        """
        return self.task.draw(self._keys()[2], count)

    def train(self) -> Fitted:
        """Trains the network.

        Raises:
            RuntimeError: if a goal is not reached.
        """
        # The same network must result where float64 is on, as it is in the tests.
        with jax.enable_x64(False):
            train_key, exam_key, _ = self._keys()
            examples = jax.tree.map(jnp.asarray, self.task.train_set(train_key))
            exams = jax.tree.map(np.asarray, dict(self.task.exams(exam_key)))
            variables = jax.jit(self.module.init)(
                jax.random.key(self.schedule.seed), examples.inputs[:1]
            )
            fitted = fit(
                self.name,
                variables,
                self._loss,
                self._batches(examples),
                self._measure(exams),
                self.schedule,
            )
            if self.standardize is None:
                return fitted
            variables = self.standardize.taken_over(fitted.variables)
            return Fitted(variables, fitted.figures)

    def _keys(self) -> Any:
        return jax.random.split(jax.random.key(self.schedule.seed), 3)

    def _read(self, inputs: Any) -> Any:
        """Returns inputs as the network reads them in training."""
        return inputs if self.standardize is None else self.standardize(inputs)

    def _loss(self, variables: Any, batch: Pairs) -> tuple[Any, Any]:
        inputs = self._read(batch.inputs)
        if "batch_stats" not in variables:
            outputs = self.module.apply(variables, inputs)
            return self.task.loss(outputs, batch.labels), variables
        outputs, moved = self.module.apply(
            variables, inputs, train=True, mutable=["batch_stats"]
        )
        return self.task.loss(outputs, batch.labels), {**variables, **moved}

    def _batches(self, examples: Pairs) -> Callable[[Any], Pairs]:
        count = len(examples.labels)
        size = min(self.schedule.batch_size, count)

        # The examples are an argument, lest they become a constant of the program.
        @jax.jit
        def batch(key: Any, examples: Pairs) -> Pairs:
            rows_key, change_key = jax.random.split(key)
            rows = jax.random.choice(rows_key, count, (size,), replace=size < count)
            inputs, labels = jax.tree.map(lambda leaf: leaf[rows], examples)
            return Pairs(self.task.varied(change_key, inputs), labels)

        return lambda key: batch(key, examples)

    def _measure(self, exams: Mapping[str, Pairs]) -> Callable[[Any], dict[str, float]]:
        @jax.jit
        def apply_fn(variables: Any, inputs: Any) -> Any:
            return self.module.apply(variables, self._read(inputs))

        def answers(variables: Any, inputs: np.ndarray) -> np.ndarray:
            starts = range(0, len(inputs), CHUNK)
            chunks = [apply_fn(variables, inputs[i : i + CHUNK]) for i in starts]
            return np.concatenate([np.asarray(chunk) for chunk in chunks])

        def measure(variables: Any) -> dict[str, float]:
            return {
                figure: self.task.score(answers(variables, inputs), labels)
                for figure, (inputs, labels) in exams.items()
            }

        return measure
