"""A state is carried through steps that are compiled once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.loop.steps import iterate


def step(factor, fixed, state, number):
    return factor * state + fixed * number, {"before": state, "number": number}


def expected(numbers):
    state, before = 1.0, []
    for number in numbers:
        before.append(state)
        state = 2 * state + 10 * number
    return state, before


@pytest.mark.parametrize("numbers", [range(4), range(3, 5), range(6, 7)])
@pytest.mark.parametrize("how", ["cpu", "gpu", "jit"])
def test_all_ways_take_the_same_steps(monkeypatch, numbers, how):
    monkeypatch.setattr(jax, "default_backend", lambda: how)
    ticks = []

    def run(state):
        return iterate(step, 2, jnp.array(10.0), state, numbers, tick=ticks.append)

    state, records = (jax.jit(run) if how == "jit" else run)(jnp.array(1.0))
    last, before = expected(numbers)
    assert float(state) == last
    np.testing.assert_array_equal(records["before"], before)
    np.testing.assert_array_equal(records["number"], list(numbers))
    n_steps = len(numbers)
    assert ticks == {"cpu": [1] * n_steps, "gpu": [n_steps], "jit": []}[how]


def test_no_steps_leave_the_state_and_an_empty_record():
    state = jnp.ones(3, jnp.float32)
    after, records = iterate(step, 2, jnp.ones(3, jnp.float32), state, range(5, 5))
    np.testing.assert_array_equal(after, state)
    assert (records["before"].shape, records["before"].dtype) == ((0, 3), jnp.float32)
    assert records["number"].shape == (0,)


def test_a_step_is_compiled_once():
    @chex.assert_max_traces(n=1)
    def step(static, constants, state, number):
        return state + static * number, ()

    state = jnp.array(0)
    for numbers in (range(3), range(3, 9)):
        state, _ = iterate(step, 2, None, state, numbers)
    assert state == 2 * 36
