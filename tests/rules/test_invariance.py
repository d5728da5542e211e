"""Relevance depends on what an affine map does, not on how it is spelled.

Fusing is what tracing yields: a convolution with batch norm is one affine map, whatever
comes in between, and a scale in two steps is one scale.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import lrp
from tests.compiled import compiled

from .replay import add_bias, distance, everywhere, relevance_through

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 5, 3))
KERNEL, BIAS = RNG.normal(size=(3, 2, 3, 4)), RNG.normal(size=4)
SCALE, SHIFT, MEAN = RNG.normal(size=(3, 4))
VAR = RNG.uniform(0.5, 1.5, 4)
RULES = (
    rules.Epsilon(),
    rules.Zero(),
    rules.Norm(),
    rules.Gamma(),
    rules.AlphaBeta(),
    rules.ZPlus(),
    rules.ZBox(-5.0, 5.0),
    rules.WSquare(),
    rules.Flat(),
)


def per_channel(v):
    return jnp.reshape(v, (1, 1, 1, -1))


def conv(x, kernel, groups=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (1, 2), "SAME", None, None, numbers, feature_group_count=groups
    )


FACTOR = SCALE / np.sqrt(VAR + 1e-5)


def folded(x):
    return add_bias(conv(x, KERNEL * FACTOR), (BIAS - MEAN) * FACTOR + SHIFT)


def normed(x):
    z = add_bias(conv(x, KERNEL), BIAS)
    factor = per_channel(lax.rsqrt(VAR + 1e-5) * SCALE)
    return (z - per_channel(MEAN)) * factor + per_channel(SHIFT)


def normed_otherwise(x):
    z = conv(x, KERNEL) + per_channel(BIAS)
    z = (z - per_channel(MEAN)) / jnp.sqrt(per_channel(VAR) + 1e-5)
    return per_channel(SCALE) * z - (-per_channel(SHIFT))


def in_two_scales(x):
    z = conv(x, KERNEL) * per_channel(FACTOR / 3)
    return add_bias(3.0 * z, (BIAS - MEAN) * FACTOR + SHIFT)


def shifted_in_two(x):
    z = conv(x, KERNEL * FACTOR) + per_channel(BIAS * FACTOR)
    return z - (per_channel(MEAN * FACTOR) - per_channel(SHIFT))


def scaled_before(x):
    return folded(0.5 * (x * 2.0))


def channels_first(x):
    x = jnp.transpose(x, (0, 3, 1, 2))
    kernel = np.transpose(KERNEL * FACTOR, (3, 2, 0, 1))
    z = lax.conv_general_dilated(x, kernel, (1, 2), "SAME")
    z = z + jnp.reshape((BIAS - MEAN) * FACTOR + SHIFT, (1, -1, 1, 1))
    return jnp.transpose(z, (0, 2, 3, 1))


@jax.jit
def under_jit(x):
    return jax.jit(normed)(x)


def under_checkpoint(x):
    return jax.checkpoint(normed)(x)


CONVOLUTIONS = (
    normed,
    normed_otherwise,
    in_two_scales,
    shifted_in_two,
    scaled_before,
    channels_first,
    under_jit,
    under_checkpoint,
)


def all_received(f, x, relevance):
    def run(x, relevance):
        send = functools.partial(relevance_through, lambda _, x: f(x))
        return [send(rule, None, x, relevance) for rule in RULES]

    return dict(zip(RULES, compiled(run)(x, relevance), strict=True))


def assert_same(f, reference, x, rules_left_out=()):
    np.testing.assert_allclose(f(x), reference(x), rtol=1e-12, atol=1e-12)
    relevance = np.random.default_rng(1).normal(size=np.shape(f(x)))
    ours, expected = (all_received(g, x, relevance) for g in (f, reference))
    found = {rule: distance(ours[rule], expected[rule]) for rule in RULES}
    wrong = {str(r): d for r, d in found.items() if not d <= 1e-9}
    assert {r: d for r, d in wrong.items() if r not in map(str, rules_left_out)} == {}


spelled = pytest.mark.slow(reason="joined as another spelling is")
OTHERS = (normed_otherwise, shifted_in_two, scaled_before, under_checkpoint)


@pytest.mark.parametrize(
    "f",
    [
        pytest.param(f, id=f.__name__, marks=[spelled] if f in OTHERS else [])
        for f in CONVOLUTIONS
    ],
)
def test_spellings_of_a_normalized_convolution(f):
    assert_same(f, folded, X)


def test_a_factor_before_the_map_belongs_to_its_kernel():
    factor = RNG.normal(size=3)

    def before(x):
        return conv(x * per_channel(factor), KERNEL)

    def inside(x):
        return conv(x, KERNEL * factor[:, None])

    assert_same(before, inside, X)


DENSE_X = RNG.normal(size=(2, 3, 6))
W, B = RNG.normal(size=(6, 4)), RNG.normal(size=4)


def as_matmul(x):
    return add_bias(x @ W, B)


def as_einsum(x):
    return add_bias(jnp.einsum("bti,io->bto", x, W), B)


def as_einsum_turned(x):
    return add_bias(jnp.einsum("oi,bti->bto", W.T, x), B)


def as_flat_dot(x):
    z = jnp.dot(x.reshape(-1, 6), W) + B[None]
    return z.reshape(2, 3, 4)


def as_convolution(x):
    z = lax.conv_general_dilated(
        x, W[None], (1,), "VALID", None, None, ("NHC", "HIO", "NHC")
    )
    return add_bias(z, B)


def as_heads(x):
    z = jnp.einsum("bti,ihd->bthd", x, W.reshape(6, 2, 2)) + B.reshape(1, 1, 2, 2)
    return z.reshape(2, 3, 4)


def as_dot_general(x):
    z = lax.dot_general(W, x, (((0,), (2,)), ((), ())))
    return jnp.moveaxis(z, 0, -1) + B[None, None]


def under_vmap(x):
    return jax.vmap(jax.vmap(lambda row: row @ W + B))(x)


@pytest.mark.parametrize(
    "f",
    [
        as_einsum_turned,
        as_convolution,
        as_heads,
        under_vmap,
        pytest.param(as_einsum, marks=spelled),
        pytest.param(as_flat_dot, marks=spelled),
        pytest.param(as_dot_general, marks=spelled),
    ],
    ids=lambda f: f.__name__,
)
def test_spellings_of_a_dense_layer(f):
    assert_same(f, as_matmul, DENSE_X)


def test_spellings_of_a_mean():
    def as_pool(x):
        z = lax.reduce_window(x, 0.0, lax.add, (1, 6, 5, 1), (1, 1, 1, 1), "VALID")
        return (z / 30.0).reshape(2, 3)

    for f in (lambda x: x.mean((1, 2)), lambda x: x.sum((1, 2)) * (1 / 30)):
        relevance = np.random.default_rng(1).normal(size=(2, 3))
        a, b = (
            relevance_through(lambda _, x, g=g: g(x), rules.Norm(), None, X, relevance)
            for g in (f, as_pool)
        )
        assert distance(a, b) <= 1e-12


def test_two_scales_are_one():
    factor = RNG.normal(size=6)

    def once(x):
        return x * factor[None, None] + 2.0

    def twice(x):
        return ((x * 4.0) * (factor / 4)[None, None] + 1.0) + 1.0

    assert_same(twice, once, DENSE_X)


def test_a_reused_layer_is_two_sites():
    def twice(v, x):
        return jax.nn.relu(jax.nn.relu(x @ v) @ v)

    def apart(v, x):
        return jax.nn.relu(jax.nn.relu(x @ v[0]) @ v[1])

    w = RNG.normal(size=(6, 6))
    relevance = RNG.normal(size=DENSE_X.shape)
    composite = rules.epsilon_plus() + everywhere(rules.Norm())
    a = relevance_through(twice, composite, w, DENSE_X, relevance)
    b = relevance_through(apart, composite, (w, w), DENSE_X, relevance)
    np.testing.assert_allclose(a, b, rtol=1e-12)


PRESETS = {
    "epsilon_plus": rules.epsilon_plus(),
    "excitation_backprop": rules.excitation_backprop(),
    "deep_taylor": rules.deep_taylor(-5.0, 5.0),
}
every_preset = pytest.mark.parametrize("composite", PRESETS.values(), ids=PRESETS)


def relevance(model, composite, x):
    return compiled(lrp(model, composite=composite))(None, x, np.array([0, 1]))


@every_preset
def test_messages_may_be_scattered_or_multiplied(composite):
    """A layer of a graph network: what a node sends is added up where it arrives."""
    source, goal = np.array([0, 1, 2, 2, 3, 0]), np.array([1, 0, 0, 3, 3, 2])
    sent = np.bincount(source, minlength=4).astype(float)  # how often each is read
    x = RNG.normal(size=(2, 4, 3))
    w, head = RNG.normal(size=(3, 5)), RNG.normal(size=(5, 2))

    def scattered(_, x):
        h = jax.nn.relu(x @ w)
        return jnp.zeros_like(h).at[:, goal].add(h[:, source]).sum(1) @ head

    def multiplied(_, x):
        return (jax.nn.relu(x @ w) * sent[None, :, None]).sum(1) @ head

    np.testing.assert_allclose(scattered(None, x), multiplied(None, x), rtol=1e-9)
    found = relevance(scattered, composite, x)
    expected = relevance(multiplied, composite, x)
    scale = np.abs(found).max()
    # All that is different is how the fixed sum is spelled.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


@every_preset
def test_a_residual_may_be_added_in_place(composite):
    w, head = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 2))
    x = RNG.normal(size=(2, 3))

    def in_place(_, x):
        return x.at[:, np.arange(3)].add(jax.nn.relu(x @ w)) @ head

    def plain(_, x):
        return (x + jax.nn.relu(x @ w)) @ head

    found, expected = (relevance(f, composite, x) for f in (in_place, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_convolution_may_be_written_with_patches():
    head = RNG.normal(size=(4, 2))
    numbers = ("NHWC", "HWIO", "NHWC")
    flat = jnp.transpose(KERNEL, (2, 0, 1, 3)).reshape(-1, 4)

    def with_patches(_, x):
        patches = lax.conv_general_dilated_patches(
            x, (3, 2), (1, 1), "VALID", dimension_numbers=numbers
        )
        return jax.nn.relu(patches @ flat).sum((1, 2)) @ head

    def plain(_, x):
        z = lax.conv_general_dilated(x, KERNEL, (1, 1), "VALID", None, None, numbers)
        return jax.nn.relu(z).sum((1, 2)) @ head

    graph = ji.trace(with_patches, None, X)
    assert [n.role for n in graph if n.kernel is not None] == ["convolution", "dense"]
    composite = rules.excitation_backprop()
    found, expected = (relevance(f, composite, X) for f in (with_patches, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert (np.abs(found[X < 0]) > 0).any()  # negative pixels have their share
