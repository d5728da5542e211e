"""Strided convolutions, and max pooling, go back as by JAX's own derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import trace
from jaxinterp.rules.composite import DERIVATIVE
from jaxinterp.tracing.with_rules import rule_changes, with_rules
from tests.compiled import compiled
from tests.tracing.arrays import normal

IMAGES, KERNEL = normal(2, 9, 8, 3), normal(4, 3, 3, 5, seed=1)


def strided(w, x, **options):
    options = {"window_strides": (2, 3), "padding": ((1, 2), (0, 1)), **options}
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, **options, dimension_numbers=numbers)


def channels_first(w, x):
    z = lax.conv_general_dilated(x.transpose(0, 3, 1, 2), w, (2, 2), "SAME")
    return z.transpose(0, 2, 3, 1)


FASTER = {
    "strided": (strided, KERNEL),
    "with bias and scale": (lambda w, x: 0.5 * strided(w, x + 1.0) + 2.0, KERNEL),
    "channels first": (channels_first, KERNEL.transpose(3, 2, 0, 1)),
    "in a scan": (
        lambda w, x: lax.scan(
            lambda h, _: (h + strided(w, x).sum(), None), 0.0, None, 3
        )[0],
        KERNEL,
    ),
    "max pooling": (
        lambda w, x: lax.reduce_window(
            x * w, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"
        ),
        normal(1, 1, 1, 3),
    ),
}
SAME = {
    "no stride": (lambda w, x: strided(w, x, window_strides=(1, 1)), KERNEL),
    "dilated": (lambda w, x: strided(w, x, rhs_dilation=(1, 2)), KERNEL),
    "groups": (
        lambda w, x: strided(w, x, feature_group_count=3),
        normal(4, 3, 1, 6, seed=1),
    ),
}
EVERY = FASTER | SAME


def replaced(fn, w):
    graph = trace(fn, w, IMAGES)
    return rule_changes(DERIVATIVE.resolve(graph)).replaced


@pytest.mark.parametrize("name", EVERY)
def test_derivatives_of_first_and_second_order_are_those_of_jax(name):
    fn, w = EVERY[name]
    assert bool(replaced(fn, w)) == (name in FASTER)

    def derivatives(fn):
        def loss(w, x):
            return jnp.sin(fn(w, x)).sum()

        def of_slopes(w, x):
            return jnp.sin(jax.grad(loss, argnums=1)(w, x)).sum()

        slopes = jax.grad(loss, argnums=(0, 1))
        return lambda w, x: (slopes(w, x), jax.grad(of_slopes, argnums=(0, 1))(w, x))

    ours, plain = (
        jax.tree.leaves(compiled(derivatives(f))(w, IMAGES))
        for f in (with_rules(fn, DERIVATIVE), fn)
    )
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_half_precision_vmap_and_forward_over_reverse_keep_working():
    ruled = with_rules(strided, DERIVATIVE)

    def slopes(fn, w, x):
        return jax.grad(lambda x: (fn(w, x) ** 2).sum())(x)

    half = [a.astype(jnp.bfloat16) for a in (KERNEL, IMAGES)]
    ours, plain = (slopes(fn, *half) for fn in (ruled, strided))
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        *(np.asarray(a, float) for a in (ours, plain)), rtol=0.02, atol=0.1
    )
    stacked = np.stack([IMAGES, 2 * IMAGES])
    ours, plain = (
        jax.vmap(lambda x, fn=fn: slopes(fn, KERNEL, x))(stacked)
        for fn in (ruled, strided)
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-11)
    ours, plain = (
        jax.jvp(lambda x, fn=fn: slopes(fn, KERNEL, x), (IMAGES,), (IMAGES,))[1]
        for fn in (ruled, strided)
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-11)
    closed = with_rules(lambda w, x: strided(jnp.asarray(KERNEL), x), DERIVATIVE)
    np.testing.assert_allclose(
        slopes(closed, None, IMAGES), slopes(strided, KERNEL, IMAGES), rtol=1e-9
    )
