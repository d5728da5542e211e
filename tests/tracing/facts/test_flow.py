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


def test_what_a_condition_chooses_depends_on_the_condition():
    graph = trace(lambda w, x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, w), X, X)
    assert graph.program.outputs[0] in graph.flows[graph.program].active
    graph = trace(lambda w, x: lax.cond(w[0, 0] > 0, jnp.sin, jnp.cos, w), X, X)
    assert graph.program.outputs[0] not in graph.flows[graph.program].active


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


@pytest.mark.parametrize(
    ("make", "axes"),
    [
        (lambda w: w, {0, 1}),
        (lambda w: w[:1], {1}),
        (lambda w: jnp.broadcast_to(w[0, 0], (2, 6)), set()),
        (lambda w: jnp.broadcast_to(w[0], (2, 6)), {1}),
        (lambda w: jnp.broadcast_to(w[:, :1], (2, 6)), {0}),
        (lambda w: jnp.broadcast_to(w[0, :2], (6, 2)).T, {0}),
        (lambda w: jnp.broadcast_to(w[0, :2, None], (2, 6)) + w[:, :1], {0}),
        (lambda w: jnp.tanh(jnp.broadcast_to(w[0], (2, 6))) * w[:1], {1}),
        (lambda w: jnp.broadcast_to(w[0, :3], (2, 2, 3)).reshape(2, 6), {1}),
        (lambda w: jnp.broadcast_to(w[:, 0], (3, 2)).T.reshape(2, 3)[:, :1], {0}),
        (lambda w: jnp.broadcast_to(w, (1, 2, 6)).reshape(2, 6), {0, 1}),
        (lambda w: jnp.cumsum(jnp.broadcast_to(w[0], (2, 6)), 0), {0, 1}),
    ],
)
def test_a_weight_varies_along_the_axes_that_are_not_repeats(make, axes):
    graph = trace(lambda w, x: make(w), X, jnp.zeros(1))
    flow = graph.flows[graph.program]
    assert flow.varying_axes(graph.program.outputs[0]) == axes
