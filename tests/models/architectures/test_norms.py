"""Norms have the constants of the libraries, and a variance that does not cancel."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.models.architectures.norms import KERAS, TORCH, batch_norm, layer_norm
from tests.networks.random_variables import random_variables

X = jnp.asarray(np.random.default_rng(0).normal(2.0, 0.1, size=(5, 3, 4)))


class BatchNormed(nn.Module):
    """A module of one batch norm."""

    settings: tuple

    @nn.compact
    def __call__(self, x, train=False):
        """Returns the normalized inputs."""
        return batch_norm(x, train, "bn", self.settings)


class LayerNormed(nn.Module):
    """A module of one layer norm."""

    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        """Returns the normalized inputs."""
        return layer_norm(x, 1e-5, "norm", self.use_bias)


@pytest.mark.parametrize(
    ("settings", "momentum", "epsilon"), [(TORCH, 0.9, 1e-5), (KERAS, 0.99, 1e-3)]
)
def test_batch_norm_is_the_textbooks(settings, momentum, epsilon):
    model = BatchNormed(settings)
    variables = random_variables(model, X, dtype=np.float64)
    scale, bias = (np.asarray(variables["params"]["bn"][n]) for n in ("scale", "bias"))
    mean, var = (np.asarray(variables["batch_stats"]["bn"][n]) for n in ("mean", "var"))
    x = np.asarray(X)
    expected = (x - mean) / np.sqrt(var + epsilon) * scale + bias
    np.testing.assert_allclose(model.apply(variables, X), expected, rtol=1e-9)
    trained, changed = model.apply(variables, X, train=True, mutable=["batch_stats"])
    own_mean, own_var = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
    expected = (x - own_mean) / np.sqrt(own_var + epsilon) * scale + bias
    np.testing.assert_allclose(trained, expected, rtol=1e-6)
    averages = changed["batch_stats"]["bn"]
    for found, old, own in (
        (averages["mean"], mean, own_mean),
        (averages["var"], var, own_var),
    ):
        expected = momentum * old + (1 - momentum) * own
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_batch_norm_does_not_train_on_nothing():
    model = BatchNormed(TORCH)
    variables = model.init(jax.random.key(0), X)
    assert model.apply(variables, X[:0]).shape == (0, 3, 4)
    with pytest.raises(ValueError, match=r"shape \(0, 3, 4\): there is no example"):
        model.apply(variables, X[:0], train=True, mutable=["batch_stats"])


def test_layer_norm_is_the_textbooks_where_the_mean_is_large():
    """In float32 the mean of squares would be 1e6, and the spread lost in it."""
    x = (1000 + 0.1 * np.arange(8)).astype(np.float32)[None]
    variables = random_variables(LayerNormed(), x)
    scale, bias = (variables["params"]["norm"][n] for n in ("scale", "bias"))
    centered = x.astype(float) - x.astype(float).mean()
    expected = centered / np.sqrt((centered**2).mean() + 1e-5) * scale[None]
    found = LayerNormed().apply(variables, jnp.asarray(x))
    np.testing.assert_allclose(found, expected + bias[None], rtol=1e-2, atol=1e-3)


def test_layer_norm_may_have_no_bias():
    shapes = jax.eval_shape(LayerNormed(use_bias=False).init, jax.random.key(0), X)
    assert set(shapes["params"]["norm"]) == {"scale"}
