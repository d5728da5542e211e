"""What is provably nonnegative, and what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxinterp import trace
from jaxinterp.tracing.facts import curve
from tests.tracing.arrays import normal

X = normal(2, 6)
IMAGE = normal(2, 4, 4, 2)


def is_proven(fn, x):
    """Whether the result of a function is proven to be nonnegative."""
    graph = trace(lambda w, x: fn(x), None, x)
    (output,) = graph.program.outputs
    return output in graph.flows[graph.program].nonnegative


NONNEGATIVE = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "maximum": lambda x: jnp.maximum(0.0, x),
    "maximum of one": lambda x: jnp.maximum(jnp.sin(x), jnp.abs(x)),
    "clip from zero": lambda x: jnp.clip(x, 0, 1),
    "clamp": lambda x: lax.clamp(0.0, x, 1.0),
    "sigmoid": jax.nn.sigmoid,
    "softmax": jax.nn.softmax,
    "softmax with a shift": lambda x: jax.nn.softmax(x - x.max()),
    "exp": jnp.exp,
    "softplus": jax.nn.softplus,
    "abs": jnp.abs,
    "square": jnp.square,
    "x * x": lambda x: x * x,
    "even power": lambda x: x**4,
    "root": lambda x: jnp.sqrt(jnp.abs(x)),
    "where x > 0": lambda x: jnp.where(x > 0, x, 0.0),
    "where x < 0": lambda x: jnp.where(x < 0, 0.0, x),
    "sum of two": lambda x: jax.nn.relu(x) + jnp.abs(x),
    "product of two": lambda x: jax.nn.relu(x) * jax.nn.sigmoid(x),
    "quotient": lambda x: jax.nn.relu(x) / (1.0 + jnp.abs(x)),
    "minimum of two": lambda x: jnp.minimum(jax.nn.relu(x), 1.0),
    "scaled": lambda x: 0.5 * jax.nn.relu(x) + 0.1,
    "reshaped": lambda x: jax.nn.relu(x).reshape(3, 4).T[1:, None],
    "padded": lambda x: jnp.pad(jax.nn.relu(x), 1),
    "concatenated": lambda x: jnp.concatenate([jax.nn.relu(x), jnp.abs(x)]),
    "gathered": lambda x: jax.nn.relu(x)[:, jnp.array([2, 0])],
    "mean": lambda x: jax.nn.relu(x).mean(1),
    "maximum over": lambda x: jax.nn.relu(x).max(1),
    "sorted": lambda x: jnp.sort(jax.nn.relu(x)),
    "cast": lambda x: jax.nn.relu(x).astype(jnp.bfloat16),
    "in jit": lambda x: jax.jit(jax.nn.relu)(x),
    "tanh after": lambda x: jnp.tanh(jax.nn.relu(x)),
    "mean of squares": lambda x: jnp.square(x - 1).mean(1),
    "product of matrices": lambda x: jnp.abs(x) @ jax.nn.softmax(x).T,
}
UNKNOWN = {
    "input": lambda x: x + 0.0,
    "leaky relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "difference": lambda x: jax.nn.relu(x) - jnp.abs(x),
    "negated": lambda x: -jax.nn.relu(x),
    "shifted down": lambda x: jax.nn.relu(x) - 0.1,
    "odd power": lambda x: x**3,
    "product with x": lambda x: jax.nn.relu(x) * x,
    "clip from below zero": lambda x: jnp.clip(x, -1, 1),
    "padded with -1": lambda x: jnp.pad(jax.nn.relu(x), 1, constant_values=-1.0),
    "log": lambda x: jnp.log(jnp.abs(x)),
    "where of both": lambda x: jnp.where(x > 1, x, -1.0),
    "where the other way": lambda x: jnp.where(x > 0, 0.0, x),
    "where another is positive": lambda x: jnp.where(jnp.sin(x) > 0, x, 0.0),
    "gram matrix": lambda x: x @ x.T,
    "clamp with an upper bound below": lambda x: lax.clamp(jnp.zeros_like(x), x, x - 5),
    "integers of fewer bits": lambda x: (
        jnp.abs(500 * x).astype(int).astype(jnp.int8).astype(x.dtype)
    ),
}


@pytest.mark.parametrize("fn", NONNEGATIVE.values(), ids=NONNEGATIVE.keys())
def test_what_cannot_be_negative_is_proven(fn):
    assert is_proven(fn, X)
    assert (np.asarray(fn(X)) >= 0).all()


@pytest.mark.parametrize("fn", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_may_be_negative_is_not(fn):
    assert not is_proven(fn, X)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (lambda x: nn.max_pool(x, (2, 2)), True),
        (lambda x: nn.avg_pool(x, (2, 2)), True),
        (lambda x: nn.max_pool(x, (3, 3), padding="SAME"), True),
    ],
)
def test_pooling_keeps_the_sign(pool, expected):
    assert is_proven(lambda x: pool(jax.nn.relu(x)), IMAGE) is expected
    assert not is_proven(pool, IMAGE)


def test_signs_are_known_inside_of_a_loop():
    def scanned(w, x):
        return lax.scan(lambda c, _: (c + jax.nn.relu(c) @ w, None), x, length=2)[0]

    graph = trace(scanned, normal(6, 6), X)
    (dense,) = (node for node in graph if node.role == "dense")
    assert dense.inputs[0] in dense.flow.nonnegative


GATES = {
    "sigmoid": jax.nn.sigmoid,
    "sigmoid by hand": lambda x: 1 / (1 + jnp.exp(-x)),
    "half a sigmoid": lambda x: 0.5 / (jnp.exp(-x) + 1.0),
    "hard sigmoid": lambda x: lax.clamp(0.0, x, 1.0),
    "one minus a gate": lambda x: 1 - jax.nn.sigmoid(x),
    "product of gates": lambda x: jax.nn.sigmoid(x) * lax.clamp(0.2, x, 0.8),
    "a gate in another shape": lambda x: jax.nn.sigmoid(x).reshape(3, 4).T[1:],
    "exponential decay": lambda x: jnp.exp(-jax.nn.softplus(x)),
    "of a fixed rate": lambda x: jnp.exp(jax.nn.softplus(x) * -jnp.exp(X[:1])),
    "rates of features": lambda x: jnp.exp(jax.nn.relu(x) @ -jnp.abs(X.T)),
    "log of a gate and back": lambda x: jnp.exp(jnp.log(jax.nn.sigmoid(x))),
    "product of decays": lambda x: jnp.exp(jnp.cumsum(jax.nn.log_sigmoid(x), axis=1)),
    "stabilized": lambda x: jnp.exp(x - jnp.maximum(x, x[::-1])),
    "stabilized twice": lambda x: jnp.exp(
        x + 1 - jnp.maximum(jnp.maximum(x + 1, x[::-1]), 0.0)
    ),
    "stabilized, added otherwise": lambda x: jnp.exp2(
        (x + x[::-1]) - jnp.maximum(jnp.sin(x), x[::-1] + x)
    ),
    "minimum with one": lambda x: jnp.minimum(jnp.exp(x), jnp.ones_like(x)),
    "what a decay leaves": lambda x: jnp.sqrt(1 - jax.nn.sigmoid(x) ** 2),
    "a root of a gate": lambda x: jax.nn.sigmoid(x) ** 0.25,
    "kept at padding": lambda x: jnp.where(X > 0, jax.nn.sigmoid(x), 1.0),
    "kept above": lambda x: jnp.clip(jax.nn.sigmoid(x), 0.1, 1.0),
    "a part of a gate": lambda x: 0.9 * jax.nn.sigmoid(x),
    "joined": lambda x: jnp.concatenate([jax.nn.sigmoid(x), jax.nn.sigmoid(-x)]),
    "padded": lambda x: jnp.pad(jax.nn.sigmoid(x), 1, constant_values=1.0),
    "over itself and more": lambda x: jnp.exp(x) / (1 + jnp.exp(x)),
    "the part of one of two": lambda x: x**2 / (x[::-1] ** 2 + x**2),
    "over a maximum": lambda x: jnp.abs(x) / jnp.maximum(jnp.abs(x), 1.0),
    "stacked": lambda x: jnp.stack([jax.nn.sigmoid(x), jax.nn.sigmoid(-x)]),
    "repeated": lambda x: jnp.tile(jax.nn.sigmoid(x), 2),
    "split": lambda x: lax.split(jax.nn.sigmoid(x), (3, 3), axis=1)[1],
    "behind a barrier": lambda x: lax.optimization_barrier(jax.nn.sigmoid(x)),
    "put on a device": lambda x: jax.device_put(jax.nn.sigmoid(x), jax.devices()[0]),
    "stabilized, then rounded": lambda x: jnp.exp(
        x.astype(jnp.bfloat16) - jnp.maximum(x, 0).astype(jnp.bfloat16)
    ),
    "stabilized, then in a row": lambda x: jnp.exp(
        x.reshape(-1) - jnp.maximum(x, x[::-1]).reshape(-1)
    ),
}
NO_GATES = {
    "tanh": jnp.tanh,
    "sum": lambda x: jax.nn.sigmoid(x) + jax.nn.sigmoid(x[::-1]),
    "twice a sigmoid": lambda x: 2 / (1 + jnp.exp(-x)),
    "divisor below one": lambda x: 1 / (0.5 + jnp.exp(-x)),
    "divisor of any sign": lambda x: 1 / (1 + jnp.sin(x)),
    "negative dividend": lambda x: -1 / (1 + jnp.exp(-x)),
    "clip up to two": lambda x: lax.clamp(0.0, x, 2.0),
    "clip from below zero": lambda x: lax.clamp(-1.0, x, 1.0),
    "two minus a gate": lambda x: 2 - jax.nn.sigmoid(x),
    "a gate minus one": lambda x: jax.nn.sigmoid(x) - 1,
    "one minus anything": lambda x: 1 - x,
    "product with x": lambda x: jax.nn.sigmoid(x) * x,
    "another's shape": lambda x: x.reshape(3, 4),
    "growth": lambda x: jnp.exp(jax.nn.softplus(x)),
    "exponential": jnp.exp,
    "stabilized by a minimum": lambda x: jnp.exp(x - jnp.minimum(x, 0.0)),
    "the maximum of others": lambda x: jnp.exp(x - jnp.maximum(x + 1e-9 * x, 0.0)),
    "the maximum of what is turned": lambda x: jnp.exp(x - jnp.maximum(x[::-1], 0.0)),
    "a difference the other way": lambda x: jnp.exp(jnp.maximum(x, 0.0) - x),
    "one over a gate": lambda x: jax.nn.sigmoid(x) ** -1,
    "a negative root": lambda x: jax.nn.sigmoid(x) ** -0.25,
    "where it may be two": lambda x: jnp.where(X > 0, jax.nn.sigmoid(x), 2.0),
    "a product with two": lambda x: 2.0 * jax.nn.sigmoid(x),
    "padded with two": lambda x: jnp.pad(jax.nn.sigmoid(x), 1, constant_values=2.0),
    "minimum with two": lambda x: jnp.minimum(jnp.exp(x), 2.0),
    "minimum with one of what may be negative": lambda x: jnp.minimum(x, 1.0),
    "over itself and less": lambda x: jnp.exp(x) / (jnp.exp(x) - 0.1),
    "over itself and anything": lambda x: jnp.exp(x) / (jnp.exp(x) + x),
    "of any sign over more": lambda x: x / (x + jnp.exp(x)),
    "stacked with anything": lambda x: jnp.stack([jax.nn.sigmoid(x), x]),
    "behind a barrier with a gate": lambda x: lax.optimization_barrier(
        (jax.nn.sigmoid(x), x)
    )[1],
    "what truncation leaves": lambda x: jnp.exp(x - x.astype(int).astype(x.dtype)),
    "what rounding leaves": lambda x: jnp.exp(x - x.astype(jnp.bfloat16)),
    "what a dtype rounds": lambda x: jnp.exp(x - lax.reduce_precision(x, 8, 2)),
    "less than another constant": lambda x: jnp.exp((x + 1.000000001) - (x + 1.0)),
    "not zero": lambda x: jnp.exp(
        lax.convert_element_type(-jax.nn.relu(x), bool).astype(x.dtype)
    ),
    "a difference of what is not zero": lambda x: jnp.exp(
        lax.convert_element_type(x, bool).astype(x.dtype)
        - lax.convert_element_type(jnp.maximum(x, 0.0), bool).astype(x.dtype)
    ),
    "natural numbers turned": lambda x: jnp.exp(
        (-jnp.abs(500 * x).astype(jnp.uint32)).astype(x.dtype)
    ),
    "one over zero": lambda x: jnp.exp(1 / jnp.minimum(x, 0.0)),
    "differences of decays": lambda x: jnp.exp(jax.nn.relu(x) - jax.nn.relu(x + 1)),
}


def is_gate(fn):
    """Whether the result of a function is proven to lie between zero and one."""
    graph = trace(lambda w, x: fn(x), None, X)
    (output,) = graph.program.outputs
    return output in graph.flows[graph.program].gates


@pytest.mark.parametrize("fn", GATES.values(), ids=GATES.keys())
def test_what_lies_between_zero_and_one_is_a_gate(fn):
    assert is_gate(fn)
    assert ((fn(X) >= 0) & (fn(X) <= 1)).all()


@pytest.mark.parametrize("fn", NO_GATES.values(), ids=NO_GATES.keys())
def test_what_may_leave_zero_to_one_is_no_gate(fn):
    assert not is_gate(fn)


def test_differences_of_differences_are_read_in_time():
    def model(w, x):
        for _ in range(60):
            x = x - x[::-1]
        return jnp.exp(x - jnp.maximum(x, 0.0))

    assert is_gate(lambda x: model(None, x))  # twice as long for each step is forever


@pytest.mark.parametrize("fn", [lambda x: jax.nn.relu(x) / 20, lambda x: x / 40 + 0.5])
def test_arithmetic_finds_no_gate_in_what_grows_further(fn):
    graph = trace(lambda w, x: fn(x), None, X)
    (output,) = graph.program.outputs
    assert not curve.is_gate(graph.flows[graph.program], output)


def test_what_enters_a_loop_keeps_its_signs_and_what_is_carried_does_not():
    def scanned(w, x):
        decay = jnp.exp(-jax.nn.softplus(x @ w["rate"]))

        def step(h, a):
            return a * h + jax.nn.relu(h), h

        decays = jnp.broadcast_to(decay[None], (3, *decay.shape))
        return lax.scan(step, jax.nn.sigmoid(x), decays)[0]

    def until(w, x):
        decay = jax.nn.sigmoid(x @ w["rate"])
        return lax.while_loop(
            lambda state: state[0] < 2,
            lambda state: (state[0] + 1, decay * state[1] + jax.nn.relu(state[1])),
            (0, jax.nn.sigmoid(x)),
        )[1]

    for fn in (scanned, until):
        graph = trace(fn, {"rate": normal(6, 6)}, X)
        (product,) = (node for node in graph if node.role == "product")
        flow = product.flow
        assert len(product.inputs) == 2
        gates = [v for v in product.inputs if v in flow.gates]
        assert len(gates) == 1  # and not the state, whatever it starts at
        assert gates[0] in flow.nonnegative
