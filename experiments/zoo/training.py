"""One training loop for all of the zoo: optax, a progress bar, an early stop.

The loop is one of the host around a jitted step: on CPU, the gradient of a convolution
is far slower inside of `scan`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from tqdm import tqdm

Loss = Callable[[Any, Any], tuple[Any, Any]]
Measure = Callable[[Any], dict[str, float]]


class Goal(NamedTuple):
    """What a figure is to reach.

    Attributes:
        figure: its name.
        least: it is to be at least so much.
        most: it is to be at most so much.
    """

    figure: str
    least: float = -np.inf
    most: float = np.inf

    def is_reached(self, figures: Mapping[str, float]) -> bool:
        """Returns whether the figure lies within the bounds; a NaN does not."""
        return self.least <= figures[self.figure] <= self.most

    def __str__(self) -> str:
        """Returns such as `accuracy >= 0.95`."""
        bounds = ((">=", self.least), ("<=", self.most))
        said = [f"{sign} {bound:g}" for sign, bound in bounds if np.isfinite(bound)]
        return f"{self.figure} {' and '.join(said)}"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast a network is trained.

    Attributes:
        goals: training stops when all are reached, and fails where one never is.
        steps: at most so many.
        batch_size: examples in a step.
        learning_rate: at its highest, after a linear rise over a tenth of the steps; it
            then falls to zero along a cosine.
        weight_decay: of AdamW.
        every: steps between two looks at the figures.
        seed: of data, weights and batches.
    """

    goals: tuple[Goal, ...]
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    every: int = 100
    seed: int = 0


class Fitted(NamedTuple):
    """What training gives.

    Attributes:
        variables: the trained variables.
        figures: what was measured at the end, and `steps`, `seconds` on the clock, and
            `cpu_seconds` over all cores.
    """

    variables: Any
    figures: dict[str, float]


class Watch:
    """Measures how long something takes, on the clock and over all cores."""

    def __init__(self) -> None:
        self._seconds, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, steps: int) -> dict[str, float]:
        """Returns the figures that are added to those of a network."""
        return {
            "steps": steps,
            "seconds": time.perf_counter() - self._seconds,
            "cpu_seconds": time.process_time() - self._cpu,
        }


def fit(
    name: str,
    variables: Any,
    loss: Loss,
    batch: Callable[[Any], Any],
    measure: Measure,
    schedule: Schedule,
) -> Fitted:
    """Trains a network until its figures reach their goals.

    Args:
        name: what the progress bar says.
        variables: `{"params": ...}` and other collections, which are not optimized.
        loss: what is minimized, `(variables, batch) -> (loss, variables)`; it returns
            the variables with their running statistics moved on.
        batch: makes a batch from a key.
        measure: the figures of some variables.
        schedule: how long and how fast.

    Returns:
        The variables, as they are when all goals are reached.

    Raises:
        FloatingPointError: if the loss is no longer finite.
        RuntimeError: if a goal is not reached within the steps.
    """
    rate = optax.warmup_cosine_decay_schedule(
        0.0, schedule.learning_rate, schedule.steps // 10, schedule.steps
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, weight_decay=schedule.weight_decay),
    )

    @jax.jit
    def step(variables: Any, state: Any, examples: Any) -> tuple[Any, Any, Any]:
        def objective(params: Any) -> tuple[Any, Any]:
            return loss({**variables, "params": params}, examples)

        slope_of = jax.value_and_grad(objective, has_aux=True)
        (value, moved), slope = slope_of(variables["params"])
        updates, state = optimizer.update(slope, state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return {**moved, "params": params}, state, value

    watch = Watch()
    state = optimizer.init(variables["params"])
    key = jax.random.fold_in(jax.random.key(schedule.seed), schedule.steps)
    figures: dict[str, float] = {}
    numbers = range(1, schedule.steps + 1)
    with tqdm(numbers, desc=name, unit="step", mininterval=1.0) as bar:
        for number in bar:
            examples = batch(jax.random.fold_in(key, number))
            variables, state, value = step(variables, state, examples)
            if number % schedule.every and number != schedule.steps:
                continue
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"{name}: the loss is {value} at step {number}. Lower the learning "
                    f"rate of its schedule, {schedule.learning_rate}."
                )
            figures = measure(variables)
            bar.set_postfix({"loss": float(value), **figures})
            if all(goal.is_reached(figures) for goal in schedule.goals):
                return Fitted(variables, figures | watch.figures(number))
    raise unreached(name, figures, schedule.goals, schedule.steps)


def unreached(
    name: str, figures: Mapping[str, float], goals: tuple[Goal, ...], steps: int
) -> RuntimeError:
    """Returns the error that names each goal that was not reached.

    Args:
        name: of the network.
        figures: what was measured at the end.
        goals: what was to be reached.
        steps: how many there were.
    """
    missed = [goal for goal in goals if not goal.is_reached(figures)]
    said = "; ".join(f"{goal}, and it is {figures[goal.figure]:.4g}" for goal in missed)
    return RuntimeError(
        f"{name} was to reach {said} after {steps} steps.\n"
        "Nothing was cached. Give its schedule more steps, or another learning rate."
    )
