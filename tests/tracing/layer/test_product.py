"""A product of two activations is the same in both orders, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import Composite, Uniform
from jaxinterp.tracing.layer.product import (
    product,
    product_of,
    product_transpose,
)

PRODUCTS = [
    *("bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", "bhqk,bhkd->bhqd", "bqhk,bkhd->bhdq"),
    *("bij,bjk->bik", "bij,bkj->bik", "bji,bjk->bik", "bi,bi->b", "bij,bij->b"),
    *("bijk,bkjl->bil", "bi,bj->bij", "ij,jk->ik"),
]
SIZES = {letter: size for size, letter in enumerate("bhijklqd", start=2)}


def factors(subscripts, dtype=jnp.float64):
    operands = subscripts.split("->")[0].split(",")
    keys = jax.random.split(jax.random.key(0), 2)
    return [
        jax.random.normal(key, [SIZES[letter] for letter in letters], dtype)
        for key, letters in zip(keys, operands, strict=True)
    ]


@pytest.mark.parametrize("subscripts", PRODUCTS)
def test_value_and_derivative_are_those_of_the_equation(subscripts):
    def product(_, inputs):
        return jnp.einsum(subscripts, *inputs)

    inputs = tuple(factors(subscripts))
    ruled = ji.with_rules(product, Composite([("*", Uniform(0.0))]))
    expected, pull = jax.vjp(lambda x: product(None, x), inputs)
    outputs, pull_ruled = jax.vjp(lambda x: ruled(None, x), inputs)
    np.testing.assert_allclose(outputs, expected, atol=1e-12)
    relevance = jax.random.normal(jax.random.key(1), expected.shape, jnp.float64)
    shares = pull(relevance / expected)[0]
    received = pull_ruled(relevance)[0]
    for x, share, ours in zip(inputs, shares, received, strict=True):
        np.testing.assert_allclose(ours, x * share / 2, rtol=1e-9, atol=1e-12)


def test_the_weights_of_attention_are_not_copied():
    """They come first where keys are summed over, and last where queries are."""
    weights, values = jnp.ones((1, 2, 16, 16)), jnp.ones((1, 16, 2, 3))
    graph = ji.trace(
        lambda _, xs: jnp.einsum("bhqk,bkhd->bqhd", *xs), None, (weights, values)
    )
    (node,) = [n for n in graph.nodes if n.role == "matmul"]
    equation = product_of(node)
    operands = [weights, values]
    if equation.inputs[0].shape != weights.shape:  # einsum has an order of its own
        operands.reverse()

    def sides(function, *arrays):
        """Where each product of the function has the weights, 0 or 1."""
        eqns = jax.make_jaxpr(function)(*arrays).eqns
        shapes = [
            [v.aval.shape for v in e.invars]
            for e in eqns
            if e.primitive.name == "dot_general"
        ]
        return [pair.index(weights.shape) for pair in shapes if weights.shape in pair]

    assert sides(functools.partial(product, equation), *operands) == [0]
    cotangent = jnp.ones(equation.outputs[0].shape)
    back = functools.partial(product_transpose, equation)
    assert sides(back, *operands, cotangent) == [1]


def test_half_precision_keeps_its_dtype():
    inputs = tuple(factors("bqhd,bkhd->bhqk", jnp.bfloat16))
    product = lambda _, xs: jnp.einsum("bqhd,bkhd->bhqk", *xs)  # noqa: E731
    ruled = ji.with_rules(product, Composite([("*", Uniform())]))
    outputs, pull = jax.vjp(lambda x: ruled(None, x), inputs)
    assert outputs.dtype == jnp.bfloat16
    assert {r.dtype for r in pull(outputs)[0]} == {jnp.dtype(jnp.bfloat16)}


def test_a_product_of_one_value_with_itself_is_left_to_jax():
    same = ji.trace(lambda _, x: jnp.einsum("ij,kj->ik", x, x), None, jnp.ones((2, 3)))
    assert [product_of(n) for n in same.nodes if n.role == "matmul"] == [None]
