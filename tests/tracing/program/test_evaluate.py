"""The one interpreter: what is asked for happens, everything else runs as written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import primitives as p

from jaxinterp.tracing.program.evaluate import Changes, evaluate, evaluate_part
from jaxinterp.tracing.program.flatten import flatten
from tests.networks.blocks import FOUR_STEPS, scanned
from tests.tracing.arrays import normal

X = normal(2, 4)
W = normal(4, 4) / 3


def program_of(fn, *args):
    return flatten(jax.make_jaxpr(fn)(*args))


def results_of(program, primitive):
    return [
        equation.outputs[0]
        for _, _, equation in program.walk()
        if equation.primitive is primitive
    ]


def kinds(jaxpr):
    return [eqn.primitive for eqn in jaxpr.jaxpr.eqns]


@pytest.mark.parametrize("fn", FOUR_STEPS.values(), ids=FOUR_STEPS.keys())
def test_without_changes_the_same_primitives_are_bound(fn):
    program = program_of(fn, W, X)
    again = jax.make_jaxpr(lambda w, x: evaluate(program, [w, x])[0])(W, X)
    assert kinds(again) == kinds(jax.make_jaxpr(fn)(W, X))


def test_only_the_calls_that_are_touched_are_opened():
    def model(x):
        return jax.jit(jnp.sin)(jax.nn.relu(x)), jax.jit(lambda x: jnp.tanh(x) * 2)(x)

    program = program_of(model, X)
    (inner,) = results_of(program, p.tanh_p)
    run = lambda x: evaluate(program, [x], Changes(captures=frozenset({inner})))[0]  # noqa: E731
    found = jax.make_jaxpr(run)(X)
    before = kinds(jax.make_jaxpr(model)(X))
    assert [k for k in kinds(found) if k not in (p.tanh_p, p.mul_p)] == before[:2]
    assert p.tanh_p in kinds(found)


def test_the_result_of_a_call_is_read_without_opening_it():
    program = program_of(jax.jit(lambda x: jnp.tanh(x * 2)), X)
    (outer,) = results_of(program, p.tanh_p)
    run = lambda x: evaluate(program, [x], Changes(captures=frozenset({outer})))[1]  # noqa: E731
    assert p.tanh_p not in kinds(jax.make_jaxpr(lambda x: run(x)[outer])(X))
    np.testing.assert_allclose(run(X)[outer], jnp.tanh(X * 2))


def test_probes_are_added_and_show_what_reaches_a_value():
    program = program_of(scanned, W, X)
    (value,) = results_of(program, p.tanh_p)
    changes = Changes(captures=frozenset({value}))

    def run(probe):
        return evaluate(program, [W, X], changes, {value: probe})[0][0].sum()

    received = jax.grad(run)(jnp.zeros((4, 2, 4)))
    expected, x = [], X
    states = [x := scan_step(x) for _ in range(4)]
    for steps in range(4):
        after = lambda d, i=steps: rest(states[i] + d, 3 - i)  # noqa: E731
        expected.append(jax.grad(after)(jnp.zeros_like(X)))
    np.testing.assert_allclose(received, expected, rtol=1e-10)


def scan_step(x):
    return jnp.tanh(x @ W) + x


def rest(x, steps):
    for _ in range(steps):
        x = scan_step(x)
    return x.sum()


def test_a_replaced_node_skips_its_other_equations():
    program = program_of(lambda x: jnp.sin(jnp.exp(x) * 2) + 1, X)
    index = [e.primitive for e in program.equations].index(p.mul_p)
    (read,) = program.inputs
    changes = Changes(
        replaced={(program, index): lambda env: (env[read] * 100,)},
        skipped=frozenset({(program, index - 1)}),
    )
    (result,), _ = evaluate(program, [X], changes)
    np.testing.assert_allclose(result, jnp.sin(X * 100) + 1)
    primitives = kinds(jax.make_jaxpr(lambda x: evaluate(program, [x], changes)[0])(X))
    assert p.exp_p not in primitives


def test_a_part_of_a_program_runs_alone():
    program = program_of(lambda x: jnp.cos(jax.nn.silu(x) * 2), X)
    (silu,) = {c for c in program.calls if c.name == "silu"}
    body = range(silu.start, silu.stop)
    env = evaluate_part(program, body, {program.inputs[0]: X})
    (output,) = silu.equation.outputs
    np.testing.assert_allclose(env[output], jax.nn.silu(X))


def test_a_part_of_a_program_runs_with_changes():
    program = program_of(lambda x: jnp.cos(jnp.exp(x) * 2), X)
    value = program.equations[0].outputs[0]
    changes = Changes(edits={value: lambda result: result + 1})
    env = evaluate_part(program, [0, 1], {program.inputs[0]: X}, changes)
    np.testing.assert_allclose(
        env[program.equations[1].outputs[0]], (jnp.exp(X) + 1) * 2
    )
    assert program.outputs[0] not in env


def test_scopes_survive_another_trace():
    def model(x):
        with jax.named_scope("outer"):
            return jax.jit(jnp.tanh)(x)

    program = program_of(model, X)
    again = program_of(lambda x: evaluate(program, [x])[0], X)
    assert {e.scope for e in again.equations} == {"outer"}
