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

from jaxinterp.trace import compat, trace

from .arrays import normal

X = normal(2, 3)

# Run in a process of its own: JAX reads these flags once.
MODEL = """
import sys
import jax, jax.numpy as jnp, numpy as np
import jaxinterp as ji
missing = [name for name in sys.argv[1:] if not hasattr(jax.config, "jax_" + name)]
if missing:
    print("missing", *missing)
    sys.exit()

@jax.custom_vjp
def rounded(x): return jnp.round(x)
rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))

W = np.linspace(-1, 1, 16).reshape(4, 4).astype("float32")
CLOSED_OVER = jnp.asarray(W[::-1])

def model(w, x):
    h = jax.nn.relu(x @ w)
    h = jax.checkpoint(lambda h: jnp.tanh(h @ w) + h)(h)
    h = jax.lax.scan(lambda h, _: (jax.nn.silu(h) @ w, None), h, None, length=2)[0]
    return jax.nn.relu6(rounded(3 * h)) @ CLOSED_OVER

x = jnp.linspace(-1, 2, 8).reshape(2, 4)
w = jnp.asarray(W)
outputs, found = ji.capture(model, "*")(w, x)
np.testing.assert_allclose(outputs, model(w, x), rtol=1e-6)
edited = ji.intervene(model, {"relu": lambda a: a * 0})(w, x)
np.testing.assert_allclose(edited, model(w, x * 0), rtol=1e-6)
plain = jax.grad(lambda x: model(w, x).sum())
same = jax.grad(lambda x: ji.capture(model, "*")(w, x)[0].sum())
np.testing.assert_allclose(same(x), plain(x), rtol=1e-5, atol=1e-6)
relevance = ji.attribution.lrp(model, composite=ji.rules.epsilon_plus())
print(",".join(found), np.asarray(relevance(w, x, jnp.array([0, 1]))).tolist())
"""
ADDRESSES = (
    "dense,relu,dense_1,tanh,add,scan,silu,dense_2,dense_3_before,round,relu6,dense_4"
)
FLAGS = {
    "none": {},
    "simplified constants": {"use_simplified_jaxpr_constants": "1"},
    "high-level vjp and remat": {"custom_vjp3": "1", "remat3": "1"},
    "high-level calls": {"custom_jvp3": "1", "custom_vjp3": "1", "remat3": "1"},
}


def answer(flags):
    environment = {f"JAX_{name.upper()}": value for name, value in flags.items()}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", MODEL, *flags],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.fixture(scope="module")
def without_flags():
    return answer({})


@pytest.mark.parametrize("name", [name for name in FLAGS if FLAGS[name]])
def test_flags_change_neither_addresses_nor_relevance(name, without_flags):
    found = answer(FLAGS[name])
    if found.startswith("missing"):
        pytest.skip(f"this JAX has no such flag: {found}")
    assert found == without_flags
    assert found.startswith("dense,relu,dense_1,tanh,add,scan,silu,dense_2,")


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
        return jax.nn.softmax(jnp.tanh(x))  # here

    line = model.__code__.co_firstlineno + 1
    for node in trace(model, None, X):
        assert f"{__file__}:{line} (" in node.line
        assert "model" in node.line


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
