"""The first convolution's kernels, found wherever the model keeps them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinterp.featurevis.responses.first_layer_filters import first_layer_filters
from jaxinterp.models.architectures.alexnet import AlexNet
from jaxinterp.models.architectures.googlenet import GoogLeNet


def scaled(kernel: Any) -> np.ndarray:
    """Of a kernel `(*window, channels, filters)` the pictures, one filter at a time."""
    kernel = np.asarray(kernel, np.float64)
    pictures = []
    for i in range(kernel.shape[-1]):
        w = kernel[..., i]
        pictures.append(0.5 + 0.5 * w / np.abs(w).max())
    return np.stack(pictures)


@pytest.mark.parametrize(("axes", "channels"), [(1, 7), (2, 1), (2, 3), (3, 2)])
def test_it_is_the_kernel_around_grey(axes: int, channels: int) -> None:
    net = nn.Sequential([nn.Conv(4, (3,) * axes), nn.relu, nn.Conv(2, (1,) * axes)])
    x = jnp.ones((1, *(5,) * axes, channels))
    variables = net.init(jax.random.key(0), x)
    found = first_layer_filters(net.apply, variables, x)
    assert found.shape == (4, *(3,) * axes, channels)
    kernel = variables["params"]["layers_0"]["kernel"]
    np.testing.assert_allclose(found, scaled(kernel), atol=1e-6)
    assert float(jnp.abs(found - 0.5).max()) == 0.5


@pytest.mark.slow(reason="traces two deep networks")
@pytest.mark.parametrize(
    ("net", "shape", "window"),
    [
        (AlexNet(widths=(8, 2, 2, 2, 2), dense_width=2), (1, 64, 64, 3), 11),
        (GoogLeNet(classes=2), (1, 64, 64, 3), 7),
    ],
)
def test_the_networks_of_the_zoo_have_one(
    net: nn.Module, shape: tuple[int, ...], window: int
) -> None:
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda s: np.ones(s.shape, np.float32), shapes)
    found = first_layer_filters(net.apply, variables, images)
    assert found.shape[1:] == (window, window, 3)
    assert np.all(np.asarray(found) == 1)


def convolved(w: Any, x: Any) -> Any:
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def test_the_kernel_is_the_one_that_the_model_uses() -> None:
    """Standardized and cast weights; a batch norm behind it does not turn the sign."""
    w = np.random.default_rng(0).normal(size=(3, 3, 2, 4))

    def model(variables: Any, x: Any) -> Any:
        kernel = variables["w"]
        kernel = kernel - kernel.mean(axis=(0, 1, 2), keepdims=True)
        z = convolved(kernel.astype(jnp.float32), 3 * x.astype(jnp.float32))
        return -variables["scale"] * z

    x = jnp.ones((1, 5, 5, 2))
    found = first_layer_filters(model, {"w": w, "scale": 2.0}, x)
    expected = w - w.mean(axis=(0, 1, 2), keepdims=True)
    np.testing.assert_allclose(found, scaled(expected), atol=1e-6)


def test_a_kernel_that_is_written_into_the_model() -> None:
    w = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    x = jnp.ones((1, 5, 5, 2))
    found = first_layer_filters(lambda _, x: convolved(w, x), None, x)
    np.testing.assert_allclose(found, scaled(w), atol=1e-12)


def test_a_filter_of_zeros_is_grey_and_half_precision_is_shown_in_single() -> None:
    w = jnp.zeros((1, 1, 2, 3), jnp.bfloat16).at[..., 1].set(-1)
    found = first_layer_filters(convolved, w, jnp.ones((1, 2, 2, 2), jnp.bfloat16))
    assert found.dtype == jnp.float32
    assert found[:, 0, 0, 0].tolist() == [0.5, 0.0, 0.5]


def test_channels_of_a_group_are_shown_where_there_are_groups() -> None:
    net = nn.Conv(4, (3, 3), feature_group_count=2)
    x = jnp.ones((1, 5, 5, 6))
    variables = net.init(jax.random.key(0), x)
    assert first_layer_filters(net.apply, variables, x).shape == (4, 3, 3, 3)


class Fork(nn.Module):
    """Two convolutions side by side, and one behind them."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        left, right = nn.Conv(2, (3, 3), name="left")(x), nn.Conv(2, (1, 1))(x)
        return nn.Conv(5, (2, 2), name="last")(left + right)


def test_of_several_one_is_named() -> None:
    net, x = Fork(), jnp.ones((1, 5, 5, 3))
    variables = net.init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="Several convolutions are first: ") as error:
        first_layer_filters(net.apply, variables, x)
    recommended = str(error.value).split("site='")[1].split("'")[0]
    assert first_layer_filters(net.apply, variables, x, site=recommended).shape[0] == 2
    found = first_layer_filters(net.apply, variables, x, site="left")
    kernel = variables["params"]["left"]["kernel"]
    np.testing.assert_allclose(found, scaled(kernel), atol=1e-6)
    last = first_layer_filters(net.apply, variables, x, site="last")
    assert last.shape == (5, 2, 2, 2)


def test_models_without_such_a_convolution() -> None:
    dense = nn.Dense(3)
    x = jnp.ones((1, 4))
    variables = dense.init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"convolutions are: none; .*, dense"):
        first_layer_filters(dense.apply, variables, x)

    def correlated(w: Any, x: Any) -> Any:
        return convolved(w * x[0, :3, :3, :, None], x)

    with pytest.raises(ValueError, match="No convolution is first"):
        first_layer_filters(correlated, 1.0, jnp.ones((1, 5, 5, 2)))

    def slides_over_weights(w: Any, x: Any) -> Any:
        return convolved(x[0, :3, :3, :, None], w)

    with pytest.raises(ValueError, match="No convolution is first"):
        first_layer_filters(
            slides_over_weights, jnp.ones((1, 5, 5, 2)), jnp.ones((1, 5, 5, 2))
        )
