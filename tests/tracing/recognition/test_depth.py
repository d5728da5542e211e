"""Depth is the longest way along the data, whatever the order of the source."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.tracing.errors import StepOfLoopError
from tests.tracing.arrays import normal, weights

W = normal(4, 4)
X = normal(2, 4)


def drawn(seed, size=7):
    """For each value of a network the earlier ones that it adds up, and if by layers.

    Value 0 is the input; the last value adds up all.
    """
    rng = np.random.default_rng(seed)
    reads = {
        i: [(int(j), bool(rng.random() < 0.6)) for j in rng.integers(0, i, 1 + i % 2)]
        for i in range(1, size)
    }
    return reads | {size: [(i, False) for i in range(size)]}


def run(reads, w, x):
    values = [x]
    for i, sources in reads.items():
        terms = [
            values[j] @ w[f"{i}.{n}"] if is_layer else jnp.tanh(values[j])
            for n, (j, is_layer) in enumerate(sources)
        ]
        values.append(functools.reduce(jnp.add, terms))
    return values[-1]


def longest(reads, to):
    """The largest number of layers on any way from the input to a value, each tried."""
    if to == 0:
        return 0
    return max(longest(reads, j) + is_layer for j, is_layer in reads[to])


def beyond(reads, of):
    """The largest number of layers on any way from a value to the end, each tried."""
    readers = [(i, is_layer) for i in reads for j, is_layer in reads[i] if j == of]
    return max((beyond(reads, i) + is_layer for i, is_layer in readers), default=0)


@pytest.mark.parametrize("seed", range(6))
def test_the_longest_of_all_ways_counts(seed):
    reads = drawn(seed)
    expected = {
        f"{i}.{n}": (longest(reads, j), beyond(reads, i))
        for i, sources in reads.items()
        for n, (j, is_layer) in enumerate(sources)
        if is_layer
    }
    nodes = ji.trace(functools.partial(run, reads), dict.fromkeys(expected, W), X).nodes
    found = {n.address: (n.maps_before, n.maps_after) for n in nodes}
    assert len(expected) > 1
    for name, (before, after) in expected.items():
        assert found[name] == ((before, before), (after, after))
    assert all(n.maps_before is n.maps_after is None for n in nodes if n.kernel is None)


def selected(selector, fn, variables, x):
    return [n.address for n in ji.trace(fn, variables, x).nodes if selector(n)]


class Residual(nn.Module):
    """A stem, a branch of two layers beside a projection, and a head."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="stem")(x)
        h = nn.relu(nn.Dense(4, name="down")(x))
        h = nn.Dense(4, name="up")(h) + nn.Dense(4, name="projection")(x)
        return nn.Dense(4, name="head")(nn.relu(h))


def by_hand(v, x):
    def dense(name, x):
        return jnp.einsum("bi,io->bo", x, v["params"][name]["kernel"])

    x = dense("stem", x)
    projected = dense("projection", x)  # before the branch, in this source
    return dense(
        "head", jax.nn.relu(projected + dense("up", jax.nn.relu(dense("down", x))))
    )


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0, 1), {"stem"}),
        ((1, 2), {"down", "projection"}),
        ((2, 3), {"up"}),
        ((-2, -1), {"up", "projection"}),
        ((1, -1), {"down", "up", "projection"}),
        ((-1, None), {"head"}),
        ((3, None), {"head"}),
        ((-3, 2), {"down", "projection"}),
    ],
)
def test_a_projection_is_as_deep_as_the_layers_beside_it(bounds, expected):
    variables = weights(Residual(), X)
    for fn in (Residual().apply, by_hand):
        found = selected(ji.layers(*bounds), fn, variables, X)
        assert {name.split("/")[1] for name in found} == expected


@pytest.mark.parametrize("jit", [jax.jit, jax.checkpoint, lambda f: f])
def test_calls_are_seen_through(jit):
    def model(v, x):
        layer = jit(lambda x, w: jnp.tanh(x @ w))
        return layer(layer(layer(x, v["a"]), v["b"]), v["c"])

    found = selected(ji.layers(1, 2), model, dict.fromkeys("abc", W), X)
    assert found == ["b"]


