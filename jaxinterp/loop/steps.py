"""A state that is carried through many steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.checks import is_traced
from jaxinterp.loop.fast_scan import scan

# From what is static, the constants, a state and the number of the step to the next
# state and a record of the step.
Iteration = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def iterate(
    step: Iteration,
    static: Any,
    constants: Any,
    state: Any,
    numbers: range,
    *,
    tick: Callable[[int], Any] = lambda n_steps: None,
) -> tuple[Any, Any]:
    """Carries a state through many steps.

    The step is compiled once for all calls with the same `step` and `static`, and
    arrays of the same shapes.

    Args:
        step: a function `step(static, constants, state, number) -> (state, record)`.
        static: the part of its arguments that is known at compilation: anything that
            can be hashed.
        constants: a pytree of arrays that all steps read.
        state: a pytree of arrays; their memory is reused when called eagerly.
        numbers: the numbers of the steps, which follow one another.
        tick: a function that is called with the number of steps since its last call,
            such as `progress_bar(...).update`.

    Returns:
        The last state, and the records of all steps, stacked on a new first axis.

    Example:
        >>> def step(factor, constants, state, number):
        ...     return factor * state + number, state
        >>> state, records = iterate(step, 2, None, jnp.array(1), range(3))
        >>> int(state), records.tolist()
        (12, [1, 2, 5])
    """
    if not numbers:
        number = jax.ShapeDtypeStruct((), jnp.arange(0).dtype)
        row = _jitted_step.eval_shape(step, static, constants, state, number)[1]
        return state, jax.tree.map(lambda r: jnp.zeros((0, *r.shape), r.dtype), row)
    if is_traced(constants, state):
        return _all_steps(
            step, static, constants, state, jnp.arange(numbers.start, numbers.stop)
        )
    if jax.default_backend() != "cpu":
        numbers_array = jnp.arange(numbers.start, numbers.stop)
        state, records = _jitted_steps(step, static, constants, state, numbers_array)
        tick(len(numbers))
        return state, records
    rows = []
    for number in numbers:
        state, row = _jitted_step(step, static, constants, state, jnp.asarray(number))
        rows.append(row)
        tick(1)
    return state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def _all_steps(
    step: Iteration, static: Any, constants: Any, state: Any, numbers: Any
) -> tuple[Any, Any]:
    return scan(lambda s, number: step(static, constants, s, number), state, numbers)


_jitted_steps = jax.jit(_all_steps, static_argnums=(0, 1), donate_argnums=3)


def _one_step(
    step: Iteration, static: Any, constants: Any, state: Any, number: Any
) -> tuple[Any, Any]:
    return step(static, constants, state, number)


_jitted_step = jax.jit(_one_step, static_argnums=(0, 1), donate_argnums=3)
