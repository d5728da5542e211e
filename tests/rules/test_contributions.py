"""What a value is the sum of, against the entries of a Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxinterp as ji
from jaxinterp.rules.contributions import contributions_to
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.program.evaluate import Changes, evaluate_part
from jaxinterp.tracing.program.program import Value
from tests.networks import functions as models

X, BASELINE = models.normal(50, 3, 6), models.normal(51, 6)
W = models.normal(52, 6, 6)


def parts_of(model, only=None):
    """Of what the input of the last tanh of a model is the sum, and the program."""
    graph = ji.trace(lambda w, x: jnp.tanh(model(w, x)), W, X)
    node = graph.sites["tanh"].node
    producer = {v: n for n in graph for v in n.outputs}
    return graph.program, contributions_to(node.inputs[0], producer, only)


def sizes_of(model):
    """The sizes by the library, of a model that reads nothing but its inputs."""
    program, parts = parts_of(model)
    assert parts is not None
    (weights, x), every = program.inputs, range(len(program.equations))
    start = np.broadcast_to(BASELINE, X.shape)
    env, refs = (
        evaluate_part(
            program,
            every,
            {**program.constants, weights: W, x: values},
            Changes(captures=parts.reads),
        )
        for values in (X, start)
    )
    names = {v: Value(v) for v in parts.ends}
    env |= {name: refs[v] for v, name in names.items()}
    return parts.size(env, names)


def padded(w, x):
    wide = jnp.pad(x, ((0, 0), (1, 1)))[..., None]
    layout = ("NWC", "WIO", "NWC")
    return lax.conv_general_dilated(
        wide, w[:3, None, :2], (1,), "VALID", dimension_numbers=layout
    )


def bordered(w, x):
    before, after = (
        jnp.pad(x, ((0, 0), width), constant_values=5.0) for width in ((1, 0), (0, 1))
    )
    return before - after


@pytest.mark.parametrize(
    "model",
    [
        lambda w, x: x @ w + 1.0,
        lambda w, x: -(2.0 * x - 3.0) @ w * w[:1] - 4.0,
        lambda w, x: (x[:, :, None] * w[None]).sum(1),
        lambda w, x: 1.0 - x[:, :1] * w[0, 0] - x[:, 1:2] * w[1, 0],
        lambda w, x: x[:, 1:] - x[:, :-1],
        lambda w, x: 2.0 * x - x[:, ::-1],
        bordered,
        lambda w, x: x[:, :3] @ w[:3] - x[:, 3:] @ w[3:],
        lambda w, x: jnp.concatenate([x @ w, 0.5 * x], axis=1)[:, 3:9],
        lambda w, x: -x.mean(axis=1, keepdims=True),
        lambda w, x: jnp.where(w[:1] > 0, x @ w, 7.0),
        lambda w, x: x @ (jnp.ones((6, 2)) - 3.0 * jnp.eye(6, 2)),
        padded,
    ],
)
def test_the_size_is_that_of_all_entries_of_the_jacobian(model):
    jacobian = np.asarray(jax.jacobian(lambda x: model(W, x[None])[0])(X[0]))
    expected = np.einsum("...i,bi->b...", abs(jacobian), abs(X - BASELINE))
    received = sizes_of(model)
    np.testing.assert_allclose(received, expected, rtol=1e-12)


def test_a_layer_adds_up_what_comes_in_whatever_that_was_made_of():
    def model(w, x):
        return jnp.sin(x @ w) @ w + (x @ w) @ w

    hidden = np.sin(X @ W) - np.sin(BASELINE @ W), (X - BASELINE) @ W
    expected = sum(abs(change) @ abs(W) for change in hidden)
    np.testing.assert_allclose(sizes_of(model), expected, rtol=1e-12)

    def both(w, x):
        hidden = x @ w
        return hidden @ w - hidden

    change = X - BASELINE
    expected = abs(change @ W) @ abs(W) + abs(change) @ abs(W)
    np.testing.assert_allclose(sizes_of(both), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        lambda w, x: 2.0 * x,
        lambda w, x: jnp.maximum(x[:, :3], x[:, 3:]),
        lambda w, x: (x @ w) * x,
        lambda w, x: x - x.mean(axis=1, keepdims=True),  # an entry comes two ways
        lambda w, x: x - 3.0 * x[:, ::-1] + x,  # likewise
        lambda w, x: jnp.fft.fft(x).real,
    ],
)
def test_what_is_no_sum_is_one_contribution(model):
    assert parts_of(model)[1] is None


def test_one_role_alone_may_count_as_a_sum():
    def model(w, x):
        return padded(w, x)[..., 0] + x @ w

    only = parts_of(model, Role.DENSE)[1]
    assert only is not None
    assert [n.role for n in only.nodes if n.role is not Role.INDEXING] == [
        Role.DENSE,
        Role.ADD,
    ]
    assert parts_of(padded, Role.DENSE)[1] is None
    assert parts_of(lambda w, x: x[:, :3] + x[:, 3:], Role.DENSE)[1] is None
