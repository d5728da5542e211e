"""A layer filled by its lines computes what torch says that the layer computes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.models.weights import fill, torch_layers

RNG = np.random.default_rng(0)


def outputs(layer, x, lines, tensors):
    """Returns what a layer computes once its lines have filled it, as a child `x_0`."""
    template = jax.eval_shape(layer.init, jax.random.key(0), x)
    template = {collection: {"x_0": shapes} for collection, shapes in template.items()}
    tensors = {f"0.{name}": tensor for name, tensor in tensors.items()}
    filled = fill(template, tensors, lines, source="torch")
    return layer.apply({c: variables["x_0"] for c, variables in filled.items()}, x)


@pytest.mark.parametrize("layout", ["oi->io", ""])
def test_a_linear_layer(layout):
    kernel, bias, x = RNG.normal(size=(2, 3)), RNG.normal(size=2), np.ones((4, 3))
    stored = kernel if layout else kernel.T
    ours = outputs(
        nn.Dense(2, param_dtype=jnp.float64),
        x,
        torch_layers.dense(r"(\d)", r"x_\1", layout=layout),
        {"weight": stored, "bias": bias},
    )
    np.testing.assert_allclose(ours, x @ kernel.T + bias[None])


def test_kernel_and_bias_of_a_linear_layer_may_be_changed():
    kernel, bias, x = RNG.normal(size=(2, 3)), RNG.normal(size=2), np.ones((4, 3))
    ours = outputs(
        nn.Dense(2, param_dtype=jnp.float64),
        x,
        torch_layers.dense(r"(\d)", r"x_\1", lambda k: k[::-1], lambda b: 2 * b),
        {"weight": kernel, "bias": bias},
    )
    np.testing.assert_allclose(ours, x @ kernel[:, ::-1].T + 2 * bias[None])


def test_a_convolution():
    kernel, bias = RNG.normal(size=(2, 3, 2, 4)), RNG.normal(size=2)
    window = RNG.normal(size=(1, 2, 4, 3))
    ours = outputs(
        nn.Conv(2, (2, 4), padding="VALID", param_dtype=jnp.float64),
        window,
        torch_layers.convolution(r"(\d)", r"x_\1", lambda k: 2 * k),
        {"weight": kernel, "bias": bias},
    )
    channels_first = window[0].transpose(2, 0, 1)
    expected = [
        2 * (k * channels_first).sum() + b for k, b in zip(kernel, bias, strict=True)
    ]
    np.testing.assert_allclose(ours[0, 0, 0], expected)


@pytest.mark.parametrize("names", [("weight", "bias"), ("gamma", "beta")])
def test_a_layer_norm_by_its_names_of_now_and_then(names):
    scale, bias, x = RNG.normal(size=(3, 1, 5))
    ours = outputs(
        nn.LayerNorm(epsilon=1e-5, param_dtype=jnp.float64),
        x,
        torch_layers.layer_norm(r"(\d)", r"x_\1"),
        dict(zip(names, (scale[0], bias[0]), strict=True)),
    )
    expected = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * scale + bias
    np.testing.assert_allclose(ours, expected)


def test_a_batch_norm():
    scale, bias, mean, x = RNG.normal(size=(4, 1, 5))
    var = RNG.uniform(0.5, 2, size=(1, 5))
    ours = outputs(
        nn.BatchNorm(use_running_average=True, epsilon=1e-5, param_dtype=jnp.float64),
        x,
        torch_layers.batch_norm(r"(\d)", r"x_\1"),
        {
            "weight": scale[0],
            "bias": bias[0],
            "running_mean": mean[0],
            "running_var": var[0],
            "num_batches_tracked": np.array(3),
        },
    )
    # Flax holds the statistics in float32, whatever the dtype of the parameters.
    expected = (x - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_channels_last_reorders_what_follows_a_flattening():
    features = RNG.normal(size=(5, 2, 3))  # channels, height, width
    kernel = RNG.normal(size=(30, 4))
    ours = np.moveaxis(features, 0, -1).ravel() @ torch_layers.channels_last(2, 3)(
        kernel
    )
    np.testing.assert_allclose(ours, features.ravel() @ kernel)


def test_channels_last_reorders_the_arrays_of_a_norm():
    features = RNG.normal(size=(5, 2, 3))
    reordered = torch_layers.channels_last(2, 3)(features.ravel())
    np.testing.assert_array_equal(reordered, np.moveaxis(features, 0, -1).ravel())


def test_channels_last_of_another_size_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(30, 4\), whose first axis is not"):
        torch_layers.channels_last(4, 4)(np.zeros((30, 4)))
    with pytest.raises(ValueError, match="is 0 x 4"):
        torch_layers.channels_last(0, 4)
