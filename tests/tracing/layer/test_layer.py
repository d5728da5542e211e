"""Affine regions: folded kernel and bias say what the region computes, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxinterp import trace, with_rules
from jaxinterp.tracing.errors import BatchAxisError
from jaxinterp.tracing.layer.layer import Layer
from tests.few import few
from tests.tracing.arrays import normal, weights
from tests.tracing.measure import measure

IMAGE, SEQUENCE, VECTOR = normal(2, 8, 8, 4), normal(2, 7, 8), normal(2, 8)
W = normal(8, 8)
S, B = normal(1, 1, 8, seed=1), normal(1, 1, 8, seed=2)


class Normalized(nn.Module):
    """Batch norm, a convolution, batch norm."""

    convolution: functools.partial

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(x)
        x = self.convolution()(x)
        return nn.BatchNorm(use_running_average=True)(x)


CONVOLUTIONS = {
    "same": {},
    "strided": {"strides": 2},
    "strided once": {"strides": (2, 1), "kernel_size": (2, 3)},
    "groups": {"feature_group_count": 2},
    "depthwise": {"feature_group_count": 4},
    "dilated": {"kernel_dilation": 2, "padding": "VALID"},
    "circular": {"padding": "CIRCULAR"},
    "input dilated": {"input_dilation": 2, "padding": 1, "use_bias": False},
    "padded on one side": {"padding": ((1, 0), (0, 2)), "strides": 3},
}
TRANSPOSED = {
    "transposed": {"strides": (2, 2)},
    "transposed kernel": {"strides": (2, 2), "transpose_kernel": True},
}


def module(cls, options):
    options = {"features": 8, "kernel_size": (3, 3), **options}
    return Normalized(functools.partial(cls, **options)), IMAGE


MODULES = {
    **{name: module(nn.Conv, options) for name, options in CONVOLUTIONS.items()},
    **{name: module(nn.ConvTranspose, o) for name, o in TRANSPOSED.items()},
    "rank 1": (nn.Conv(6, (3,)), SEQUENCE),
    "rank 3": (nn.Conv(6, (2, 2, 2)), normal(2, 3, 3, 3, 3)),
    "no batch": (nn.Conv(6, (3, 3)), IMAGE[0]),
    "local": (nn.ConvLocal(6, (3,)), SEQUENCE),
    "dense general": (nn.DenseGeneral((2, 3)), SEQUENCE),
    "dense of two axes": (nn.DenseGeneral(6, axis=(-2, -1)), SEQUENCE),
    "dense with batch axes": (nn.DenseGeneral((3, 2), batch_dims=(0,)), SEQUENCE),
    "attention": (nn.MultiHeadDotProductAttention(num_heads=2), SEQUENCE),
}
FUNCTIONS = {
    "kernel on the left": (lambda w, x: w @ x.T, (3, 8), VECTOR),
    "and scaled": (
        lambda w, x: (w @ x.T).T * S[0, :, :3] + B[0, :, :3],
        (3, 8),
        VECTOR,
    ),
    "scaled before": (lambda w, x: (x * S + B) @ w, (8, 3), SEQUENCE),
    "scaled by numbers": (lambda w, x: -((x * 2 + 1) @ w) / 3 + 1, (8, 3), SEQUENCE),
    "shifted by position": (lambda w, x: (x + normal(1, 7, 8)) @ w, (8, 3), SEQUENCE),
    "scaled by position": (lambda w, x: (x @ w) * normal(1, 7, 1), (8, 3), SEQUENCE),
    "einsum": (lambda w, x: jnp.einsum("bij,kj->bki", x, w), (3, 8), SEQUENCE),
    "einsum with batch axes": (
        lambda w, x: (
            jnp.einsum("bij,ijk->bik", x * normal(1, 7, 8), w) * normal(1, 7, 3, seed=3)
        ),
        (7, 8, 3),
        SEQUENCE,
    ),
    "einsum with a left kernel": (
        lambda w, x: jnp.einsum("jk,bij->bik", w, x * S) * S[..., :3],
        (8, 3),
        SEQUENCE,
    ),
    "tensordot, axes swapped": (
        lambda w, x: (
            jnp.tensordot(x * normal(1, 7, 8), w, ([2, 1], [1, 0])) * S[0, :, :3]
        ),
        (7, 8, 3),
        SEQUENCE,
    ),
    "one kernel per head": (
        lambda w, x: jax.vmap(lambda w, s: (x @ w) * s, out_axes=1)(w, normal(5)),
        (5, 8, 3),
        VECTOR,
    ),
    "vmapped convolution": (
        lambda w, x: jax.vmap(
            lambda x: lax.conv(x[None], w, (1, 1), "SAME")[0] * 2 + 1
        )(x),
        (3, 4, 3, 3),
        normal(2, 4, 5, 5),
    ),
    "convolution with another image": (
        lambda w, x: lax.conv_general_dilated(w, x, (1, 1), "VALID"),
        (3, 4, 5, 5),
        normal(2, 4, 3, 3),
    ),
    "heads": (
        lambda w, x: (
            (x @ w).reshape(2, 7, 2, 3) * normal(1, 1, 2, 3) + normal(1, 1, 2, 3)
        ),
        (8, 6),
        SEQUENCE,
    ),
    "transposed after": (
        lambda w, x: (x @ w).transpose(0, 2, 1) * normal(1, 6, 1) + 1,
        (8, 6),
        SEQUENCE,
    ),
    "squeezed after": (lambda w, x: (x @ w)[:, 0] * 2 + 1, (8, 1), VECTOR),
    "one output": (lambda w, x: x @ w, (8,), VECTOR),
    "nothing contracted": (lambda w, x: jnp.einsum("bi,k->bik", x, w), (3,), VECTOR),
    "the same kernel twice": (lambda w, x: (x @ w) @ w, (8, 8), VECTOR),
    "scale": (lambda w, x: (x - w) / 2 * w + 1, (1, 8), VECTOR),
    "scale that reads twice": (lambda w, x: x * w - x, (1, 8), VECTOR),
    "closed-over kernel": (lambda w, x: x @ normal(8, 3) + w, (1, 3), VECTOR),
}


def case(name):
    if name in MODULES:
        module, x = MODULES[name]
        return module.apply, weights(module, x), x
    fn, shape, x = FUNCTIONS[name]
    return fn, normal(*shape, seed=5), x


def largest(*differences):
    return jnp.stack([jnp.abs(d).max() for d in differences])


def folding_errors(layer: Layer, relevance, received):
    kernel, ones = layer.kernel, jnp.ones_like(layer.kernel)
    everywhere = jnp.broadcast_to(layer.uniform(1.0), layer.x.shape)
    return largest(
        layer.linear(layer.x, kernel) + layer.bias - layer.z,
        layer.transpose(kernel, relevance) - received[0],
        layer.transpose_each([kernel, ones], relevance)[0] - received[0],
        layer.linear_ones() - layer.linear(everywhere, ones),
        layer.transpose_ones(relevance) - layer.transpose(ones, relevance),
    )


@pytest.mark.parametrize(
    "name",
    few(
        [*MODULES, *FUNCTIONS],
        [*MODULES, *FUNCTIONS][::2],
        reason="every second layer; the rules use all of them",
    ),
)
def test_kernel_and_bias_are_folded_exactly(name):
    found = measure(*case(name), folding_errors, 5)
    assert found
    for address, errors in found.items():
        assert errors.max() < 1e-12, (address, errors)


def test_a_padded_convolution_after_batch_norm_has_another_bias_at_the_border():
    (spread,) = measure(
        *case("same"), lambda layer, *_: jnp.std(layer.bias, (0, 1, 2)), 8
    ).values()
    assert (spread > 1e-3).all()


@pytest.mark.parametrize(
    ("fn", "is_nonnegative"),
    [
        (lambda w, x: jax.nn.relu(x) @ w, 1.0),
        (lambda w, x: jax.nn.softmax(x) @ w, 1.0),
        (lambda w, x: x @ w, 0.0),
    ],
)
def test_a_layer_knows_that_its_input_is_nonnegative(fn, is_nonnegative):
    found = measure(
        fn, normal(8, 3), VECTOR, lambda layer, *_: jnp.full(1, layer.nonnegative), 1
    )
    assert found == {"dense": np.array([is_nonnegative])}


def test_a_layer_knows_which_of_its_inputs_are_gates():
    graph = trace(lambda w, x: jax.nn.sigmoid(x @ w) * jnp.tanh(x), W, VECTOR)
    (product,) = (node for node in graph if node.role == "product")
    layer = Layer(product, (VECTOR, VECTOR), {}, VECTOR)
    assert layer.gates == (True, False)
    assert not layer.nonnegative


def test_a_map_without_a_shift_has_one_zero_as_its_bias():
    sizes = measure(
        lambda w, x: (x @ w) * 2,
        normal(8, 3),
        VECTOR,
        lambda layer, *_: jnp.array([layer.bias.size, jnp.sum(layer.bias**2)]),
        2,
    )
    np.testing.assert_array_equal(sizes["dense"], [1, 0])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_folding_is_done_in_float32_at_least(dtype):
    module = Normalized(functools.partial(nn.Conv, features=8, kernel_size=(3, 3)))
    variables = weights(module, IMAGE)
    low = jax.tree.map(lambda leaf: leaf.astype(dtype), variables)

    def kernel(layer, *_):
        assert layer.kernel.dtype == layer.x.dtype == layer.z.dtype == jnp.float32
        return layer.kernel.ravel().astype(jnp.float64)

    (exact,) = measure(
        module.apply, variables, IMAGE, lambda la, *_: la.kernel.ravel(), 288
    ).values()
    (found,) = measure(module.apply, low, IMAGE.astype(dtype), kernel, 288).values()
    tolerance = 20 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(found, exact, atol=tolerance * np.abs(exact).max())


# --- Where the examples lie -----------------------------------------------------------


class Axes:
    """A composite that notes the axis of the examples, and sends derivatives back."""

    def __init__(self):
        self.axes = []

    def resolve(self, graph):
        return {n: self.rule for n in graph if n.role == "dense"}

    def rule(self, layer, relevance):
        self.axes.append(layer.batch_axis(layer.node.outputs[0], "this test"))
        return layer.pull_back(relevance)


def test_the_axis_of_the_examples_is_told_outside_of_loops_alone():
    def turned(w, x):
        return jnp.swapaxes(x, 0, 1) @ w

    def looped(w, x):
        return lax.scan(lambda h, _: (h @ w, None), x, None, 2)[0]

    axes = Axes()
    jax.grad(lambda x: with_rules(turned, axes)(W, x).sum())(SEQUENCE)
    assert axes.axes == [1]
    with pytest.raises(BatchAxisError, match="this test"):
        jax.grad(lambda x: with_rules(looped, Axes())(W, x).sum())(VECTOR)
