"""Adapters give the model's own outputs, and addresses that a person recognises."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxinterp as ji

IMAGES = jax.random.normal(jax.random.key(0), (2, 6, 6, 3), jnp.float32)
TARGET = jnp.array([1, 0])


@pytest.fixture
def any_ranks():
    """Keras itself adds biases of lower rank."""
    with jax.numpy_rank_promotion("allow"):
        yield


class _Block(nnx.Module):
    def __init__(self, features: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(features, features, (3, 3), rngs=rngs)
        self.bn = nnx.BatchNorm(features, use_running_average=True, rngs=rngs)

    def __call__(self, x):
        return x + nnx.relu(self.bn(self.conv(x)))


class _Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.block = _Block(4, rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x, scale=1.0):
        x = self.block(self.block(nnx.relu(self.stem(x))))
        return scale * self.head(x.mean(axis=(1, 2)))


class _Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    heads: list

    def __init__(self, key):
        self.conv = eqx.nn.Conv2d(3, 4, 3, key=key)
        self.heads = [eqx.nn.Linear(4, 2, key=key)]

    def __call__(self, x):
        return self.heads[0](jax.nn.relu(self.conv(x)).mean((1, 2)))


def _kernels(apply_fn, variables, inputs):
    graph = ji.trace(apply_fn, variables, inputs)
    return [n.address for n in graph if n.kernel is not None]


def test_nnx_keeps_values_and_names_modules_by_path():
    module = _Net(nnx.Rngs(0))
    apply_fn, state = ji.models.from_nnx(module)
    np.testing.assert_allclose(apply_fn(state, IMAGES), module(IMAGES), rtol=1e-6)
    assert _kernels(apply_fn, state, IMAGES) == [
        "_Net/stem",
        "_Net/block/conv",
        "_Net/block@1/conv",
        "_Net/head",
    ]
    assert "_Net/block@1/bn" in ji.trace(apply_fn, state, IMAGES).sites


class _Lists(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(3, 3, rngs=rngs) for _ in range(3)])
        self.blocks = nnx.List([_Block(3, rngs) for _ in range(2)])

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        for block in self.blocks:
            x = jnp.tanh(block(x))
        return nnx.relu(self.layers[0](x)).mean((1, 2))


def test_an_address_in_a_list_of_nnx_is_the_same_whatever_lies_between():
    module = _Lists(nnx.Rngs(0))
    apply_fn, state = ji.models.from_nnx(module)
    assert _kernels(apply_fn, state, IMAGES) == [
        "_Lists/layers/0",
        "_Lists/layers/1",
        "_Lists/layers/2",
        "_Lists/blocks/0/conv",
        "_Lists/blocks/1/conv",
        "_Lists/layers/0@1",
    ]
    sites = ji.trace(apply_fn, state, IMAGES).sites
    assert {"_Lists/relu_1", "_Lists/blocks/1/relu"} <= set(sites)
    captured = ji.capture(apply_fn, "_Lists/layers/1")(state, IMAGES)[1]
    hidden = nnx.relu(module.layers[0](IMAGES))
    np.testing.assert_allclose(
        captured["_Lists/layers/1"], module.layers[1](hidden), rtol=1e-5, atol=1e-6
    )


def test_an_address_in_a_list_of_equinox_is_the_same_whatever_lies_between():
    apply_fn, arrays = ji.models.from_equinox(
        eqx.nn.MLP(3, 2, 4, 2, key=jax.random.key(0), dtype=jnp.float32)
    )
    inputs = IMAGES[:, 0, 0]
    assert [node.address for node in ji.trace(apply_fn, arrays, inputs)] == [
        "MLP/layers/0",
        "MLP/relu",
        "MLP/layers/1",
        "MLP/relu_1",
        "MLP/layers/2",
    ]


def test_nnx_does_not_touch_the_users_module_or_its_class():
    module = _Net(nnx.Rngs(0))
    call = nnx.Conv.__call__
    apply_fn, state = ji.models.from_nnx(module)
    apply_fn(state, IMAGES)
    assert type(module) is _Net
    assert type(module.stem) is nnx.Conv
    assert nnx.Conv.__call__ is call


def test_nnx_batch_norm_is_part_of_the_affine_map_before_it():
    apply_fn, state = ji.models.from_nnx(_Net(nnx.Rngs(0)))
    rows = ji.plan(apply_fn, ji.rules.epsilon_plus(), state, IMAGES).rows
    assert "_Net/block/conv + bn" in [row.site for row in rows]


def test_settings_are_arguments_of_every_call_and_can_be_overridden():
    module = _Net(nnx.Rngs(0))
    apply_fn, state = ji.models.from_nnx(module, scale=2.0)
    np.testing.assert_allclose(apply_fn(state, IMAGES), 2 * module(IMAGES), rtol=1e-6)
    np.testing.assert_allclose(
        apply_fn(state, IMAGES, scale=1.0), module(IMAGES), rtol=1e-6
    )


def test_nnx_differentiates_jits_and_vmaps_over_its_state():
    apply_fn, state = ji.models.from_nnx(_Net(nnx.Rngs(0)))
    attribute = ji.attribution.lrp(apply_fn)
    eager = attribute(state, IMAGES, TARGET)
    np.testing.assert_allclose(
        jax.jit(attribute)(state, IMAGES, TARGET), eager, rtol=1e-4, atol=1e-6
    )
    squares = jax.jit(jax.grad(lambda s: (attribute(s, IMAGES, TARGET) ** 2).sum()))
    grads = squares(state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_equinox_is_vmapped_and_named_by_field():
    module = _Equinox(jax.random.key(0))
    images = jnp.moveaxis(IMAGES, -1, 1).astype(module.conv.weight.dtype)
    apply_fn, arrays = ji.models.from_equinox(module)
    expected = jnp.stack([module(image) for image in images])
    np.testing.assert_allclose(apply_fn(arrays, images), expected, rtol=1e-5, atol=1e-6)
    assert _kernels(apply_fn, arrays, images) == ["_Equinox/conv", "_Equinox/heads/0"]
    assert type(module.conv) is eqx.nn.Conv2d


def test_equinox_takes_batches_itself_if_told_so():
    apply_fn, arrays = ji.models.from_equinox(jax.nn.relu, is_batched=True)
    np.testing.assert_array_equal(apply_fn(arrays, IMAGES), jax.nn.relu(IMAGES))


def test_linen_module_paths_are_addresses():
    module = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(2)])
    variables = module.init(jax.random.key(0), IMAGES)
    apply_fn, same = ji.models.from_linen(module, variables)
    assert same is variables
    assert _kernels(apply_fn, variables, IMAGES) == [
        "Sequential/layers_0",
        "Sequential/layers_2",
    ]


def test_linen_settings_reach_the_module():
    module = nn.Dropout(0.5)
    apply_fn, variables = ji.models.from_linen(module, {}, deterministic=True)
    np.testing.assert_array_equal(apply_fn(variables, IMAGES), IMAGES)


def test_function_needs_no_variables():
    apply_fn, variables = ji.models.from_function(lambda x: x**2)
    attribute = ji.attribution.gradient(apply_fn, score=ji.objectives.total)
    np.testing.assert_allclose(attribute(variables, IMAGES), 2 * IMAGES)


@pytest.mark.usefixtures("any_ranks")
def test_keras_layer_names_are_addresses():
    keras = pytest.importorskip("keras", reason="Keras is an optional dependency")
    model = keras.Sequential(
        [
            keras.layers.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3, name="stem"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.ReLU(name="act"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(2, name="head"),
        ]
    )
    apply_fn, variables = ji.models.from_keras(model)
    np.testing.assert_allclose(
        apply_fn(variables, IMAGES), model(IMAGES, training=False), rtol=1e-5
    )
    assert _kernels(apply_fn, variables, IMAGES) == ["stem", "head"]
    rows = ji.plan(apply_fn, ji.rules.epsilon_plus_flat(), variables, IMAGES).rows
    assert rows[0].site == "stem + bn"


def test_keras_model_without_weights_is_an_error():
    keras = pytest.importorskip("keras", reason="Keras is an optional dependency")
    with pytest.raises(ValueError, match="no weights yet"):
        ji.models.from_keras(keras.Sequential([keras.layers.Dense(2)]))
