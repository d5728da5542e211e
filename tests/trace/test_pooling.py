"""Max pooling goes back as XLA's own derivative does, whatever the window reaches."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import Composite, Gradient

CASES = [
    (size, window, stride, padding)
    for size, window, stride, padding in itertools.product(
        (5, 7), (2, 3), (2, 3), ("VALID", "SAME", ((1, 1), (0, 1)))
    )
]


@pytest.mark.parametrize(("size", "window", "stride", "padding"), CASES)
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
