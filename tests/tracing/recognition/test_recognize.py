"""Activations, affine regions, pools, sums and products, in all their spellings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

from jaxinterp import trace
from tests.tracing.arrays import computing, names, normal, roles, weights

X = normal(2, 5)
IMAGE = normal(2, 8, 8, 4)
SEQUENCE = normal(2, 7, 8)
W = normal(5, 3)
TOKENS = jnp.array([[0, 3, 1], [2, 2, 4]])

FROM_JAX_NN = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish"),
    *("mish", "softplus", "hard_swish", "hard_tanh", "hard_sigmoid", "sigmoid"),
    *("soft_sign", "squareplus", "log_sigmoid", "sparse_plus", "sparse_sigmoid"),
)
ACTIVATIONS = {
    **{name: getattr(jax.nn, name) for name in FROM_JAX_NN},
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum from the left": lambda x: jnp.maximum(0, x),
    "where x > 0": lambda x: jnp.where(x > 0, x, 0),
    "where x < 0": lambda x: jnp.where(x < 0, 0, x),
    "leaky where": lambda x: jnp.where(x < 0, 0.1 * x, x),
    "mask times x": lambda x: x * (x > 0),
    "exact gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu by erf": lambda x: 0.5 * x * (1 + lax.erf(x / np.sqrt(2.0))),
    "gelu by tanh": lambda x: x * (0.5 + 0.5 * jnp.tanh(x + 0.04 * x**3)),
    "gelu by sigmoid": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "silu by hand": lambda x: x / (1 + jnp.exp(-x)),
    "tanh": jnp.tanh,
    "tanh by exp": lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
    "softplus by hand": lambda x: jnp.log1p(jnp.exp(x)),
    "softplus by logaddexp": lambda x: jnp.logaddexp(x, 0.0),
    "softsign by hand": lambda x: x / (1 + jnp.abs(x)),
    "clip": lambda x: jnp.clip(x, 0, 1),
    "minimum of maximum": lambda x: jnp.minimum(jnp.maximum(x, -1), 1),
    "clamp": lambda x: lax.clamp(0.0, x, 1.0),
    "snake": lambda x: x + jnp.sin(x) ** 2,
    "odd": lambda x: -jnp.tanh(-x),
    "sigmoid by hand": lambda x: 1 / (1 + jnp.exp(-x)),
    "sine": jnp.sin,
    "in bfloat16": lambda x: jax.nn.gelu(x.astype(jnp.bfloat16)),
    "in jit": lambda x: jax.jit(lambda x: jnp.maximum(x, 0))(x),
}


OTHER_FUNCTIONS = {
    "abs": jnp.abs,
    "abs by maximum": lambda x: jnp.maximum(x, -x),
    "square": jnp.square,
    "x * x": lambda x: x * x,
    "x ** 3": lambda x: x**3,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "log": jnp.log,
    "root": jnp.sqrt,
    "reciprocal": lambda x: 1 / x,
    "straight-through": lambda x: x + lax.stop_gradient(jnp.round(x) - x),
}


@pytest.mark.parametrize("fn", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_an_activation_is_one_node(fn):
    assert roles(lambda v, x: fn(x), None, X) == ["activation"]


@pytest.mark.parametrize("fn", OTHER_FUNCTIONS.values(), ids=OTHER_FUNCTIONS.keys())
def test_not_every_function_of_one_entry_is_an_activation(fn):
    assert roles(lambda v, x: fn(x), None, X) == ["pointwise"]


@pytest.mark.parametrize(
    "fn",
    [
        lambda slope, x: jnp.where(x >= 0, x, slope * x),
        lambda slope, x: jnp.maximum(x, 0) + slope * jnp.minimum(x, 0),
        lambda slope, x: nn.PReLU().apply({"params": {"negative_slope": slope}}, x),
    ],
)
def test_prelu_is_one_activation(fn):
    assert roles(fn, jnp.asarray(0.1), X) == ["activation"]


def test_an_activation_may_be_steep():
    steep = lambda v, x: jnp.where(x > 0, 200 * x, 0)  # noqa: E731
    assert roles(steep, None, X) == ["activation"]


def test_a_step_with_a_derivative_of_its_own_is_one_node():
    @jax.custom_jvp
    def step(x):
        return (x > 0).astype(x.dtype)

    step.defjvp(lambda p, t: (step(*p), t[0]))
    assert roles(lambda v, x: step(x), None, X) == ["pointwise"]


def test_a_factor_of_zero_behind_an_activation_turns_no_sign():
    found = roles(lambda v, x: jnp.tanh(x) * jnp.arange(5.0)[None], None, X)
    assert found == ["activation", "scale"]
    assert roles(lambda v, x: jnp.tanh(x) * -2, None, X) == ["activation"]


def test_two_activations_in_one_jit_stay_two():
    both = jax.jit(lambda v, x: jnp.tanh(jax.nn.relu(x)))
    assert names(both, None, X) == ["relu", "tanh"]


def test_an_activation_with_its_weights_outside_of_a_call_stays_apart():
    model = jax.jit(lambda w, x: jax.nn.relu(w * x))
    assert roles(model, jnp.ones((1, 5)), X) == ["scale", "activation"]


def test_integers_are_no_activations():
    assert roles(lambda v, x: jnp.where(x < 0, x + 5, x) * x, None, TOKENS) == []


CONVOLUTIONS = {
    "rank 1": (nn.Conv(6, (3,)), SEQUENCE),
    "rank 2": (nn.Conv(6, (3, 3)), IMAGE),
    "rank 3": (nn.Conv(6, (2, 2, 2)), normal(2, 4, 4, 4, 3)),
    "strided": (nn.Conv(6, (3, 3), strides=2), IMAGE),
    "dilated": (nn.Conv(6, (3, 3), kernel_dilation=2), IMAGE),
    "input-dilated": (nn.Conv(6, (3, 3), input_dilation=2, padding=1), IMAGE),
    "grouped": (nn.Conv(8, (3, 3), feature_group_count=2), IMAGE),
    "depthwise": (nn.Conv(4, (3, 3), feature_group_count=4), IMAGE),
    "circular": (nn.Conv(6, (3, 3), padding="CIRCULAR"), IMAGE),
    "causal": (nn.Conv(6, (3,), padding="CAUSAL"), SEQUENCE),
    "no batch": (nn.Conv(6, (3, 3)), IMAGE[0]),
    "bfloat16": (nn.Conv(6, (3, 3), dtype=jnp.bfloat16), IMAGE),
    "transposed": (nn.ConvTranspose(6, (3, 3), strides=(2, 2)), IMAGE),
    "transposed kernel": (nn.ConvTranspose(6, (3,), transpose_kernel=True), SEQUENCE),
}
DENSE = {
    "Dense": (nn.Dense(6), SEQUENCE),
    "Dense in bfloat16": (nn.Dense(6, dtype=jnp.bfloat16), SEQUENCE),
    "DenseGeneral to two axes": (nn.DenseGeneral((2, 3)), SEQUENCE),
    "DenseGeneral of two axes": (nn.DenseGeneral(6, axis=(-2, -1)), SEQUENCE),
    "DenseGeneral with batch axes": (nn.DenseGeneral(6, batch_dims=(0,)), SEQUENCE),
    "Einsum": (nn.Einsum((8, 6), "bij,jk->bik"), SEQUENCE),
}


@pytest.mark.parametrize(
    ("module", "x", "role"),
    [
        *((*entry, "convolution") for entry in CONVOLUTIONS.values()),
        *((*entry, "dense") for entry in DENSE.values()),
    ],
    ids=[*CONVOLUTIONS, *DENSE],
)
def test_a_module_with_bias_is_one_affine_node(module, x, role):
    (node,) = computing(module.apply, weights(module, x), x)
    assert (str(node.role), node.kernel is not None) == (role, True)
    assert node.after  # the bias


CONTRACTIONS = {
    "x @ w": (lambda w, x: x @ w, (8, 3)),
    "w.T": (lambda w, x: x @ w.T, (3, 8)),
    "kernel on the left": (lambda w, x: jnp.einsum("jk,bij->bik", w, x), (8, 3)),
    "kernel first": (
        lambda w, x: lax.dot_general(w, x, (((0,), (2,)), ((), ()))),
        (8, 3),
    ),
    "reordered": (lambda w, x: jnp.einsum("bij,kj->bki", x, w), (3, 8)),
    "batch axes": (lambda w, x: jnp.einsum("bij,ijk->bik", x, w), (7, 8, 3)),
    "two axes": (lambda w, x: jnp.tensordot(x, w, ([1, 2], [0, 1])), (7, 8, 3)),
    "no kernel axis left": (lambda w, x: x @ w, (8,)),
    "per example": (lambda w, x: jax.vmap(lambda x: x @ w)(x), (8, 3)),
    "per kernel": (lambda w, x: jax.vmap(lambda w: x @ w)(w), (4, 8, 3)),
    "lax.conv": (
        lambda w, x: lax.conv_general_dilated(
            x, w, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
        ),
        (3, 8, 5),
    ),
    "lax.conv_transpose": (
        lambda w, x: lax.conv_transpose(
            x, w, (2,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
        ),
        (3, 8, 5),
    ),
}


@pytest.mark.parametrize(
    ("fn", "shape"), CONTRACTIONS.values(), ids=CONTRACTIONS.keys()
)
def test_a_contraction_with_a_weight_is_affine(fn, shape):
    (role,) = roles(fn, normal(*shape), SEQUENCE)
    assert role in ("dense", "convolution")


class _Normalized(nn.Module):
    """Batch norm, convolution, batch norm."""

    padding: str = "SAME"

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(x)
        x = nn.Conv(6, (3, 3), padding=self.padding)(x)
        return nn.BatchNorm(use_running_average=True)(x) * 2 - 1


def test_batch_norm_before_and_after_a_padded_convolution_is_one_region():
    module = _Normalized()
    (node,) = computing(module.apply, weights(module, IMAGE), IMAGE)
    assert str(node.role) == "convolution"
    assert node.before
    assert node.after
    assert set(node.modules) >= {"_Normalized/BatchNorm_0", "_Normalized/BatchNorm_1"}


def test_batch_norm_before_a_wrapped_padding_is_a_site_of_its_own():
    module = _Normalized("CIRCULAR")
    assert roles(module.apply, weights(module, IMAGE), IMAGE) == [
        "scale",
        "convolution",
    ]


def test_an_affine_region_begins_behind_the_cast_of_integers():
    pixels = jnp.arange(12, dtype=jnp.uint8).reshape(3, 4)
    (node,) = computing(lambda w, x: (x.astype(w.dtype) / 255) @ w, W[:4], pixels)
    assert node.before  # the division
    assert node.inputs[0].dtype == W.dtype


def test_nnx_batch_norm_folds_too():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(4, 6, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(6, use_running_average=True, rngs=rngs)

        def __call__(self, x):
            return nnx.relu(self.norm(self.conv(x)))

    graph, state = nnx.split(Model(nnx.Rngs(0)))
    x = IMAGE.astype(jnp.float32)
    found = roles(lambda v, x: nnx.merge(graph, v)(x), state, x)
    assert found == ["convolution", "activation"]


REST = {
    "scale and shift": (lambda w, x: (x - w) / 2 * w + 1, ["scale"]),
    "x + x": (lambda w, x: x + x, ["scale"]),
    "negation": (lambda w, x: -x, ["scale"]),
    "x + tanh(x * w)": (lambda w, x: x + jnp.tanh(x * w), ["activation"]),
    "max_pool": (lambda w, x: nn.max_pool(x, (2, 2), (2, 2)), ["max_pool"]),
    "avg_pool": (lambda w, x: nn.avg_pool(x, (2, 2), (2, 2)), ["linear"]),
    "avg_pool of what is there": (
        lambda w, x: nn.avg_pool(
            x, (3, 3), (2, 2), padding="SAME", count_include_pad=False
        ),
        ["linear"],
    ),
    "mean": (lambda w, x: x.mean((1, 2)), ["linear"]),
    "sum": (lambda w, x: x.sum(1), ["linear"]),
    "cumulative sum": (lambda w, x: jnp.cumsum(x, 1), ["linear"]),
    "mean and batch norm": (lambda w, x: x.mean(1) * w[0] + w[0], ["linear", "scale"]),
    "centering": (lambda w, x: x - x.mean(-1, keepdims=True), ["linear"]),
    "global max": (lambda w, x: x.max((1, 2)), ["selection"]),
    "sort": (lambda w, x: jnp.sort(x, 1), ["selection"]),
    "top_k": (lambda w, x: lax.top_k(x, 2)[0], ["selection"]),
    "self-product": (lambda w, x: jnp.einsum("bhwc,bHWc->bhwHW", x, x), ["matmul"]),
    "reshape": (lambda w, x: x.reshape(2, -1).T, []),
    "pad and crop": (lambda w, x: jnp.pad(x, 1)[:, 1:-2, ::2, None], []),
    "resize": (lambda w, x: jax.image.resize(x, (2, 4, 4, 4), "nearest"), []),
    "patches": (
        lambda w, x: lax.conv_general_dilated_patches(x, (2, 2), (1, 1), "VALID"),
        [],
    ),
    "clip of weights": (
        lambda w, x: lax.clamp(x[0, 0, 0, 0], w, 9.0),
        ["selection"],
    ),
    "added to some entries": (lambda w, x: x.at[:, 0].add(w[0]), ["scale"]),
    "added to constants": (
        lambda w, x: jnp.ones((2, 9, 8, 4)).at[:, 1:].add(x),
        ["linear"],
    ),
    "added to one another": (lambda w, x: x.at[:, 1:].add(x[:, 1:]), ["add"]),
    "stop_gradient": (lambda w, x: lax.stop_gradient(x), []),
    "unknown": (lambda w, x: x.prod(1), ["unknown"]),
}


@pytest.mark.parametrize(("fn", "expected"), REST.values(), ids=REST.keys())
def test_what_has_no_kernel_gets_its_role(fn, expected):
    assert roles(fn, normal(1, 1, 1, 4), IMAGE) == expected


def test_a_complex_factor_is_linear():
    assert roles(lambda w, x: x * w, jnp.full((1, 5), 2j), X + 1j) == ["linear"]


def test_rotary_embedding_is_linear():
    def rotary(angle, x):
        turned = jnp.concatenate([-x[..., 4:], x[..., :4]], axis=-1)
        return x * jnp.cos(angle) + turned * jnp.sin(angle)

    assert roles(rotary, normal(1, 7, 8), SEQUENCE) == ["linear"]


@pytest.mark.parametrize(
    ("fn", "role"),
    [
        (lambda x: x["a"] + x["b"], "add"),
        (lambda x: x["a"] - x["b"], "add"),
        (lambda x: x["a"] * x["b"], "product"),
        (lambda x: x["a"] / x["b"], "quotient"),
        (lambda x: x["a"] @ x["b"].T, "matmul"),
        (lambda x: jnp.maximum(x["a"], x["b"]), "selection"),
        (lambda x: jnp.where(x["c"] > 0, x["a"], x["b"]), "selection"),
        (lambda x: jnp.take_along_axis(x["a"], jnp.argsort(x["b"]), 1), "selection"),
    ],
)
def test_two_activations_meet(fn, role):
    x = {"a": X, "b": X + 3, "c": X - 1}
    assert roles(lambda v, x: fn(x), None, x)[-1] == role


def test_a_gate_is_a_product():
    def glu(w, x):
        value, gate = jnp.split(x @ w, 2, axis=-1)
        return value * jax.nn.sigmoid(gate)

    def squeeze_excite(w, x):
        gate = jax.nn.sigmoid(x.mean(1) @ w["w"])
        return x * gate[:, None]

    assert roles(glu, normal(8, 6), SEQUENCE) == ["dense", "activation", "product"]
    assert roles(squeeze_excite, {"w": normal(8, 8)}, SEQUENCE) == [
        *("linear", "dense", "activation", "product")
    ]


@pytest.mark.parametrize(
    ("fn", "role"),
    [
        (lambda table, t: table[t], "embedding"),
        (lambda table, t: jnp.take(table, t, axis=0), "embedding"),
        (
            lambda table, t: nn.Embed(5, 3).apply({"params": {"embedding": table}}, t),
            "embedding",
        ),
        (lambda table, t: jax.nn.one_hot(t, 5, dtype=table.dtype) @ table, "dense"),
    ],
)
def test_a_table_of_tokens_is_an_embedding(fn, role):
    assert roles(fn, normal(5, 3), TOKENS) == [role]


def test_a_function_of_two_activations_is_no_activation():
    def model(v, x):
        return lax.atan2(x @ v, x) + jnp.abs(x) ** (x @ v)

    graph = trace(model, normal(5, 5), X)
    unknown = [node.address for node in graph if node.role == "unknown"]
    assert unknown == ["atan2", "power"]


def test_an_error_function_alone_is_no_gelu():
    assert names(lambda v, x: lax.erf(x), None, X) == ["erf"]


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (1, 1, 8, 1), (2, 1, 1, 1)])
def test_a_scale_that_differs_between_positions_is_no_part_of_a_kernel(shape):
    def model(w, x):
        return nn.Conv(3, (3, 3)).apply({"params": w["conv"]}, x * w["scale"])

    w = {
        "conv": {"kernel": normal(3, 3, 4, 3), "bias": normal(3)},
        "scale": normal(*shape),
    }
    assert roles(model, w, IMAGE) == ["scale", "convolution"]
    w["scale"] = normal(1, 1, 1, 4)
    assert roles(model, w, IMAGE) == ["convolution"]
