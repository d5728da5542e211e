"""A `while` loop that can be differentiated, for rules inside of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def differentiable_while(
    keep_going: Callable[[Any], Any], step: Callable[[Any], Any], init: Any
) -> Any:
    """Runs a `while` loop whose backward pass computes each state from the first.

    A loop of unknown length cannot store its states. Going back through `n` steps
    therefore takes `n * (n + 1) / 2` steps forward: memory stays constant.

    Args:
        keep_going: a function from a state to whether another step is made.
        step: a function from a state to the next one. It may close over traced values,
            and so may `keep_going`.
        init: the first state, any pytree. Integers in it get no derivative.

    Returns:
        The last state.

    Example:
        >>> def power(x):
        ...     return differentiable_while(
        ...         lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * x), (0, 1.0)
        ...     )[1]
        >>> [float(power(2.0)), float(jax.grad(power)(2.0))]
        [8.0, 12.0]
    """
    init = jax.tree.map(jnp.asarray, init)
    keep_going, test_consts = jax.closure_convert(keep_going, init)
    step, step_consts = jax.closure_convert(step, init)
    tree = jax.tree.structure(init)
    inexact = [
        i
        for i, leaf in enumerate(jax.tree.leaves(init))
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]

    def pick(state: Any) -> list[Any]:
        leaves = jax.tree.leaves(state)
        return [leaves[i] for i in inexact]

    def put(values: list[Any], leaves: list[Any]) -> Any:
        state = dict(enumerate(leaves)) | dict(zip(inexact, values, strict=True))
        return jax.tree.unflatten(tree, list(state.values()))

    def count_and_run(init: Any, consts: Any) -> tuple[Any, Any]:
        test_consts, step_consts = consts
        return lax.while_loop(
            lambda carry: keep_going(carry[1], *test_consts),
            lambda carry: (carry[0] + 1, step(carry[1], *step_consts)),
            (jnp.zeros((), jnp.int32), init),
        )

    @jax.custom_vjp
    def run(init: Any, consts: Any) -> Any:
        return count_and_run(init, consts)[1]

    def forward(init: Any, consts: Any) -> Any:
        count, final = count_and_run(init, consts)
        return final, (count, init, consts)

    def backward(residuals: Any, cotangent: Any) -> Any:
        count, init, (test_consts, step_consts) = residuals

        def back(carry: Any) -> Any:
            left, (cotangent, to_consts) = carry
            state = lax.fori_loop(
                0, left - 1, lambda _, state: step(state, *step_consts), init
            )

            def inexact_step(values: list[Any], consts: Any) -> list[Any]:
                return pick(step(put(values, jax.tree.leaves(state)), *consts))

            _, pull = jax.vjp(inexact_step, pick(state), step_consts)
            to_state, to_step = pull(cotangent)
            return left - 1, (to_state, jax.tree.map(jnp.add, to_consts, to_step))

        zeros = jax.tree.map(jnp.zeros_like, step_consts)
        _, (to_init, to_consts) = lax.while_loop(
            lambda carry: carry[0] > 0, back, (count, (pick(cotangent), zeros))
        )
        nothing = [None] * tree.num_leaves
        return put(to_init, nothing), ([None] * len(test_consts), to_consts)

    run.defvjp(forward, backward)
    return run(init, (test_consts, step_consts))
