"""A traced call: which values stay visible."""

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
