"""What depends on the input, and which axes of a reshape belong together."""

import jax.numpy as jnp
import pytest
from jax import lax

from jaxinterp import trace
from jaxinterp.tracing.facts.axes import reshape_groups
from tests.tracing.arrays import normal

X = normal(2, 6)


def test_activity_is_dependence_on_the_input():
    def model(w, x):
        kernel = jnp.tanh(w) @ w  # a weight, however it is computed
        return x @ kernel + jnp.exp(w).sum()

    graph = trace(model, normal(6, 6), X)
    assert [str(node.role) for node in graph] == ["dense"]


def test_a_carry_becomes_active_when_the_input_reaches_it():
    def model(w, x):
        def step(carry, row):
            return (carry[1], carry[0] + row), None

        return lax.scan(step, (jnp.zeros(6), w), x)[0][0]

    assert "scan" in trace(model, jnp.zeros(6), X).sites
    still = lambda w, x: lax.scan(lambda c, _: (c * 2, None), w, None, length=2)[0] + x  # noqa: E731
    assert "scan" not in trace(still, jnp.zeros((1, 6)), X).sites


@pytest.mark.parametrize(
    ("old", "new", "groups"),
    [
        ((2, 12), (2, 3, 4), [((0,), (0,)), ((1,), (1, 2))]),
        ((2, 3, 4), (6, 4), [((0, 1), (0,)), ((2,), (1,))]),
        ((2, 1), (2,), [((0, 1), (0,))]),
        ((2,), (2, 1, 1), [((0,), (0, 1, 2))]),
        ((0, 3), (3, 0), [((0, 1), (0, 1))]),
        ((), (1,), [((), (0,))]),
    ],
)
def test_reshape_groups_say_which_axes_become_which(old, new, groups):
    assert reshape_groups(old, new) == groups