def recurrent(v, x):
    """The state goes through a layer in each step, and the steps through one before."""

    def step(h, row):
        return jnp.tanh(row + h @ v["state"]), None

    rows = jnp.broadcast_to((x @ v["in"])[None], (3, 2, 4))
    return lax.scan(step, x @ v["start"], rows)[0] @ v["out"]


NAMES = dict.fromkeys(("in", "start", "state", "out"), W)


def test_in_a_loop_the_depth_is_that_of_all_steps():
    nodes = {n.address: n for n in ji.trace(recurrent, NAMES, X).nodes}
    assert nodes["in"].maps_before == nodes["start"].maps_before == (0, 0)
    assert nodes["state"].maps_before == (1, np.inf)
    assert nodes["out"].maps_before == (2, np.inf)
    assert nodes["out"].maps_after == (0, 0)
    assert nodes["state"].maps_after == (1, np.inf)
    assert selected(ji.layers(0, 1), recurrent, NAMES, X) == ["in", "start"]
    assert set(selected(ji.layers(1, None), recurrent, NAMES, X)) == {"state", "out"}
    assert selected(ji.layers(-1, None), recurrent, NAMES, X) == ["out"]
    composite = [(ji.layers(1, 3), rules.Zero()), ("*", rules.Norm())]
    with pytest.raises(StepOfLoopError, match=r"layers\(1, 3\) would mean 'state'"):
        ji.plan(recurrent, composite, NAMES, X)
    plan = ji.plan(recurrent, [("state", rules.Zero()), *composite[1:]], NAMES, X)
    assert plan.coverage == 1


def test_a_loop_whose_steps_hand_on_no_layer_has_a_depth():
    def rows(v, x):
        def step(last, row):
            return row @ v["state"], jnp.tanh(last @ v["out"] + row)

        return lax.scan(step, jnp.zeros(4), x)[1] @ v["in"]

    nodes = {n.address: n for n in ji.trace(rows, NAMES, X).nodes}
    assert nodes["state"].maps_before == (0, 0)
    assert nodes["out"].maps_before == (1, 1)  # what it reads comes from step two on
    assert nodes["in"].maps_before == (0, 2)  # what step one returns saw no layer
    with pytest.raises(StepOfLoopError, match="'in' in some steps"):
        selected(ji.layers(2, None), rows, NAMES, X)
    assert selected(ji.layers(3, None), rows, NAMES, X) == []


def test_a_state_that_starts_from_zeros_has_a_step_before_it():
    def model(v, x):
        def step(h, row):
            return jnp.tanh(row @ v["in"] + h @ v["state"]), None

        rows = jnp.broadcast_to(x[None], (3, 2, 4))
        return lax.scan(step, jnp.zeros((2, 4)), rows)[0] @ v["out"]

    nodes = {n.address: n for n in ji.trace(model, NAMES, X).nodes}
    assert nodes["in"].maps_before == (0, 0)
    assert nodes["state"].maps_before == (1, np.inf)
    assert selected(ji.layers(0, 1), model, NAMES, X) == ["in"]


def test_sites_are_as_deep_as_their_nodes():
    variables = weights(Residual(), X)
    _, found = ji.capture(Residual().apply, ji.layers(-2, -1))(variables, X)
    assert list(found) == ["Residual/up", "Residual/projection"]


def test_first_and_last_are_ends_of_the_layers():
    for seed in range(6):
        reads = drawn(seed)
        names = [f"{i}.{n}" for i in reads for n in range(len(reads[i]))]
        arguments = functools.partial(run, reads), dict.fromkeys(names, W), X
        for end, bounds in ((ji.first(), (0, 1)), (ji.last(), (-1, None))):
            assert selected(end, *arguments) == selected(ji.layers(*bounds), *arguments)
