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


# --- Training mode --------------------------------------------------------------------

ROWS = jax.random.normal(jax.random.key(1), (4, 3), jnp.float32)


class _Noisy(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x, train=None):
        is_off = None if train is None else not train
        x = self.norm(self.hidden(x), use_running_average=is_off)
        return self.head(self.drop(nnx.relu(x), deterministic=is_off))


def _leaves(module):
    return [
        np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(nnx.state(module))
    ]


def _is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize("method", ["call", "trace", "gradient", "lrp"])
def test_nnx_in_training_mode_is_refused_and_not_changed(method):
    module = _Noisy(nnx.Rngs(0))
    before = _leaves(module)
    apply_fn, state = ji.models.from_nnx(module)
    calls = {
        "call": lambda: apply_fn(state, ROWS),
        "trace": lambda: ji.trace(apply_fn, state, ROWS),
        "gradient": lambda: ji.attribution.gradient(apply_fn)(state, ROWS, 0),
        "lrp": lambda: ji.attribution.lrp(apply_fn)(state, ROWS, 0),
    }
    with pytest.raises(ValueError, match=r"(?s)training mode.*`model\.eval\(\)`"):
        calls[method]()
    for old, new in zip(before, _leaves(module), strict=True):
        np.testing.assert_array_equal(old, new)


def test_nnx_in_evaluation_mode_gives_the_same_twice():
    module = _Noisy(nnx.Rngs(0))
    in_training, state = ji.models.from_nnx(module, train=False)
    expected = in_training(state, ROWS)
    module.eval()
    apply_fn, state = ji.models.from_nnx(module)
    np.testing.assert_array_equal(apply_fn(state, ROWS), expected)
    attribute = ji.attribution.gradient(apply_fn)
    target = jnp.zeros(4, int)
    np.testing.assert_array_equal(apply_fn(state, ROWS), module(ROWS))
    np.testing.assert_array_equal(
        attribute(state, ROWS, target), attribute(state, ROWS, target)
    )


def test_nnx_dropout_alone_is_refused():
    apply_fn, state = ji.models.from_nnx(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"changes `rngs/count`"):
        apply_fn(state, ROWS)
    np.testing.assert_array_equal(apply_fn(state, ROWS, deterministic=True), ROWS)


class _Sampler(nnx.Module):
    """A model that samples in earnest, beside dropout that is off."""

    def __init__(self, rngs: nnx.Rngs):
        self.rngs = rngs
        self.drop = nnx.Dropout(0.5, deterministic=True, rngs=rngs)

    def __call__(self, x):
        noise = jax.random.normal(self.rngs.params(), x.shape, x.dtype)
        return self.drop(x) + noise


def test_nnx_that_samples_draws_the_same_in_every_call():
    module = _Sampler(nnx.Rngs(0))
    before = _leaves(module)
    apply_fn, state = ji.models.from_nnx(module)
    first = apply_fn(state, ROWS)
    np.testing.assert_array_equal(first, apply_fn(state, ROWS))
    assert (first != ROWS).any()
    for old, new in zip(before, _leaves(module), strict=True):
        np.testing.assert_array_equal(old, new)


def test_nnx_state_is_that_of_the_module_when_it_was_adapted():
    module = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    apply_fn, state = ji.models.from_nnx(module)
    before = apply_fn(state, ROWS)
    module.bias[...] = module.bias[...] + 1
    np.testing.assert_array_equal(apply_fn(state, ROWS), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mutable": ["batch_stats"]}, "updates `batch_stats`"),
        ({"mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(0)}}, "key"),
    ],
)
def test_linen_in_training_mode_is_refused(settings, message):
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x, train=True):
            if "rngs" in settings:
                x = nn.Dropout(0.5, deterministic=not train)(x)
            return nn.BatchNorm(use_running_average=not train)(x)

    module = Noisy()
    variables = module.init(jax.random.key(0), ROWS, train=False)
    apply_fn, _ = ji.models.from_linen(module, variables, **settings)
    with pytest.raises(ValueError, match=rf"(?s)training mode.*{message}.*train=False"):
        apply_fn(variables, ROWS)
    outputs, _ = apply_fn(variables, ROWS, train=False)
    np.testing.assert_array_equal(outputs, apply_fn(variables, ROWS, train=False)[0])


