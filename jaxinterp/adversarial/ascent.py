"""How an attack of a fixed radius runs: steps that raise a loss, and the best of them.

What moves a point is the attack's own; here a point is looked at, the strongest one so
far is kept, and random restarts run beside one another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxinterp.adversarial.contract import (
    Attack,
    Looked,
    Perturbed,
    Stage,
    Victim,
)
from jaxinterp.adversarial.threat import NormBall
from jaxinterp.checks import is_traced
from jaxinterp.keys import check_key, folded
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.steps import iterate
from jaxinterp.types import Inputs, Key, Target, Variables


class Slope(NamedTuple):
    """What is known of a point from which an attack moves on.

    Attributes:
        rows: the point, `(batch, entries)`.
        loss: what the attack raises, `(batch,)`.
        gradient: the gradient of the loss, `(batch, entries)`.
    """

    rows: Any
    loss: Any
    gradient: Any


class Mover(Protocol):
    """How an attack moves from one point to the next; it is hashed."""

    def start(self, threat: NormBall, rows: Any) -> Any:
        """Returns what the attack remembers before the first step."""
        ...

    def move(
        self, threat: NormBall, rows: Any, memory: Any, slope: Slope, number: Any
    ) -> tuple[Any, Any]:
        """Returns what the attack remembers, and the next point."""
        ...


class Answer(NamedTuple):
    """The strongest point so far.

    Attributes:
        rows: the point of each example, `(batch, entries)`.
        looked: what the model makes of it.
    """

    rows: Any
    looked: Looked


class _State(NamedTuple):
    """What one restart carries from step to step."""

    rows: Any
    answer: Answer
    memory: Any


def choose(condition: Any, ours: Any, others: Any) -> Any:
    """Returns, of two pytrees, the examples that a condition says.

    Args:
        condition: whether an example is taken from the first, `(batch,)`.
        ours: a pytree of arrays, batch first.
        others: a pytree like it.
    """

    def chosen(one: Any, other: Any) -> Any:
        beside = jnp.reshape(condition, (-1, *[1] * (one.ndim - 1)))
        return jnp.where(beside, one, other)

    return jax.tree.map(chosen, ours, others)


def stronger(answer: Answer, other: Answer) -> Answer:
    """Returns the stronger of two answers: adversarial first, then of higher loss.

    Args:
        answer: the answer that stays if both are alike.
        other: another one.
    """
    is_ours, is_other = answer.looked.lead > 0, other.looked.lead > 0
    is_higher = other.looked.loss > answer.looked.loss
    is_stronger = (is_other & ~is_ours) | ((is_other == is_ours) & is_higher)
    return choose(is_stronger, other, answer)


def raised(
    stage: Stage,
    mover: Mover,
    *,
    steps: int,
    restarts: int | None,
    on_surface: bool = False,
) -> Attack:
    """Returns the attack that moves as `mover` says and keeps the strongest point.

    Args:
        stage: the model, the score and the threat.
        mover: the rule by which the attack moves.
        steps: the number of steps.
        restarts: the number of random starts; `None` for one start at the inputs.
        on_surface: whether random starts lie on the surface of the ball.
    """

    def perturb(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Perturbed:
        scene = stage.scene(variables, inputs, target)
        if restarts is not None:
            check_key(stage.name, key)
        traced = is_traced(scene.constants, key)
        plan = (mover, restarts, on_surface)
        start = _start if traced else _jitted_start
        state = start(plan, scene.threat, scene.rows, scene.clean, key)
        with progress_bar(steps, stage.name, is_shown=not traced) as bar:
            state, records = iterate(
                _step,
                (scene.victim, mover),
                scene.constants,
                state,
                range(steps),
                tick=bar.update,
            )
        finish = _finish if traced else _jitted_finish
        arrays = finish(scene.victim, scene.constants, scene.clean, state, records)
        changed, is_adversarial, size, losses, is_flat = arrays
        n_queries = (restarts or 1) * (steps + 1) + 1
        return Perturbed(changed, is_adversarial, size, n_queries, losses, is_flat)

    return perturb


def _start(plan: Any, threat: NormBall, rows: Any, clean: Looked, key: Key) -> _State:
    """The first state of all restarts."""
    mover, restarts, on_surface = plan
    starts = rows[None]
    if restarts is not None:
        keys = [folded(key, i) for i in range(restarts)]
        starts = jnp.stack(
            [threat.random(k, rows, on_surface=on_surface) for k in keys]
        )

    def first(start: Any) -> _State:
        return _State(start, Answer(rows, clean), mover.start(threat, rows))

    # Copies, because the memory of a state is reused.
    return jax.tree.map(jnp.copy, _over_restarts(first, starts))


_jitted_start = jax.jit(_start, static_argnums=0)


def _step(static: Any, constants: Any, state: _State, number: Any) -> tuple[Any, Any]:
    victim, mover = static
    variables, threat, rows, target = constants

    def one(state: _State) -> tuple[_State, Any]:
        looked, gradient = victim.slope(variables, state.rows, target)
        answer = stronger(state.answer, Answer(state.rows, looked))
        slope = Slope(state.rows, looked.loss, gradient)
        memory, moved = mover.move(threat, rows, state.memory, slope, number)
        is_flat = (gradient == 0).all(axis=1)
        return _State(moved, answer, memory), (looked.loss, is_flat)

    return _over_restarts(one, state)


def _over_restarts(function: Callable[[Any], Any], things: Any) -> Any:
    """A function of each restart; of one alone the model is called as it is."""
    if jax.tree.leaves(things)[0].shape[0] > 1:
        return jax.vmap(function)(things)
    alone = function(jax.tree.map(lambda leaf: leaf[0], things))
    return jax.tree.map(lambda leaf: leaf[None], alone)


def _finish(
    victim: Victim, constants: Any, clean: Looked, state: _State, records: Any
) -> tuple[Any, ...]:
    """The fields of a `Perturbed`, of the strongest answer of all restarts."""
    variables, threat, rows, target = constants

    def one(state: _State) -> tuple[Answer, Any]:
        looked = victim.look(variables, state.rows, target)
        return stronger(state.answer, Answer(state.rows, looked)), looked.loss

    answers, last = _over_restarts(one, state)
    best = jax.tree.map(lambda leaf: leaf[0], answers)
    index = jnp.zeros(rows.shape[0], int)
    for number in range(1, state.rows.shape[0]):
        other = jax.tree.map(lambda leaf, i=number: leaf[i], answers)
        previous, best = best, stronger(best, other)
        is_changed = (best.looked.loss != previous.looked.loss) | (
            best.looked.lead != previous.looked.lead
        )
        index = jnp.where(is_changed, number, index)

    def of_the_best(records: Any) -> Any:  # (steps, restarts, batch)
        by_example = jnp.moveaxis(records, 2, 0)
        picked = jnp.take_along_axis(by_example, index[:, None, None], axis=2)
        return picked[:, :, 0]

    losses, is_flat = records
    losses = of_the_best(jnp.concatenate([losses, last[None]]))
    return (
        victim.layout.inputs(best.rows),
        best.looked.lead > 0,
        threat.size(best.rows - rows),
        jnp.concatenate([clean.loss[:, None], losses], axis=1),
        of_the_best(is_flat),
    )


_jitted_finish = jax.jit(_finish, static_argnums=0)
