"""What attacks that look for the smallest change have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.adversarial.ascent import choose
from jaxinterp.adversarial.contract import Looked, Perturbed, Scene
from jaxinterp.checks import is_traced
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.steps import Iteration, iterate

# So many steps are taken before it is looked whether all examples are done.
STRETCH = 5


class Smallest(NamedTuple):
    """The smallest adversarial change so far.

    Attributes:
        rows: the changed inputs, `(batch, entries)`; the inputs themselves if there are
            none.
        size: the norm of the change, `(batch,)`; infinite if there is none.
    """

    rows: Any
    size: Any


def smallest_of_clean(scene: Scene) -> Smallest:
    """Returns the answer before the first step: 0 for what is misclassified already.

    Args:
        scene: what the steps of the attack read.
    """
    is_done = scene.clean.lead > 0
    return Smallest(scene.rows, jnp.where(is_done, 0, jnp.inf).astype(scene.rows.dtype))


def smaller(smallest: Smallest, rows: Any, looked: Looked, size: Any) -> Smallest:
    """Returns the smallest change after another point was looked at.

    Args:
        smallest: the smallest change so far.
        rows: the point, `(batch, entries)`.
        looked: what the model makes of it.
        size: the norm of its change, `(batch,)`.
    """
    is_smaller = (looked.lead > 0) & (size < smallest.size)
    return choose(is_smaller, Smallest(rows, size), smallest)


def searched(
    name: str,
    scene: Scene,
    step: Iteration,
    static: Any,
    state: Any,
    n_steps: int,
    *,
    calls: int,
    is_done: Callable[[Any], Any] | None = None,
) -> Perturbed:
    """Returns what an attack makes of a batch whose state holds the smallest change.

    Args:
        name: the name of the attack, for its progress bar.
        scene: what the steps of the attack read.
        step: the step, as `iterate` takes it; its record is the loss of each example
            and whether it had no slope there.
        static: the static part of its arguments.
        state: the first state, whose attribute `smallest` is the answer so far.
        n_steps: the largest number of steps.
        calls: the number of times that one step calls the model.
        is_done: a function from a state to whether no example needs another step;
            called eagerly, the attack stops there; by default it takes all steps.
    """
    state = jax.tree.map(jnp.copy, state)  # the memory of a state is reused
    losses, flats = [], []
    traced = is_traced(state, scene.constants)
    stretch = n_steps if traced or is_done is None else STRETCH
    with progress_bar(n_steps, name, is_shown=not traced) as bar:
        for first in range(0, n_steps, stretch):
            numbers = range(first, min(first + stretch, n_steps))
            state, (loss, flat) = iterate(
                step, static, scene.constants, state, numbers, tick=bar.update
            )
            losses.append(loss)
            flats.append(flat)
            if is_done is not None and not traced and bool(is_done(state)):
                break
    records = jnp.concatenate(losses), jnp.concatenate(flats)
    finish = _finish if traced else _jitted_finish
    arrays = finish(
        (scene.victim, n_steps), scene.constants, scene.clean, state, records
    )
    changed, is_allowed, size, all_losses, is_flat = arrays
    n_queries = n_steps * calls + 1
    return Perturbed(changed, is_allowed, size, n_queries, all_losses, is_flat)


def _finish(
    static: Any, constants: Any, clean: Looked, state: Any, records: Any
) -> tuple[Any, ...]:
    """The fields of a `Perturbed`."""
    victim, n_steps = static
    _, threat, rows, _ = constants
    smallest, (losses, is_flat) = state.smallest, records
    is_allowed = jnp.isfinite(smallest.size) & (smallest.size <= threat.radius)
    missing = ((0, 0), (0, n_steps - losses.shape[0]))
    losses = jnp.concatenate([clean.loss[None], losses]).T
    return (
        victim.layout.inputs(choose(is_allowed, smallest.rows, rows)),
        is_allowed,
        jnp.where(is_allowed, smallest.size, jnp.inf),
        jnp.pad(losses, missing, mode="edge"),
        jnp.pad(is_flat.T, missing, mode="edge"),
    )


_jitted_finish = jax.jit(_finish, static_argnums=0)
