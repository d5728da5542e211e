"""A contraction is transposed with as little work as its kind allows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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


# Shapes of activation and kernel, and whether both are matrices with axes merged.
PRODUCTS = {
    "btd,df->btf": ((2, 3, 4), (4, 5), True),
    "btd,dhk->bthk": ((2, 3, 4), (4, 2, 5), True),
    "bthk,hkd->btd": ((2, 3, 2, 5), (2, 5, 4), True),
    "bthk,dhk->btd": ((2, 3, 2, 5), (4, 2, 5), True),
    "bhtk,hkd->btd": ((2, 2, 3, 5), (2, 5, 4), True),
    "btkh,hkd->btd": ((2, 3, 5, 2), (2, 5, 4), True),
    "bvd,cd->bvc": ((2, 3, 4), (5, 4), True),
    "bcd,cdv->bv": ((2, 3, 4), (3, 4, 5), True),
    "bhtk,hkd->bhtd": ((2, 2, 3, 5), (2, 5, 4), False),  # a kernel for each head
    "btk,dkh->btdh": ((2, 3, 4), (5, 4, 2), False),  # contracted between others
    "bd,d->b": ((2, 4), (4,), False),
}


@pytest.mark.parametrize("is_kernel_first", [False, True])
@pytest.mark.parametrize("spec", PRODUCTS)
def test_products_are_transposed_as_products_of_matrices(spec, is_kernel_first):
    x_shape, kernel_shape, is_of_matrices = PRODUCTS[spec]
    x, kernel = normal(*x_shape), normal(*kernel_shape, seed=1)
    names, result = spec.split("->")
    names = ",".join(reversed(names.split(","))) if is_kernel_first else names

    def model(w, x):
        operands = (w, x) if is_kernel_first else (x, w)
        return jnp.einsum(f"{names}->{result}", *operands)

    equations = trace(model, kernel, x).program.equations
    (dot,) = [e for e in equations if e.primitive is lax.dot_general_p]
    side = [v.shape for v in dot.inputs].index(x.shape)
    core = Contraction(dot, side)
    z = normal(*core.shape, seed=2)
    _, pull = jax.vjp(lambda x: core(x, kernel), x)
    np.testing.assert_allclose(core.transpose(kernel, z), pull(z)[0], atol=1e-12)
    jaxpr = jax.make_jaxpr(core.transpose)(kernel, z)
    (product,) = [e for e in jaxpr.eqns if e.primitive is lax.dot_general_p]
    assert ({v.aval.ndim for v in product.invars} == {2}) == is_of_matrices
