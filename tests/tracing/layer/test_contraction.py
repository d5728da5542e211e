"""A contraction is transposed with as little work as its kind allows."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinterp import trace
from jaxinterp.tracing.layer.contraction import Contraction
from tests.tracing.arrays import normal

KERNEL = normal(3, 2, 2, 2)  # from 2 channels to 3
IMAGES = normal(3, 2, 5, 5)


def contraction(stride: int) -> Contraction:
    def model(kernel, x):
        return lax.conv(x, kernel, (stride, stride), "VALID")

    (equation,) = trace(model, KERNEL, IMAGES).program.equations
    return Contraction(equation, 0)


def convolutions(fn, *args):
    """The shapes of the operands of all convolutions of a function."""
    equations = jax.make_jaxpr(fn)(*args).jaxpr.eqns
    return [
        tuple(v.aval.shape for v in equation.invars)
        for equation in equations
        if equation.primitive.name == "conv_general_dilated"
    ]


def test_maps_of_several_kernels_are_transposed_in_one_convolution():
    core = contraction(1)
    z = normal(*core.shape, seed=1)
    kernels = [KERNEL, jnp.abs(KERNEL), -KERNEL]
    backs = core.transpose_each(kernels, z)
    for kernel, back in zip(kernels, backs, strict=True):
        np.testing.assert_allclose(back, core.transpose(kernel, z), atol=1e-12)
    assert len(convolutions(lambda z: core.transpose_each(kernels, z), z)) == 1


def test_a_constant_input_is_one_example():
    core = contraction(1)
    ones = core.uniform(1.0, jnp.float64)
    assert ones.shape == (1, *IMAGES.shape[1:])
    np.testing.assert_allclose(
        core(ones, KERNEL)[0], core(jnp.ones_like(IMAGES), KERNEL)[1], atol=1e-12
    )


def test_a_kernel_of_ones_is_transposed_for_one_channel():
    core = contraction(1)
    z = normal(*core.shape, seed=1)
    ((_, kernel),) = convolutions(core.transpose_count, z)
    assert np.prod(kernel) == 2 * 2


def test_a_stride_over_few_channels_is_transposed_without_a_stride():
    core = contraction(2)
    z = normal(*core.shape, seed=1)
    ((_, kernel),) = convolutions(lambda z: core.transpose(KERNEL, z), z)
    assert sorted(kernel) == [1, 1, 3, 2 * 2 * 2]  # blocks of pixels are channels
    _, pull = jax.vjp(lambda x: core(x, KERNEL), IMAGES)
    np.testing.assert_allclose(core.transpose(KERNEL, z), pull(z)[0], atol=1e-12)
