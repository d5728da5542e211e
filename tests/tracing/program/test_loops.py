"""Calls are seen through, loops entered, and what is neither is left alone."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import primitives as p

from jaxinterp import capture, trace
from jaxinterp.attribution import gradient
from jaxinterp.tracing.program.evaluate import evaluate
from jaxinterp.tracing.program.flatten import flatten
from jaxinterp.tracing.program.loops import loop_bindings, loop_length
from tests.networks.blocks import FOUR_STEPS, counted, nested, scanned, unrolled
from tests.tracing.arrays import normal, roles

X = normal(2, 4)
W = normal(4, 4) / 3


@jax.custom_jvp
def with_jvp(x):
    """A function with a derivative of its own."""
    return jnp.sin(x)


with_jvp.defjvp(lambda primals, tangents: (jnp.sin(*primals), tangents[0] * 7))


@jax.custom_vjp
def with_vjp(x):
    """A function with a pull-back of its own."""
    return jnp.sin(x)


with_vjp.defvjp(lambda x: (jnp.sin(x), None), lambda _, g: (g * 7,))
CALLS = {
    "jit": jax.jit(jnp.sin),
    "nested jit": jax.jit(jax.jit(jnp.sin)),
    "custom_jvp": with_jvp,
    "custom_vjp": with_vjp,
    "checkpoint": jax.checkpoint(jnp.sin),
    "jit of checkpoint": jax.jit(jax.checkpoint(jnp.sin)),
    "vmap": jax.vmap(jax.jit(jnp.sin)),
    "jvp": lambda x: jax.jvp(with_jvp, (x,), (x,))[0],
    "named scope": jax.named_scope("scope")(jnp.sin),
    "named call": jax.named_call(jnp.sin, name="call"),
    "inlined": jax.jit(jnp.sin, inline=True),
    "closed-over": lambda x: jax.jit(lambda y: jnp.sin(y) + 0 * W[0, 0])(x),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_calls_are_seen_through(call):
    program = flatten(jax.make_jaxpr(call)(X))
    assert p.sin_p in {equation.primitive for equation in program.equations}
    (result, *_), _ = evaluate(program, [X])
    np.testing.assert_allclose(result, jnp.sin(X))


@pytest.mark.parametrize("call", [with_jvp, with_vjp, jax.checkpoint(with_jvp)])
def test_what_nobody_asks_about_runs_with_its_own_derivative(call):
    program = flatten(jax.make_jaxpr(call)(X))
    slope = jax.grad(lambda x: evaluate(program, [x])[0][0].sum())(X)
    np.testing.assert_allclose(slope, np.full_like(X, 7.0))


def test_results_that_a_call_hands_through_are_found():
    call = jax.jit(lambda x, y: (x, jnp.sin(y), y, x))
    program = flatten(jax.make_jaxpr(lambda x, y: call(x, y * 2))(X, X))
    results, _ = evaluate(program, [X, X])
    for found, expected in zip(results, (X, jnp.sin(2 * X), 2 * X, X), strict=True):
        np.testing.assert_allclose(found, expected)


def mesh_sum(x):
    """A sum over a mesh of one device."""
    auto = jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((1,), ("i",), axis_types=(auto,))
    spec = jax.sharding.PartitionSpec
    inner = lambda x: lax.psum(x, "i")  # noqa: E731
    return jax.shard_map(inner, mesh=mesh, in_specs=spec("i"), out_specs=spec())(x)


OPAQUE = {
    "lax.reduce": lambda x: lax.reduce(x, 0.0, jnp.hypot, (1,)),
    "lax.reduce_window": lambda x: lax.reduce_window(
        x, 1.0, lambda a, b: a * b + 0.0, (1, 2), (1, 2), "VALID"
    ),
    "linear solve": lambda x: jnp.linalg.solve(W[None], x[..., None]),
    "shard_map": mesh_sum,
    "sort with keys": lambda x: lax.sort((x, x * 2), num_keys=1)[1],
    "associative_scan": lambda x: lax.associative_scan(jnp.add, x),
    "fft": lambda x: jnp.fft.fft(x).real,
}


@pytest.mark.parametrize("fn", OPAQUE.values(), ids=OPAQUE.keys())
def test_what_is_no_call_is_run_whole(fn):
    outputs, found = capture(lambda v, x: jnp.tanh(fn(x)), "*")(None, X)
    np.testing.assert_allclose(outputs, jnp.tanh(fn(X)), rtol=1e-12)
    np.testing.assert_array_equal(found["tanh"], outputs)


@pytest.mark.parametrize("fn", FOUR_STEPS.values(), ids=FOUR_STEPS.keys())
def test_the_body_of_a_loop_has_nodes(fn):
    found = roles(fn, W, X)
    assert set(found) >= {"dense", "activation", "add"}
    assert found.count("dense") in (1, 4)


@pytest.mark.parametrize(
    ("fn", "length", "shapes"),
    [
        (scanned, (4,), [(4, 2, 4)]),
        (nested, (2, 2), [(2, 2, 2, 4)]),
        (counted, (), [(2, 4)]),
        (unrolled, (), [(2, 4)] * 4),
    ],
)
def test_sites_know_the_scans_around_them(fn, length, shapes):
    sites = trace(fn, W, X).sites.values()
    found = [site for site in sites if "tanh" in site.address]
    assert [site.shape for site in found] == shapes
    assert {site.length for site in found} == {length}


@pytest.mark.parametrize("name", ["scan", "while", "cond"])
def test_bindings_lead_into_a_body_and_out_of_it(name):
    program = flatten(jax.make_jaxpr(FOUR_STEPS[name])(W, X))
    loop = next(e for e in program.equations if e.bodies)
    for body, enter, leave in loop_bindings(loop):
        assert [inner for _, inner in enter] == list(body.inputs)
        assert {outer.shape for outer, _ in enter} >= {X.shape} or name == "while"
        assert all(a.shape[-2:] == b.shape[-2:] for a, b in leave)
    assert loop_length(loop) == (4 if name == "scan" else None)


def test_a_reversed_and_unrolled_scan_stays_so():
    def model(w, x):
        body = lambda c, row: (jnp.tanh(c @ w + row[None]), c.sum())  # noqa: E731
        return lax.scan(body, x[:1], x, reverse=True, unroll=2)

    outputs, found = capture(model, "tanh")(W, X)
    chex.assert_trees_all_close(outputs, model(W, X), rtol=1e-7)
    np.testing.assert_allclose(found["tanh"][0], outputs[0])


def test_a_batched_branch_becomes_a_choice():
    def model(w, x):
        branch = lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.tanh, x)  # noqa: E731
        return jax.vmap(branch)(x)

    outputs, found = capture(model, "*")(W, X)
    np.testing.assert_allclose(outputs, model(W, X))
    assert {"sin", "tanh"} < set(found)


def test_a_branch_in_a_loop_shows_the_steps_that_took_it():
    def model(w, x):
        body = lambda c, i: (lax.cond(i > 1, jnp.tanh, jnp.sin, c), None)  # noqa: E731
        return lax.scan(body, x, jnp.arange(4))[0]

    _, found = capture(model, "*")(W, X)
    absent = {a: np.isnan(found[a]).all(axis=(1, 2)).tolist() for a in ("sin", "tanh")}
    assert absent == {
        "sin": [False, False, True, True],
        "tanh": [True, True, False, False],
    }


def test_two_loops_have_sites_of_their_own_lengths():
    def model(w, x):
        for length in (3, 2):
            x, _ = lax.scan(lambda c, _: (jnp.sin(c), None), x, length=length)
        return x

    relevance = gradient(model, score=lambda y, _: y.sum(1), at="*sin*")(W, X)
    assert [v.shape for v in relevance.values()] == [(3, 2, 4), (2, 2, 4)]
    assert np.all(np.asarray(list(relevance.values())[1][-1]) == 1)
