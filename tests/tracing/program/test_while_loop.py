"""A `while` that can be differentiated, against its steps written out."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp.tracing.program.while_loop import differentiable_while
from tests.tracing.arrays import normal

W = normal(3, 3) / 2
X = normal(3)


def looped(w, x, n):
    def step(state):
        count, x, total, flags = state
        x = jnp.tanh(w @ x) * (count + 1)
        return count + 1, x, total + x.sum(), ~flags

    init = (0, x, 0.0, jnp.array([True, False]))
    count, x, total, _ = differentiable_while(lambda s: s[0] < n, step, init)
    return (x**2).sum() + total * count


def by_hand(w, x, n):
    total = 0.0
    for count in range(n):
        x = jnp.tanh(w @ x) * (count + 1)
        total = total + x.sum()
    return (x**2).sum() + total * n


@pytest.mark.parametrize("n", [0, 1, 5])
def test_counters_and_flags_in_the_state_get_no_derivative(n):
    found = jax.value_and_grad(looped, argnums=(0, 1))(W, X, n)
    expected = jax.value_and_grad(by_hand, argnums=(0, 1))(W, X, n)
    chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_length_may_be_traced_and_batched():
    gradient = jax.jit(jax.grad(looped, argnums=1))
    lengths = jnp.array([1, 3])
    found = jax.vmap(lambda n: gradient(W, X, n))(lengths)
    expected = [jax.grad(by_hand, argnums=1)(W, X, n) for n in (1, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_test_may_close_over_the_differentiated_value():
    def doubled_until(limit, x):
        return differentiable_while(lambda x: x.sum() < limit.sum(), lambda x: 2 * x, x)

    slope = jax.grad(lambda x: doubled_until(x * 10, x).sum())(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(slope, [16.0, 16.0])


def test_it_computes_what_the_loop_of_jax_does():
    init = (jnp.zeros((), jnp.int32), X)
    args = (lambda s: s[0] < 3, lambda s: (s[0] + 1, jnp.sin(s[1]) + W[0]), init)
    chex.assert_trees_all_equal(differentiable_while(*args), lax.while_loop(*args))
