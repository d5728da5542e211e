"""Penalties of activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv

from .views import scores

MAPS = np.random.default_rng(0).normal(size=(3, 4, 7, 5))


def test_an_activation_takes_the_place_of_the_picture():
    found = scores(fv.penalty_at("a", fv.l1(0.25)), {"a": MAPS})
    np.testing.assert_allclose(found, [np.abs(MAPS - 0.25).sum((1, 2, 3))])
    down, right = (np.abs(np.diff(MAPS, axis=axis)).sum((1, 2, 3)) for axis in (1, 2))
    found = scores(fv.penalty_at("a", fv.total_variation()), {"a": MAPS})
    np.testing.assert_allclose(found, [down + right])


def test_it_keeps_a_layer_smooth():
    def net(variables, x):
        return jnp.sin(jnp.tanh(4 * x - 2))

    def roughness(weight):
        objective = fv.neuron("sin", 0, position=(2, 2))
        objective = objective - weight * fv.penalty_at("tanh", fv.total_variation())
        image = fv.maximize(
            net,
            objective,
            None,
            key=jax.random.key(0),
            steps=50,
            progress=False,
            parametrization=fv.pixels((5, 5, 1), scale=1.0),
            warmup=None,
        ).images[0, ..., 0]
        a = jnp.tanh(4 * image - 2)
        return sum(float(jnp.abs(jnp.diff(a, axis=axis)).sum()) for axis in (0, 1))

    assert roughness(1.0) < 0.3 * roughness(0.0)


def test_it_remembers_and_compares_as_its_penalty():
    assert fv.penalty_at("a", fv.diversity("b")).compares
    assert fv.penalty_at("a", fv.l2(0.0) + fv.channel("b", 0)).sites == ("a", "b")
    with pytest.raises(TypeError, match=r"penalty_at\(\) takes a site and an"):
        fv.penalty_at("a", "b")
