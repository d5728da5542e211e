"""A scan whose convolutions are ordered is a scan."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp.loop.fast_scan import in_order, scan
from tests.compiled import compiled, optimized
from tests.few import few

RNG = np.random.default_rng(0)

# Shapes of inputs and weights, and the options of the convolution.
CONVOLUTIONS = {
    "channels last": ((2, 6, 5, 3), (3, 2, 3, 4), ("NHWC", "HWIO", "NHWC"), {}),
    "channels first": ((2, 3, 6, 5), (4, 3, 3, 2), ("NCHW", "OIHW", "NCHW"), {}),
    "mixed": ((6, 2, 3, 5), (3, 3, 4, 2), ("HNCW", "IHOW", "CWNH"), {}),
    "one axis": ((2, 3, 7), (3, 3, 4), ("NCH", "HIO", "NHC"), {}),
    "three axes": ((1, 3, 4, 3, 2), (2, 2, 2, 2, 3), ("NHWDC", "HWDIO", "NHWDC"), {}),
    "groups": (
        *((2, 6, 5, 4), (3, 3, 2, 6), ("NHWC", "HWIO", "NHWC")),
        {"feature_group_count": 2},
    ),
    "batch groups": (
        *((4, 3, 6, 5), (4, 3, 3, 2), ("NCHW", "OIHW", "NCHW")),
        {"batch_group_count": 2},
    ),
    "strided and dilated": (
        *((2, 3, 9, 8), (3, 2, 3, 4), ("NCHW", "HWIO", "NHWC")),
        {"window_strides": (2, 1), "rhs_dilation": (1, 2), "lhs_dilation": (1, 2)},
    ),
}


def arrays(name):
    shape, kernel, axes, options = CONVOLUTIONS[name]
    n = len(shape) - 2
    options = {"window_strides": (1,) * n, "padding": [(1, 1)] * n} | options

    def convolve(x, w):
        y = lax.conv_general_dilated(x, w, dimension_numbers=axes, **options)
        return jnp.tanh(y)

    return convolve, RNG.normal(size=(3, *shape)), RNG.normal(size=kernel)


def summed(carry_over, convolve):
    """The sum of squares over a loop, in which every entry matters differently."""

    def run(inputs, weights):
        def body(total, x):
            y = jax.jit(convolve)(x, weights)
            return total + (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum(), y

        return carry_over(body, jnp.zeros(()), inputs)

    return run


TRANSFORMS = {
    "forward": lambda f: lambda x, w: jax.jvp(f, (x, w), (x + 1, w - 1)),
    "mapped": lambda f: (
        lambda x, w: jax.vmap(f, in_axes=(None, 0))(x, jnp.stack([w, w + 1]))
    ),
    "mapped inputs": lambda f: (
        lambda x, w: jax.vmap(f, in_axes=(2, None))(jnp.stack([x, x + 1], axis=2), w)
    ),
    "reverse twice": lambda f: jax.grad(
        lambda x, w: (jax.grad(lambda x: f(x, w)[0])(x) ** 2).sum(), argnums=(0, 1)
    ),
    "mapped reverse": lambda f: (
        lambda x, w: jax.vmap(
            jax.grad(lambda x, w: f(x, w)[0], argnums=(0, 1)), in_axes=(None, 0)
        )(x, jnp.stack([w, w + 1]))
    ),
}


@pytest.mark.parametrize(
    ("name", "transform"),
    few(
        itertools.product(CONVOLUTIONS, TRANSFORMS),
        zip(list(CONVOLUTIONS) * 2, itertools.cycle(TRANSFORMS), strict=False),
        reason="each convolution and each transformation is in another pair",
    ),
)
def test_values_and_derivatives_are_those_of_lax(name, transform):
    convolve, inputs, weights = arrays(name)
    loops = [TRANSFORMS[transform](summed(loop, convolve)) for loop in (scan, lax.scan)]
    both = compiled(lambda x, w: [run(x, w) for run in loops])
    actual, expected = map(jax.tree.leaves, both(inputs, weights))
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["channels last", "channels first", "mixed"])
def test_derivatives_have_ordered_axes(name):
    convolve, inputs, weights = arrays(name)

    def labels(loop):
        run = summed(loop, convolve)
        gradient = optimized(jax.grad(lambda x, w: run(x, w)[0]))
        text = gradient.lower(inputs, weights).compile().as_text()
        return set(re.findall(r"dim_labels=([^,\s]+)", text))

    assert labels(scan) == {"b01f_01io->b01f"}
    assert labels(lax.scan) != {"b01f_01io->b01f"}


def test_what_has_no_convolution_is_called_as_it_is():
    def function(x):
        return {"sine": jnp.sin(x), "key": jax.random.fold_in(jax.random.key(0), 3)}

    program = jax.make_jaxpr(function)(1.0)
    assert str(jax.make_jaxpr(in_order(function))(1.0)) == str(program)


def test_everything_beside_convolutions_stays():
    """Keys, literals, unused results, custom derivatives, loops, pytrees."""
    convolve, inputs, weights = arrays("channels first")

    def function(tree):
        x = jax.nn.relu(convolve(tree["x"], weights))
        noise = jax.random.normal(jax.random.fold_in(tree["key"], 1), x.shape)
        order = lax.top_k(x, 2)[1]
        total = lax.fori_loop(0, 3, lambda i, t: t + i * noise, x * 2.0)
        return {"total": total, "order": order, "constant": 3, "same": tree["x"]}

    tree = {"x": jnp.asarray(inputs[0]), "key": jax.random.key(0)}
    expected, actual = function(tree), in_order(function)(tree)
    assert jax.tree.structure(expected) == jax.tree.structure(actual)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
