"""Gradients that become relevance, against the model with stopped derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from tests.compiled import compiled
from tests.networks import functions as models
from tests.networks import gated_transformer as network
from tests.rules.replay import everywhere

W, X = network.weights(), models.normal(7, 2, 4, network.WIDTH)
TARGET = np.array([0, 2])


def half(x):
    """The same number, with half its derivative."""
    return 0.5 * x + jax.lax.stop_gradient(0.5 * x)


HALVED = functools.partial(
    network.gated_transformer, stop=jax.lax.stop_gradient, halve=half
)
VARIANTS = {
    "attn_lrp": (rules.attn_lrp_gradient, rules.attn_lrp, HALVED),
    "cp_lrp": (
        rules.relp,
        rules.cp_lrp,
        functools.partial(HALVED, stop_attention=jax.lax.stop_gradient),
    ),
}
# Hardly any stabilizers; and shifts keep their share, as they do in a gradient.
EXACT = rules.Composite(
    [
        (ji.of_role("add", "softmax", "linear"), rules.Norm(1e-14)),
        (ji.of_role("scale"), rules.Epsilon(1e-14)),
    ]
)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_gradient_is_that_of_the_model_with_stopped_derivatives(name):
    gradient_form, relevance_form, stopped = VARIANTS[name]
    model = network.gated_transformer

    @compiled
    def run(v, x):
        ruled = ji.with_rules(model, gradient_form())
        exact = EXACT + relevance_form(1e-14)
        lrp = ji.attribution.lrp(model, composite=exact)
        of_stopped = ji.attribution.gradient(stopped)(v, x, TARGET)
        return (
            ji.attribution.gradient(ruled)(v, x, TARGET),
            of_stopped,
            ji.attribution.gradient(model)(v, x, TARGET),
            lrp(v, x, TARGET),
        )

    found, of_stopped, plain, relevance = run(W, X)
    np.testing.assert_allclose(found, of_stopped, rtol=1e-9, atol=1e-12)
    assert np.abs(found - plain).max() > 0.1 * np.abs(plain).max()
    np.testing.assert_allclose(X * found, relevance, rtol=1e-8, atol=1e-11)


def test_each_factor_of_a_product_is_halved_however_it_is_written():
    """A chain of three has thirds; a square is one factor, a Gram matrix two."""

    def gradient(fn, *xs):
        ruled = ji.with_rules(
            lambda _, xs: fn(*xs), everywhere(rules.UniformGradient())
        )
        return jax.grad(lambda xs: ruled(None, xs).sum())(xs)

    a, b, c = (jnp.asarray(models.normal(i, 2, 3)) for i in range(3))
    thirds = b * c / 3, a * c / 3, a * b / 3
    found_of_each = gradient(lambda a, b, c: a * (b * c), a, b, c)
    for found, third in zip(found_of_each, thirds, strict=True):
        np.testing.assert_allclose(found, third, rtol=1e-12)
    (found,) = gradient(lambda a: a @ a.T, a)
    np.testing.assert_allclose(found, (jnp.ones((2, 2)) @ a), rtol=1e-12)


def test_the_secant_at_zero_is_the_derivative():
    x = jnp.array([0.0, -1.5, 2.0])
    secant = everywhere(rules.SecantGradient())
    ruled = ji.with_rules(lambda _, x: jax.nn.gelu(x), secant)
    found = jax.grad(lambda x: ruled(None, x).sum())(x)
    expected = [0.5, *(jax.nn.gelu(x)[1:] / x[1:])]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rules_of_the_wrong_site_say_so():
    for rule, needed in (
        (rules.FixedStatisticsGradient(), "a normalization or a quotient"),
        (rules.SecantGradient(), "one input in the shape"),
    ):
        ruled = ji.with_rules(lambda w, x: x @ w, everywhere(rule))
        with pytest.raises(rules.RuleSiteError, match=needed):
            jax.grad(lambda x, f=ruled: f(jnp.ones((3, 2)), x).sum())(jnp.ones((1, 3)))
