"""Explanations have derivatives in the weights: a loss on them can be trained on.

A finite difference is the reference. What an explanation computes is differentiated as
it stands, rules included, so a rule must not hide its weights from JAX.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import (
    gradient,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    lrp,
    smooth,
)
from tests.compiled import compiled
from tests.few import few
from tests.networks import functions as models

X, TARGET = models.images(), models.targets()
WANTED = models.normal(30, *X.shape)


def unpooled(v, x):
    """A network without max pooling, whose explanation jumps where the winner does."""
    x = models.convolve(x, v["conv"]["w"]) + v["conv"]["b"]
    x = jnp.tanh(x * v["norm"]["scale"] + v["norm"]["shift"])
    x = jax.nn.relu(x + models.convolve(x, v["skip"]["w"]))
    return x.mean((1, 2)) @ v["head"]["w"] + v["head"]["b"]


def with_rule(rule):
    """Returns LRP with one rule in all convolutions and dense layers."""
    kernels = ji.of_role("convolution", "dense")
    composite = rules.Composite([(kernels, rule)]) + rules.epsilon_plus()
    return lrp(unpooled, composite=composite)


METHODS = {
    "gradient": gradient(unpooled),
    "input_x_gradient": input_x_gradient(unpooled),
    "guided_backprop": guided_backprop(unpooled),
    "integrated_gradients": integrated_gradients(unpooled, steps=3),
    "smooth gradient": functools.partial(
        smooth(gradient(unpooled), samples=2), key=jax.random.key(0)
    ),
    "epsilon": with_rule(rules.Epsilon(0.1)),
    "zero": with_rule(rules.Zero()),
    "zplus": with_rule(rules.ZPlus()),
    "alpha_beta": with_rule(rules.AlphaBeta()),
    "gamma": with_rule(rules.Gamma()),
    "flat": with_rule(rules.Flat()),
    "wsquare": with_rule(rules.WSquare()),
    "zbox": with_rule(rules.ZBox(-9.0, 9.0)),
    "norm": with_rule(rules.Norm(0.1)),
    "epsilon_plus_flat": lrp(unpooled),
    "at a site": lrp(unpooled, at="tanh"),
}


def richardson(f, step):
    """A central difference of fourth order."""
    fine = (f(step) - f(-step)) / (2 * step)
    coarse = (f(2 * step) - f(-2 * step)) / (4 * step)
    return (4 * fine - coarse) / 3


@pytest.mark.parametrize(
    "name",
    few(
        METHODS,
        {"gradient", "guided_backprop", "epsilon", "zplus", "zbox", "gamma"},
        reason="differentiates another rule of the same kind",
    ),
)
def test_a_loss_on_an_explanation_has_a_gradient_in_the_weights(name):
    weights = models.cnn_weights()

    def loss(weights):
        received = METHODS[name](weights, X, TARGET)
        wanted = models.normal(30, *received.shape)
        return jnp.sum(jnp.tanh(received - wanted) ** 2)

    slope, quick_loss = compiled(jax.grad(loss))(weights), compiled(loss)
    rng = np.random.default_rng(31)
    for _ in range(3):
        direction = jax.tree.map(lambda w: rng.normal(size=w.shape), weights)

        def along(step, direction=direction):
            moved = jax.tree.map(lambda w, d: w + step * d, weights, direction)
            return float(quick_loss(moved))

        actual = sum(
            jax.tree.leaves(
                jax.tree.map(lambda s, d: float(jnp.sum(s * d)), slope, direction)
            )
        )
        # A loss of about 100 is rounded to 1e-14, its difference to 1e-8.
        assert actual == pytest.approx(richardson(along, 1e-6), rel=1e-5, abs=1e-7)


def test_every_weight_that_counts_has_a_slope():
    weights = models.cnn_weights()

    def loss(weights):
        return jnp.sum(with_rule(rules.Gamma())(weights, X, TARGET) ** 2)

    slope = compiled(jax.grad(loss))(weights)
    for path, leaf in jax.tree.leaves_with_path(slope):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path
