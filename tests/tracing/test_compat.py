"""The same answers on every JAX, with its flags on and off."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.ad_checkpoint import checkpoint_policies
from jax.extend.core import primitives as p

from jaxinterp import trace
from jaxinterp.tracing import compat
from tests.tracing.arrays import normal
from tests.tracing.flags import answer

X = normal(2, 3)

FLAGS = {
    "simplified constants": ["use_simplified_jaxpr_constants"],
    "high-level calls": ["custom_jvp3", "custom_vjp3", "remat3"],
}


@pytest.mark.slow(reason="traces and explains in a process of its own")
@pytest.mark.parametrize("names", FLAGS.values(), ids=FLAGS.keys())
def test_flags_change_neither_addresses_nor_relevance(names: list[str]):
    known = [name for name in names if hasattr(jax.config, f"jax_{name}")]
    if not known:
        pytest.skip(f"this JAX has none of the flags {names}")
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.tracing.flags"],
        env={
            **os.environ,
            **{f"JAX_{name.upper()}": "1" for name in known},
            "JAX_PLATFORMS": "cpu",
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    with jax.enable_x64(False):
        expected = answer()
    assert run.stdout.strip() == expected
    assert expected.startswith("['dense', 'relu', 'dense_1', 'tanh', 'add', 'scan', ")


def equation(fn, *args):
    (eqn, *_) = compat.open_jaxpr(jax.make_jaxpr(fn)(*args))[0].eqns
    return eqn


def test_the_settings_of_a_checkpoint_are_found():
    policy = checkpoint_policies.dots_saveable
    kept = equation(jax.checkpoint(jnp.sin, policy=policy, prevent_cse=False), X)
    settings = compat.checkpoint_settings(kept)
    assert settings is not None
    assert settings["policy"] == policy
    assert settings.get("prevent_cse", False) is False
    assert compat.checkpoint_settings(equation(jnp.sin, X)) is None


def test_the_scope_of_an_equation_is_that_of_the_model():
    def scoped(x):
        with jax.named_scope("outer"), jax.named_scope("inner"):
            return jnp.einsum("ij,kj->ik", x, x)

    assert compat.scope_of(equation(scoped, X)) == "outer/inner"
    gradient = jax.grad(lambda x: scoped(x).sum())
    for eqn in compat.open_jaxpr(jax.make_jaxpr(gradient)(X))[0].eqns:
        assert compat.scope_of(eqn) in ("", "outer/inner")


def test_the_line_is_the_one_that_the_user_wrote():
    def model(v, x):
        return jnp.cumprod(jnp.tanh(jax.nn.relu(x)) * 2)  # here

    def scanned(v, x):
        return jax.lax.scan(lambda c, _: (jax.nn.relu(c), None), x, length=2)[0]  # here

    for fn in (model, model, scanned):  # traced again, calls come from JAX's cache
        line = fn.__code__.co_firstlineno + 1
        for node in trace(fn, None, X):
            assert f"{__file__}:{line} (" in node.line
            assert fn.__name__ in node.line


def test_a_primitive_is_bound_as_its_equation_was():
    eqn = equation(lambda x: jax.lax.sort((x, x), num_keys=1), X)
    first, second = compat.bind(eqn.primitive, [X, X * 2], eqn.params)
    assert first.shape == second.shape == X.shape
    eqn = equation(jnp.tanh, X)
    (result,) = compat.bind(eqn.primitive, [X], eqn.params)
    assert jnp.array_equal(result, jnp.tanh(X))


def test_a_primitive_that_is_not_exported_is_found_by_what_it_does():
    vector = jax.ShapeDtypeStruct((2,), "float32")
    assert compat.primitive_of(jnp.tanh, vector) is p.tanh_p
