"""Max pooling goes back as XLA's own derivative does, whatever the window reaches."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import Composite, Gradient, Norm
from tests.few import few

CASES = [
    (size, window, stride, padding)
    for size, window, stride, padding in itertools.product(
        (5, 7), (2, 3), (2, 3), ("VALID", "SAME", ((1, 1), (0, 1)))
    )
]


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding"),
    few(CASES, 8, reason="more of such windows"),
)
def test_it_equals_the_derivative_of_xla(size, window, stride, padding):
    def pool(_, x):
        return nn.max_pool(x, (window, window), (stride, stride), padding)

    # Rectified, so that windows have ties.
    x = jnp.maximum(jax.random.normal(jax.random.key(0), (2, size, size, 3)), 0)
    ruled = ji.with_rules(pool, Composite([("*", Gradient())]))
    outputs, expected = jax.vjp(lambda x: pool(None, x), x)
    same, pull = jax.vjp(lambda x: ruled(None, x), x)
    np.testing.assert_array_equal(same, outputs)
    cotangent = jax.random.normal(jax.random.key(1), outputs.shape)
    np.testing.assert_allclose(pull(cotangent)[0], expected(cotangent)[0], atol=1e-12)


def test_one_dimension_and_half_precision():
    def pool(_, x):
        return nn.max_pool(x, (3,), (2,))

    x = jax.random.normal(jax.random.key(0), (2, 9, 3), jnp.bfloat16)
    ruled = ji.with_rules(pool, Composite([("*", Gradient())]))
    received = jax.grad(lambda x: ruled(None, x).sum())(x)
    expected = jax.grad(lambda x: pool(None, x).sum())(x)
    assert received.dtype == jnp.bfloat16
    np.testing.assert_array_equal(received, expected)


def test_a_derivative_that_the_user_wrote_around_a_pool_is_kept():
    """Backward, this maximum is a mean."""

    @jax.custom_vjp
    def pool(x):
        return nn.max_pool(x, (2, 2), (2, 2))

    def backward(_, g):
        return (jnp.repeat(jnp.repeat(g, 2, 1), 2, 2) / 4,)

    pool.defvjp(lambda x: (pool(x), None), backward)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 1)))

    def model(v, x):
        return (pool(x) ** 2).sum((1, 2))

    expected = jax.grad(lambda x: model(None, x).sum())(x)
    ruled = ji.with_rules(model, Composite([("*", Gradient())]))
    actual = jax.grad(lambda x: ruled(None, x).sum())(x)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert (np.abs(expected) > 0).all()
    # Asked for by name, the pool gets what was asked for.
    composite = Composite([("*max_pool*", Norm()), ("*", Gradient())])
    opened = ji.with_rules(model, composite)
    assert (jax.grad(lambda x: opened(None, x).sum())(x) == 0).any()
