"""The terms of a Taylor expansion: by hand, exact for quadratics, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import taylor

RNG = np.random.default_rng(8)
A, B = RNG.normal(size=(4, 4)), RNG.normal(size=4)
X, ROOT = RNG.normal(size=(3, 4)), RNG.normal(size=(4,))


def quadratic(w, x):
    return (jnp.einsum("bi,ij,bj->b", x, w, x) + x @ B)[:, None]


def test_second_order_is_exact_for_a_quadratic_and_first_order_its_slope():
    first, second = (
        jax.jit(taylor(quadratic, root=ROOT[None], order=order))(A, X, 0)
        for order in (1, 2)
    )
    for x, ours, ours_2 in zip(X, first, second, strict=True):
        d, hessian = x - ROOT, A + A.T
        slope = hessian @ ROOT + B
        np.testing.assert_allclose(ours, slope * d, rtol=1e-12)
        np.testing.assert_allclose(ours_2, slope * d + d * (hessian @ d) / 2)
    difference = (quadratic(A, X) - quadratic(A, ROOT[None]))[:, 0]
    np.testing.assert_allclose(second.sum(axis=1), difference)


def test_at_a_hidden_site_and_with_a_root_for_each_input():
    def model(w, x):
        return jnp.sin(jnp.tanh(x)) @ w

    w = RNG.normal(size=(4, 2))
    h = np.tanh(X)
    ours = taylor(model, at="tanh", root=lambda h, key: 0.5 * h, order=2)(w, X, 1)
    expected = w[:, 1] * (np.cos(h / 2) * h / 2 - np.sin(h / 2) * h**2 / 8)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_an_order_or_a_root_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="`order` is 1 or 2, and is 3"):
        taylor(quadratic, order=3)
    with pytest.raises(ValueError, match="broadcast"):
        taylor(quadratic, root=np.zeros(3))(A, X, 0)
