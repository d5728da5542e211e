"""Conductance and internal influence: of units with a closed form, and completeness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import (
    conductance,
    integrated_gradients,
    internal_influence,
)
from jaxinterp.tracing.errors import AddressError
from tests.compiled import compiled
from tests.networks import functions as models

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()


def curved(w, x):
    """A product of two units, which move on different curves."""
    with jax.named_scope("hidden"):
        h = jnp.tanh(x @ w)
    return h[:, :1] ** 2 * h[:, 1:]


def test_conductance_is_the_integral_along_the_curve():
    w, x = np.array([[0.5, -1.0], [0.3, 0.8]]), np.array([[1.0, 2.0], [-1.0, 0.5]])
    attribute = compiled(conductance(curved, at="hidden/tanh", steps=400))
    received = attribute(w, x, 0)
    t = np.linspace(0, 1, 200001)[:, None]
    for i in range(2):
        h = np.tanh(t * (x[i] @ w)[None])
        slopes = np.stack([2 * h[:, 0] * h[:, 1], h[:, 0] ** 2], axis=1)
        middle = (slopes[1:] + slopes[:-1]) / 2
        expected = (middle * np.diff(h, axis=0)).sum(0)
        np.testing.assert_allclose(received[i], expected, rtol=1e-4)
        np.testing.assert_allclose(expected.sum(), curved(w, x[i : i + 1])[0, 0])


def test_influence_is_the_mean_gradient():
    w, x = np.array([[0.5, -1.0], [0.3, 0.8]]), np.array([[1.0, 2.0]])
    attribute = compiled(internal_influence(curved, at="hidden/tanh", baseline=0.1))
    received = attribute(w, x, 0)
    t = (np.arange(100000)[:, None] + 0.5) / 100000
    h = np.tanh((0.1 + t * (x - 0.1)) @ w)
    expected = np.stack([2 * h[:, 0] * h[:, 1], h[:, 0] ** 2], axis=1).mean(0)
    np.testing.assert_allclose(received[0], expected, rtol=1e-8)


def test_every_layer_of_a_chain_shares_the_same_difference():
    attribute = compiled(conductance(models.smooth_mlp, at="tanh*", steps=300))
    received = attribute(LAYERS, X, TARGET)
    expected = integrated_gradients(models.smooth_mlp)(LAYERS, X, TARGET).sum(1)
    assert len(received) == 2
    for shares in received.values():
        np.testing.assert_allclose(shares.sum(1), expected, rtol=1e-4, atol=1e-5)


def test_chunks_change_nothing_and_one_site_is_an_array():
    whole = conductance(models.mlp, at="relu", steps=8)(LAYERS, X, TARGET)
    parts = conductance(models.mlp, at="relu", steps=8, batch_size=3)(LAYERS, X, TARGET)
    assert whole.shape == (3, 8)
    np.testing.assert_allclose(parts, whole, rtol=1e-10, atol=1e-14)


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="steps"):
        conductance(models.mlp, at="relu", steps=0)
    with pytest.raises(AddressError, match="No site matches"):
        internal_influence(models.mlp, at="conv")(LAYERS, X, TARGET)
    with pytest.raises(ValueError, match="baseline"):
        conductance(models.mlp, at="relu", baseline=np.zeros(4))(LAYERS, X, TARGET)
