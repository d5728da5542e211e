"""What is divided by an activation, however the quotient is written."""

import jax.numpy as jnp
import pytest
from jax import lax

from tests.tracing.arrays import normal, roles

X = normal(2, 3, 5)


@pytest.mark.parametrize(
    ("over", "role"),
    [
        (lambda a, b: a / b, "quotient"),
        (lambda a, b: a * (1 / b), "quotient"),
        (lambda a, b: a * b**-1, "quotient"),
        (lambda a, b: lax.rsqrt(b) * a, "quotient"),
        (lambda a, b: a * jnp.minimum(1 / b, 1e3), "quotient"),
        (lambda a, b: a * b, "product"),
        (lambda a, b: a * (1 / (1 + jnp.exp(-b))), "product"),
    ],
)
def test_a_product_with_a_reciprocal_is_a_quotient(over, role):
    def model(w, x):
        return over(x @ w, x @ w.T)

    assert roles(model, normal(5, 5), X)[-1] == role


def test_a_quotient_is_no_part_of_a_longer_product():
    def model(w, x):
        a, b = x @ w, jnp.exp(x @ w.T)
        return a * (1 / b) * a

    assert roles(model, normal(5, 5), X)[-2:] == ["quotient", "product"]


def test_a_quotient_may_be_a_factor():
    def model(w, x):
        return x / (x @ w) * jnp.tanh(x)

    assert roles(model, normal(5, 5), X) == [
        "dense",
        "quotient",
        "activation",
        "product",
    ]
