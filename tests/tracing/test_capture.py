"""`capture` returns activations as they are, and leaves the model as it is."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxinterp import at, capture, of_role, where
from jaxinterp.tracing import AddressError
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from tests.compiled import compiled
from tests.few import few
from tests.networks.architectures import SMALL, TABLE, Architecture
from tests.networks.blocks import FOUR_STEPS, Block, mlp, step, unrolled
from tests.tracing.arrays import normal, weights

X = normal(2, 4)
W = normal(4, 4) / 3


def test_values_are_those_computed_by_hand():
    module = Block()
    variables = weights(module, X)
    outputs, found = capture(module.apply, "*")(variables, X)
    layers = variables["params"]
    first = X @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"][None]
    second = (
        nn.relu(first) @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"][None]
    )
    expected = {
        "Block/Dense_0": first,
        "Block/relu": nn.relu(first),
        "Block/Dense_1": second,
        "Block/add": X + second,
        "Block": X + second,
    }
    assert list(found) == list(expected)
    for address, value in expected.items():
        np.testing.assert_allclose(found[address], value, rtol=1e-12)
    np.testing.assert_allclose(outputs, X + second, rtol=1e-12)


@pytest.mark.parametrize(
    "entry",
    few(
        TABLE,
        SMALL,
        reason="many layers of kinds that smaller networks have too",
    ),
    ids=str,
)
def test_every_architecture_has_unique_sites_of_the_shape_they_say(entry: Architecture):
    apply_fn, variables = entry.build()
    traced = trace_call(apply_fn, variables, entry.inputs())
    sites = traced.graph.sites
    wanted = Changes(captures=frozenset(site.value for site in sites.values()))

    def run():
        outputs, found = traced.run(wanted)
        return outputs, [found[site.value] for site in sites.values()]

    outputs, found = jax.eval_shape(run)
    assert kinds(outputs) == kinds(list(traced.graph.program.outputs))
    assert len(sites) > 3
    expected = [(site.shape, site.value.dtype) for site in sites.values()]
    assert kinds(found) == expected


def kinds(tree):
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", ["lenet", "lstm"])
def test_outputs_with_everything_captured_are_the_same_numbers(name: str):
    entry = next(entry for entry in TABLE if name in entry.name)
    apply_fn, variables = entry.build()
    expected = compiled(apply_fn)(variables, entry.inputs())
    outputs, found = compiled(capture(apply_fn, "*"))(variables, entry.inputs())
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    assert all(np.isfinite(v).all() for v in found.values() if v.dtype.kind == "f")


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ("relu", ["relu"]),
        ("relu*", ["relu", "relu_1"]),
        ("layers/*", ["layers/0", "layers/1"]),
        (of_role("dense") & ~at("head"), ["layers/0", "layers/1"]),
        (at("head") | "layers/1", ["layers/1", "head"]),
        (where(lambda site: site.shape[-1] == 3), ["head"]),
    ],
)
def test_selectors_choose_in_network_order(sites, expected):
    layer = {"w": W, "b": normal(1, 4)}
    variables = {"layers": [layer, layer], "head": normal(4, 3)}
    assert list(capture(mlp, sites)(variables, X)[1]) == expected


def test_structures_of_inputs_and_outputs_are_kept():
    def model(v, x):
        h = jnp.tanh(x["a"] @ v)
        return {"h": (h, x["b"][0] * h), "n": None}

    x = {"a": X, "b": [X + 1]}
    outputs, found = capture(model, "*")(W, x)
    chex.assert_trees_all_equal(outputs, model(W, x))
    assert list(found) == ["dense", "tanh", "mul"]


def test_static_arguments_and_traced_ones_pass_through():
    def model(v, x, scale, *, train, names=("a",), key=None):
        assert train is True
        assert names == ("a",)
        return jnp.tanh(x) * scale + jax.random.normal(key, x.shape)

    options = {"train": True, "key": jax.random.key(0)}
    outputs, found = capture(model, "tanh")(None, X, 2.0, **options)
    np.testing.assert_array_equal(outputs, model(None, X, 2.0, **options))
    assert list(found) == ["tanh"]


def test_closed_over_arrays_and_tracers_are_followed():
    def loss(scale):
        model = lambda v, x: jnp.tanh(x * scale + W[:1])  # noqa: E731
        return capture(model, "tanh")(None, X)[1]["tanh"].sum()

    slope = jax.grad(lambda scale: jnp.tanh(X * scale + W[:1]).sum())(2.0)
    np.testing.assert_allclose(jax.grad(loss)(2.0), slope, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(2.0), slope, rtol=1e-12)
    assert jax.vmap(loss)(jnp.arange(3.0)).shape == (3,)


def states():
    """What `tanh` gives in each of the four steps of the recurrence."""
    found, x = [], X
    for _ in range(4):
        found.append(jnp.tanh(x @ W))
        x = step(W, x)
    return np.stack(found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scan", lambda: states()),
        ("fori", lambda: states()[-1]),
        ("scan of checkpoints", lambda: states()),
        ("nested scans", lambda: states().reshape(2, 2, 2, 4)),
        ("while", lambda: states()[-1]),
        ("checkpoint", lambda: states()[0]),
    ],
)
def test_loops_stack_their_steps_and_a_while_shows_its_last(name, expected):
    outputs, found = capture(FOUR_STEPS[name], "tanh")(W, X)
    np.testing.assert_allclose(found["tanh"], expected(), rtol=1e-12)
    np.testing.assert_allclose(outputs, unrolled(W, X), rtol=1e-12)


def test_an_arm_that_is_not_taken_is_nan_and_a_loop_that_never_runs_too():
    def either(v, x):
        return lax.cond(x.sum() > v, jnp.tanh, lambda x: jnp.sin(x) * 2, x)

    _, found = capture(either, "*")(100.0, X)
    assert np.isnan(found["tanh"]).all()
    np.testing.assert_allclose(found["sin"], jnp.sin(X))
    _, found = capture(either, "*")(-100.0, X)
    np.testing.assert_allclose(found["tanh"], jnp.tanh(X))
    assert np.isnan(found["sin"]).all()

    def never(v, x):
        return lax.while_loop(
            lambda s: s[0] < 0, lambda s: (s[0], jnp.sin(s[1])), (0, x)
        )

    assert np.isnan(capture(never, "sin")(None, X)[1]["sin"]).all()


def test_what_is_not_needed_is_not_computed():
    def deep(v, x):
        x = jnp.tanh(x @ v)
        for _ in range(8):
            x = jnp.sin(x @ v)
        return x

    def flops(fn):
        return jax.jit(fn).lower(W, X).compile().cost_analysis()["flops"]

    early = flops(lambda v, x: capture(deep, "tanh")(v, x)[1])
    assert early == flops(lambda v, x: jnp.tanh(x @ v))
    assert early < flops(deep) / 4
    assert flops(capture(deep, "*")) == flops(deep)


@jax.custom_vjp
def rounded(x):
    """Rounding with the gradient of the identity."""
    return jnp.round(x)


rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))


@pytest.mark.parametrize("sites", ["tanh", "relu", "round", "*"])
def test_custom_derivatives_are_kept(sites):
    model = lambda v, x: jnp.tanh(jax.nn.relu(rounded(x))).sum()  # noqa: E731
    captured = lambda x: capture(model, sites)(None, x)[0]  # noqa: E731
    at_zero = jnp.array([0.0, 0.4, 1.2])
    expected = jax.grad(lambda x: model(None, x))(at_zero)
    assert expected[0] == 0  # where `maximum` would say 1/2
    assert expected[2] > 0  # where `round` would say 0
    np.testing.assert_array_equal(jax.grad(captured)(at_zero), expected)


def test_forward_derivatives_of_a_while_stay_possible():
    model = lambda x: capture(FOUR_STEPS["while"], "tanh")(W, x)[0]  # noqa: E731
    _, tangent = jax.jvp(model, (X,), (X,))
    np.testing.assert_allclose(
        tangent, jax.jvp(lambda x: unrolled(W, x), (X,), (X,))[1]
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes_are_kept(dtype):
    module = Block()
    variables = jax.tree.map(lambda leaf: leaf.astype(dtype), weights(module, X))
    outputs, found = capture(nn.Module.apply.__get__(module), "*")(
        variables, X.astype(dtype)
    )
    widest = jnp.promote_types(dtype, jnp.float32)
    assert outputs.dtype in (dtype, widest)
    assert {leaf.dtype for leaf in found.values()} == {outputs.dtype}


def test_an_empty_batch_gives_empty_activations():
    module = Block()
    variables = weights(module, X)
    _, found = capture(module.apply, "*")(variables, X[:0])
    assert {leaf.shape for leaf in found.values()} == {(0, 4)}


def test_effects_and_mutable_collections_stay(capfd):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=False)(x)
            self.sow("intermediates", "h", x)
            jax.debug.print("seen")
            return nn.relu(x)

    module = Model()
    apply_fn = lambda v, x: module.apply(v, x, mutable=True)  # noqa: E731
    variables = weights(module, X)
    (_, state), _ = capture(apply_fn, "Model/relu")(variables, X)
    jax.effects_barrier()
    assert capfd.readouterr().out == "seen\n"
    assert set(state) == {"batch_stats", "intermediates", "params"}


def test_the_name_and_docstring_are_kept():
    assert capture(mlp, "*").__name__ == "mlp"
    assert capture(mlp, "*").__doc__ == mlp.__doc__


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_an_error_that_says_what_to_write():
    with pytest.raises(TypeError, match=r"A site is an address, a selector .* and 3"):
        capture(mlp, 3)
    model = lambda v, x: jnp.tanh(jnp.asarray(x))  # noqa: E731
    with pytest.raises(TypeError, match=r"must be an array .*\n.* 1\.0.*jnp\.asarray"):
        capture(model, "tanh")(None, 1.0)
    with pytest.raises(TypeError, match="`inputs` holds no array"):
        capture(model, "tanh")(None, None)
    with pytest.raises(AddressError, match="No site matches 'sin'"):
        capture(model, "sin")(None, X)
