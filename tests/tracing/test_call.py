"""A traced call: which values stay visible."""

import jax
import jax.numpy as jnp
import pytest

import jaxinterp as ji
from jaxinterp.tracing.call import trace_call
from tests.tracing.arrays import normal

X, W = normal(2, 5), normal(5, 3)


def test_a_value_that_must_stay_visible_ends_a_node():
    def product(graph):
        return graph.program.equations[0].outputs

    def model(w, x):
        return x @ w + w[:1]

    assert [str(node.role) for node in trace_call(model, W, X).graph] == ["dense"]
    graph = trace_call(model, W, X, cuts=lambda graph: frozenset(product(graph))).graph
    assert [str(node.role) for node in graph] == ["dense", "scale"]
    assert graph.nodes[0].outputs == product(graph)


def prints(w, x):
    jax.debug.callback(lambda x: None, x)
    return jnp.tanh(x @ w)


def chooses_nothing(w, x):
    jax.lax.cond(x.sum() > 0, lambda: (), lambda: ())
    return jnp.tanh(x @ w)


@pytest.mark.parametrize("model", [prints, chooses_nothing])
def test_an_equation_without_a_result_is_left_alone(model):
    graph = ji.trace(model, jnp.ones((3, 2)), jnp.ones((2, 3)))
    assert [str(n.role) for n in graph.nodes][-2:] == ["dense", "activation"]
