"""The axis of the examples, followed from the inputs to inner arrays."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxinterp import trace
from jaxinterp.tracing.facts.batch_axis import batch_axis, mixing_equation
from tests.tracing.arrays import normal

X = normal(2, 3, 5, 4)
W = normal(4, 6)


def channels_last(x):
    numbers = ("HWCN", "HWIO", "HWCN")
    kernel = normal(1, 1, 4, 2)
    return lax.conv_general_dilated(
        x.transpose(1, 2, 3, 0), kernel, (1, 1), "SAME", dimension_numbers=numbers
    )


KEPT = {
    "pointwise": (jnp.tanh, 0),
    "transposed": (lambda x: jnp.sin(x.transpose(1, 2, 0, 3)), 2),
    "kernel on the right": (lambda x: x.swapaxes(0, 1) @ W, 1),
    "kernel on the left": (lambda x: jnp.einsum("ki,bhwi->khwb", W.T, x), 3),
    "convolution": (channels_last, 3),
    "sum before": (lambda x: x.swapaxes(0, 2).sum((0, 1)), 0),
    "slice beside": (lambda x: jnp.cos(x)[:, 1:], 0),
    "pooled": (
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 5, 1), (1,) * 4, "VALID"),
        0,
    ),
    "split": (lambda x: x.reshape(2, 15, 2, 2), 0),
    "merged and split again": (lambda x: jnp.sin(x.reshape(30, 4)).reshape(2, 60), 0),
    "a batch product": (lambda x: jnp.einsum("bhwi,bhvi->hbwv", x, x), 1),
    "stacked before": (lambda x: jnp.stack([x, x]), 1),
    "stacked after": (lambda x: jnp.stack([x, x], axis=-1), 0),
    "unstacked": (lambda x: jnp.sin(jnp.unstack(x.swapaxes(0, 1))[1]), 0),
    "two ways": (lambda x: x + jnp.flip(x, axis=2), 0),
}
MERGED = {
    "merged": (lambda x: x.reshape(30, 4) @ W, 0),
    "moved and merged": (lambda x: x.swapaxes(0, 1).reshape(3, 10, 4) @ W, 1),
}
LOST = {
    "summed over": lambda x: x.sum(0),
    "reversed": lambda x: jnp.flip(x, axis=0),
    "sorted": lambda x: jnp.sort(x, axis=0),
    "part": lambda x: x[:1],
    "joined": lambda x: jnp.concatenate([x, x]),
    "inside of what is merged": lambda x: x.swapaxes(0, 1).reshape(6, 20),
    "contracted": lambda x: jnp.einsum("bhwi,bc->hwic", x, normal(2, 3)),
    "two axes at once": lambda x: jnp.einsum("bhwi,bhwj->ij", x, x),
    "added to itself moved": lambda x: x[:, :2] + x[:, :2].swapaxes(0, 1),
    "an operation that is not known": lambda x: jnp.fft.fft(x, axis=1).real,
}


def axis_of_output(f):
    graph = trace(lambda _, x: f(x), None, X)
    (flow,) = {node.flow for node in graph.nodes}
    (output,) = graph.program.outputs
    return batch_axis(flow, output, len(X))


@pytest.mark.parametrize("name", [*KEPT, *MERGED])
def test_the_axis_is_followed(name):
    f, expected = (KEPT | MERGED)[name]
    assert axis_of_output(f) == expected


@pytest.mark.parametrize("name", KEPT)
def test_along_it_an_entry_depends_on_its_own_example_alone(name):
    f, axis = KEPT[name]
    changed = f(X.at[1].add(normal(3, 5, 4, seed=1)))
    kept = jnp.take(f(X), 0, axis=axis), jnp.take(changed, 0, axis=axis)
    moved = jnp.take(f(X), 1, axis=axis), jnp.take(changed, 1, axis=axis)
    assert jnp.allclose(*kept)
    assert not jnp.allclose(*moved)


@pytest.mark.parametrize("name", LOST)
def test_what_mixes_examples_or_is_not_known_loses_it(name):
    assert axis_of_output(LOST[name]) is None


def test_tokens_lead_to_their_embedding():
    tokens = jnp.array([[1, 0, 2], [0, 0, 1]])
    graph = trace(lambda table, t: jnp.tanh(table[t.T]), W, tokens)
    (output,) = graph.program.outputs
    assert batch_axis(graph.nodes[-1].flow, output, 2) == 1


def test_a_single_example_has_the_axis_too():
    graph = trace(lambda _, x: jax.nn.relu(x.swapaxes(0, 1)), None, X[:1])
    (output,) = graph.program.outputs
    assert batch_axis(graph.nodes[-1].flow, output, 1) == 1


MIXING = {
    "no equation": (lambda x: jnp.tanh(x).sum((1, 2)), None),
    "a mean over the batch": (lambda x: jnp.sin(x - x.mean(0, keepdims=True)), "sum"),
    "a maximum, and more after it": (lambda x: jnp.cos(x / x.max(0)[None]) + 1, "max"),
    "a product of examples": (
        lambda x: jnp.sin(jnp.einsum("bhwi,bhwj->ij", x, x)),
        "dot_general",
    ),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_adds_up_or_compares_examples_is_found(name):
    fn, expected = MIXING[name]
    graph = trace(lambda w, x: fn(x), None, X)
    (output,) = graph.program.outputs
    found = mixing_equation(graph.flows[graph.program], output, len(X))
    primitive = None if found is None else found.primitive.name
    assert primitive == expected or f"reduce_{expected}" == primitive
