"""A graph prints as a table, and knows shapes, costs, and what comes first and last."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxinterp import capture, of_role, trace
from jaxinterp.tracing import Graph
from tests.networks.blocks import Block, Scanned, mlp, scanned
from tests.tracing.arrays import normal, weights

X = normal(2, 4)
W = normal(4, 4)
IMAGE = normal(2, 8, 8, 3)


class Network(nn.Module):
    """Two convolutions and a head."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        x = nn.Conv(5, (3, 3), use_bias=False)(x)
        return nn.Dense(3)(x.mean((1, 2)))


@pytest.fixture(scope="module")
def graph() -> Graph:
    module = Network()
    return trace(module.apply, weights(module, IMAGE), IMAGE)


def test_it_prints_as_a_table(graph):
    head, rule, *rows, summary = str(graph).splitlines()
    assert head.split() == ["address", "role", "output", "FLOPs", "parameters"]
    assert set(rule) == {"-"}
    assert rows[1].split() == [
        *("Network/relu", "activation", "float64[2,", "8,", "8,", "4]", "512")
    ]
    assert len(rows) == 5
    assert summary.startswith("5 nodes and 0 of indexing, ")
    assert repr(graph) == str(graph)


def test_the_table_leaves_out_what_only_moves_entries():
    graph = trace(lambda w, x: jnp.tanh((x.T @ w).reshape(-1)), normal(2, 3), X)
    assert [row[0] for row in graph.table()] == ["dense", "tanh"]
    assert str(graph).splitlines()[-1].startswith("2 nodes and 2 of indexing, ")


def test_it_counts_operations_and_parameters(graph):
    pixels = 2 * 8 * 8
    counted = {row[0]: row[3:] for row in graph.table()}
    assert counted == {
        "Network/Conv_0": (f"{2 * pixels * 9 * 3 * 4 + 4 * pixels:,}", "112"),
        "Network/relu": (f"{4 * pixels:,}", ""),
        "Network/Conv_1": (f"{2 * pixels * 9 * 4 * 5:,}", "180"),
        "Network/mean": (f"{5 * pixels + 10:,}", ""),
        "Network/Dense_0": (f"{2 * 2 * 5 * 3 + 2 * 3:,}", "18"),
    }
    total = sum(int(flops.replace(",", "")) for flops, _ in counted.values())
    assert str(graph).endswith(f"5 nodes and 0 of indexing, {total:,} FLOPs")


def test_a_shared_parameter_is_counted_once():
    graph = trace(lambda w, x: jnp.tanh(x @ w["w"]) @ w["w"], {"w": W}, X)
    assert [row[4] for row in graph.table()] == ["16", "", ""]


def test_it_shows_html_and_escapes_names(graph):
    shown = graph._repr_html_()
    assert shown.startswith("<table>")
    assert "<td>Network/Conv_0</td>" in shown

    def odd(v, x):
        with jax.named_scope("a<b>"):
            return jnp.tanh(x)

    assert "a&lt;b&gt;" in trace(odd, None, X)._repr_html_()


def test_it_is_immutable(graph):
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes[0].role = "dense"


def test_nothing_is_computed():
    module = Network()
    x = jax.ShapeDtypeStruct(IMAGE.shape, IMAGE.dtype)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    found = trace(module.apply, shapes, x)
    assert list(found.sites) == list(trace(module.apply, weights(module, x), x).sites)


def two_heads(v, x):
    h = jnp.tanh(x["a"] @ v["first"] + x["b"] @ v["second"])
    return h @ v["third"], jnp.sin(h @ v["fourth"]), x["a"] * 2


def residual(v, x):
    return x + jnp.tanh(x @ v["w"]) @ v["out"]


HEADS = dict.fromkeys(("first", "second", "third", "fourth"), W)


@pytest.mark.parametrize(
    ("fn", "variables", "x", "first", "last"),
    [
        (two_heads, HEADS, {"a": X, "b": X}, ["first", "second"], ["third", "fourth"]),
        (residual, {"w": W, "out": W}, X, ["w"], ["out"]),
        (lambda v, x: x @ v, W, X, ["dense"], ["dense"]),
        (lambda v, x: jnp.tanh(x), None, X, [], []),
        (scanned, W, X, [], []),  # each step has a layer before and after it
        (lambda v, x: scanned(v, x @ v) @ v, W, X, ["dense"], ["dense_2"]),
    ],
)
def test_first_and_last_are_places_in_the_dataflow(fn, variables, x, first, last):
    nodes = trace(fn, variables, x).nodes
    assert [node.address for node in nodes if node.is_first] == first
    assert [node.address for node in nodes if node.is_last] == last


def test_a_scan_that_does_not_feed_back_has_a_first_layer():
    def rows(w, x):
        return lax.scan(lambda c, row: (c, jnp.tanh(row @ w)), 0.0, x)[1] @ w

    nodes = trace(rows, W, X).nodes
    assert [n.address for n in nodes if n.is_first] == ["dense"]
    assert [n.address for n in nodes if n.is_last] == ["dense_1"]


def test_nodes_know_their_module_weights_and_line():
    module = Block()
    variables = weights(module, X)
    found = trace(module.apply, variables, X)
    by_address = {node.address: node for node in found}
    assert by_address["Block/add"].modules == ("Block",)
    assert sorted(w.shape for w in by_address["Block/Dense_0"].weights) == [
        *((1, 4), (4, 4))
    ]
    assert "blocks.py" in by_address["Block/relu"].line
    assert repr(by_address["Block/relu"]) == "<activation Block/relu float64[2, 4]>"


def test_a_site_has_the_role_of_the_node_that_it_is_named_after():
    class Tail(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(6)(x).reshape(2, 3, 2)

    module = Tail()
    variables = weights(module, X)
    _, found = capture(module.apply, of_role("dense"))(variables, X)
    assert {a: v.shape for a, v in found.items()} == {"Tail/Dense_0": (2, 6)}


def test_iterating_gives_the_nodes_in_network_order():
    layer = {"w": W, "b": normal(1, 4)}
    found = trace(mlp, {"layers": [layer], "head": W}, X)
    assert [node.address for node in found] == ["layers/0", "relu", "head"]
    module = Scanned()
    graph = trace(module.apply, weights(module, X), X)
    programs = list(graph.by_program)
    assert len(programs) == 2
    assert sum(map(len, graph.by_program.values())) == len(graph.nodes)
    np.testing.assert_array_equal(
        [node.flow.program is programs[0] for node in graph.by_program[programs[0]]],
        True,
    )