def test_linen_keeps_what_a_module_sows():
    class Sows(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow("intermediates", "x", x)
            return 2 * x

    apply_fn, variables = ji.models.from_linen(Sows(), {}, mutable=["intermediates"])
    outputs, state = apply_fn(variables, ROWS)
    np.testing.assert_array_equal(outputs, 2 * ROWS)
    assert list(state) == ["intermediates"]


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_equinox_in_training_mode_is_refused(p):
    module = eqx.nn.Sequential(
        [eqx.nn.Linear(3, 3, key=jax.random.key(0)), eqx.nn.Dropout(p)]
    )
    key = jax.random.key(1)
    apply_fn, arrays = ji.models.from_equinox(module, key=key)
    off = eqx.nn.inference_mode(module)
    quiet, same = ji.models.from_equinox(off, key=key)
    x = ROWS.astype(arrays.layers[0].weight.dtype)
    if p == 0:
        np.testing.assert_array_equal(apply_fn(arrays, x), quiet(same, x))
        return
    with pytest.raises(ValueError, match=r"(?s)`layers/1` .*inference_mode\(model\)"):
        apply_fn(arrays, x)
    np.testing.assert_array_equal(quiet(same, x), quiet(same, x))
    np.testing.assert_allclose(quiet(same, x)[0], off(x[0]), rtol=1e-6)


def test_equinox_takes_inference_as_an_argument():
    apply_fn, arrays = ji.models.from_equinox(eqx.nn.Dropout(0.5), inference=True)
    np.testing.assert_array_equal(apply_fn(arrays, ROWS), ROWS)


def test_keras_in_training_mode_is_refused_and_not_changed():
    keras = pytest.importorskip("keras", reason="Keras is an optional dependency")
    model = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.BatchNormalization()]
    )
    apply_fn, variables = ji.models.from_keras(model, training=True)
    before = [np.asarray(v) for v in model.non_trainable_variables]
    with pytest.raises(ValueError, match=r"(?s)training=True.*from_keras\(model\)"):
        apply_fn(variables, ROWS)
    outputs = apply_fn(variables, ROWS, training=False)
    np.testing.assert_array_equal(outputs, apply_fn(variables, ROWS, training=False))
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


# --- Haiku ----------------------------------------------------------------------------


def test_haiku_module_names_are_addresses():
    hk = pytest.importorskip("haiku", reason="Haiku is an optional dependency")
    model = hk.transform(lambda x: hk.nets.MLP([5, 2])(x))
    params = model.init(jax.random.key(0), ROWS)
    expected = model.apply(params, None, ROWS)
    for spelling in (model, hk.without_apply_rng(model)):
        apply_fn, variables = ji.models.from_haiku(spelling, params)
        np.testing.assert_allclose(apply_fn(variables, ROWS), expected, rtol=1e-6)
        assert _kernels(apply_fn, variables, ROWS) == ["mlp/linear_0", "mlp/linear_1"]
    with pytest.raises(ValueError, match=r"`from_haiku\(model, params\)`"):
        ji.models.from_haiku(model, params, {})


def test_haiku_with_a_state_is_refused_in_training_mode():
    hk = pytest.importorskip("haiku", reason="Haiku is an optional dependency")

    def network(x, is_training):
        norm = hk.BatchNorm(True, True, 0.9)
        return norm(hk.Linear(2)(x), is_training)

    model = hk.transform_with_state(network)
    params, state = model.init(jax.random.key(0), ROWS, is_training=True)
    with pytest.raises(ValueError, match=r"`from_haiku\(model, params, state\)`"):
        ji.models.from_haiku(model, params)
    apply_fn, variables = ji.models.from_haiku(model, params, state, is_training=False)
    expected, _ = model.apply(params, state, None, ROWS, is_training=False)
    np.testing.assert_allclose(apply_fn(variables, ROWS), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"(?s)changes its state.*is_training=False"):
        apply_fn(variables, ROWS, is_training=True)
