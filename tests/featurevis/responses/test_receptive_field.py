"""Receptive fields: formulas of the literature, and what gradients see."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinterp.featurevis.responses.effective_receptive_field import (
    effective_receptive_field,
)
from jaxinterp.featurevis.responses.receptive_field import (
    ReceptiveField,
    receptive_field,
)
from jaxinterp.models.architectures.alexnet import AlexNet
from jaxinterp.models.architectures.googlenet import GoogLeNet
from jaxinterp.models.architectures.resnet import ResNet
from jaxinterp.models.architectures.vgg import VGG
from jaxinterp.tracing.errors import AddressError
from tests.compiled import compiled


def field_of(module: nn.Module, site: str, side: int = 224) -> ReceptiveField:
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), images)
    return receptive_field(module.apply, site, variables, images)


def by_recurrence(layers: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Size, stride and start after layers of (window, stride, padding), forwards."""
    size, jump, start = 1, 1, 0
    for window, stride, padding in layers:
        size += (window - 1) * jump
        start -= padding * jump
        jump *= stride
    return size, jump, start


CONV, POOL = (3, 1, 1), (2, 2, 0)
ALEXNET = [(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1)]


@pytest.mark.parametrize(
    ("module", "site", "size", "layers"),
    [
        # 195 and 212 are the sizes that Araujo et al., 2019, give for these networks.
        (AlexNet(), "conv5", 163, ALEXNET),
        (AlexNet(), "max_pool_2", 195, [*ALEXNET, (3, 2, 0)]),
        (VGG(depth=16), "conv1_2", 5, [CONV] * 2),
        (
            VGG(depth=16),
            "conv5_3",
            196,
            [CONV, CONV, POOL] * 2 + ([CONV, CONV, CONV, POOL] * 3)[:-1],
        ),
        (
            VGG(depth=16),
            "max_pool_4",
            212,
            [CONV, CONV, POOL] * 2 + [CONV, CONV, CONV, POOL] * 3,
        ),
    ],
)
def test_chains_follow_the_recurrence(
    module: nn.Module, site: str, size: int, layers: list[tuple[int, int, int]]
) -> None:
    found = field_of(module, site)
    expected = by_recurrence(layers)
    assert expected[0] == size
    assert tuple(zip(*found, strict=True)) == (expected, expected)


def test_of_ways_that_meet_the_widest_counts() -> None:
    found = field_of(ResNet(depth=18), "layer2_0")
    stem, first = [(7, 2, 3), (3, 2, 1)], [(3, 1, 1)] * 4
    assert by_recurrence([*stem, *first, (3, 2, 1), (3, 1, 1)]) == (
        found.size[0],
        found.stride[0],
        found.start[0],
    )


@pytest.mark.slow(reason="traces GoogLeNet")
def test_fields_of_googlenet_grow_with_the_depth() -> None:
    sites = ("inception_3a", "inception_4a", "inception_5b")
    fields = [field_of(GoogLeNet(), site) for site in sites]
    strides = [field.stride[0] for field in fields]
    sizes = [field.size[0] for field in fields]
    assert strides == [8, 16, 32]
    assert sizes == sorted(set(sizes))


class Net(nn.Module):
    """Layers given by a function, so that a test shows what it is about."""

    layers: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return jnp.sin(x)


def conv(window: int, **options: Any) -> nn.Conv:
    return nn.Conv(2, (window, window), **options)


STACKS = {
    "dilated": [conv(3, kernel_dilation=2, padding="VALID"), conv(2, padding="VALID")],
    "strided": [conv(3, strides=2, padding=1), conv(3, strides=3, padding=2)],
    "grouped": [conv(3), conv(3, feature_group_count=2), nn.GroupNorm(1)],
    "average": [conv(3), lambda x: nn.avg_pool(x, (3, 2), (2, 1))],
    "cropped": [conv(2), lambda x: x[:, 2:-1, 1:9:2], conv(3)],
    "padded": [lambda x: jnp.pad(x, ((0, 0), (2, 1), (1, 0), (0, 0))), conv(3)],
    "to depth": [
        lambda x: x.reshape(1, 6, 2, 6, 2, 2).transpose(0, 1, 3, 2, 4, 5),
        lambda x: x.reshape(1, 6, 6, 8),
        conv(3, padding="VALID"),
    ],
    "channels first": [
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: jax.lax.conv(x, jnp.ones((2, 2, 3, 2)), (2, 1), "VALID"),
        lambda x: x.transpose(0, 2, 3, 1),
        conv(1),
    ],
    "split": [lambda x: jnp.concatenate(jnp.split(x, 2, axis=-1)[::-1], -1), conv(3)],
    "residual": [lambda x: x + nn.Conv(2, (3, 5))(x), conv(3, strides=2)],
    "global": [lambda x: x * x.mean(axis=(1, 2), keepdims=True), conv(3)],
    "along one axis": [lambda x: x * x.sum(1, keepdims=True), conv(3)],
}


IN_CORNERS = {"dilated", "padded"}  # whose windows go beyond
inside = pytest.mark.slow(reason="a corner asks nothing new of these layers")


@pytest.mark.parametrize(
    ("name", "is_in_corner"),
    [
        *[(name, False) for name in STACKS],
        *[
            pytest.param(name, True, marks=[] if name in IN_CORNERS else [inside])
            for name in STACKS
        ],
    ],
)
def test_gradients_see_the_theoretical_window(name: str, is_in_corner: bool) -> None:
    """With random weights nothing cancels: the box of the gradient is the window."""
    net = Net(STACKS[name])
    x = jax.random.normal(jax.random.key(0), (1, 12, 12, 2))
    variables = compiled(net.init)(jax.random.key(1), x)
    field = receptive_field(net.apply, "sin", variables, x)
    at = (0, 0) if is_in_corner else None
    found = effective_receptive_field(net.apply, "sin", variables, x, position=at)
    shape = jax.eval_shape(net.apply, variables, x).shape
    place = at or (shape[1] // 2, shape[2] // 2)
    for axis, (low, stop) in enumerate(field.window(place)):
        low, stop = max(low, 0), min(stop, 12)
        first, last = found.start[:, axis], found.start[:, axis] + found.size[:, axis]
        # In a corner, zeros may stand where the window goes on in a larger picture.
        assert np.all(first == low if at is None else first >= low)
        assert np.all(last == stop if at is None else last <= stop)


def test_what_reads_everything_sees_everything() -> None:
    net = Net(STACKS["global"])
    x = jnp.ones((1, 12, 10, 2))
    variables = compiled(net.init)(jax.random.key(1), x)
    assert receptive_field(net.apply, "sin", variables, x) == ((12, 10), (0, 0), (0, 0))
    net = Net(STACKS["along one axis"])
    found = receptive_field(net.apply, "sin", variables, x)
    assert found == ((12, 3), (0, 1), (0, -1))


def test_tokens_that_attend_to_all_see_the_picture() -> None:
    def model(w: Any, x: Any) -> Any:
        tokens = x.reshape(x.shape[0], -1, 3)
        weights = jax.nn.softmax(jnp.einsum("bic,bjc->bij", tokens, tokens))
        return jnp.sin(jnp.einsum("bij,bjc->bic", weights, w * tokens))

    field = receptive_field(model, "sin", 1.0, jnp.ones((1, 4, 6, 3)))
    assert field == ((4, 6), (0, 0), (0, 0))


def test_signals_and_volumes_have_as_many_axes() -> None:
    for axes in (1, 3):
        net = nn.Conv(2, (3,) * axes, strides=2, padding=1)
        x = jnp.ones((1, *(9,) * axes, 1))
        variables = compiled(net.init)(jax.random.key(0), x)
        field = receptive_field(net.apply, "Conv", variables, x)
        assert field == ((3,) * axes, (2,) * axes, (-1,) * axes)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda x: nn.ConvTranspose(2, (2, 2), (2, 2))(x), "spreads its input out"),
        (lambda x: jnp.repeat(x, 2, axis=1), "cannot be told"),
        (lambda x: x.reshape(1, -1, 2), "joins positions with something else"),
        (lambda x: jnp.roll(x, 1, axis=1), "positions are taken apart or joined"),
        (lambda x: jnp.sort(x, axis=1), "`sort` may take its entries from anywhere"),
        (lambda x: x[:, ::2] + x[:, :6], "paths of different strides meet"),
        (lambda x: x.transpose(0, 2, 1, 3), "runs along axis 1 of the images"),
    ],
)
def test_what_has_no_one_window_is_refused(layer: Any, message: str) -> None:
    net = Net([conv(3), layer])
    x = jnp.ones((1, 12, 12, 2))
    variables = compiled(net.init)(jax.random.key(0), x)
    with pytest.raises(ValueError, match=message):
        receptive_field(net.apply, "sin", variables, x)


def test_sites_without_positions_are_refused() -> None:
    net, x = VGG(depth=11, widths=(2,) * 5, dense_width=2), jnp.ones((1, 32, 32, 3))
    variables = jax.eval_shape(net.init, jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"has no positions: its shape is \(1, 2\)"):
        receptive_field(net.apply, "fc6", variables, x)
    with pytest.raises(AddressError):
        receptive_field(net.apply, "conv9", variables, x)

    def looped(w: Any, x: Any) -> Any:
        return jax.lax.scan(lambda c, _: (jnp.sin(w * c), None), x, length=3)[0]

    with pytest.raises(ValueError, match="inside a loop"):
        receptive_field(looped, "*sin", 1.0, x)
    with pytest.raises(ValueError, match=r"one array of images.*\[\[1, 4\]\]"):
        receptive_field(lambda w, x: w * x[None], "scale", 1.0, jnp.ones((1, 4)))


def test_the_recommended_measure_exists() -> None:
    """What the errors recommend takes what they refuse."""
    net = Net([conv(3), lambda x: nn.ConvTranspose(2, (2, 2), (2, 2))(x)])
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 2))
    variables = compiled(net.init)(jax.random.key(0), x)
    found = effective_receptive_field(net.apply, "sin", variables, x)
    assert found.size.tolist() == [[3, 3]] * 2


# --- By its gradients -----------------------------------------------------------------


def test_weights_are_the_mean_magnitudes_of_the_gradient() -> None:
    """Against the gradient of a linear map and a sine, by hand."""
    rng = np.random.default_rng(0)
    w, images = rng.normal(size=(3, 3, 2, 4)), rng.normal(size=(5, 6, 7, 2))

    def model(w: Any, x: Any) -> Any:
        x = jax.lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sin(x)

    expected = np.zeros((4, 6, 7))
    for image in images:
        patch = image[1:4, 3:6]
        for unit in range(4):
            slope = np.cos((patch * w[..., unit]).sum())
            expected[unit, 1:4, 3:6] += np.abs(slope * w[..., unit]).sum(axis=-1) / 5
    for batch_size in (None, 1, 3):
        found = effective_receptive_field(
            model, "sin", w, jnp.asarray(images), position=(1, 3), batch_size=batch_size
        )
        np.testing.assert_allclose(found.weights, expected, atol=1e-12)
        assert found.start.tolist() == [[1, 3]] * 4
    some = effective_receptive_field(
        model, "sin", w, jnp.asarray(images), position=(1, 3), channels=[2, -1]
    )
    np.testing.assert_allclose(some.weights, expected[[2, 3]], atol=1e-12)


def test_a_dead_unit_sees_nothing() -> None:
    found = effective_receptive_field(
        lambda w, x: jnp.maximum(w * x, 0), "relu", -1.0, jnp.ones((1, 3, 3, 2))
    )
    assert found.size.tolist() == [[0, 0]] * 2
    assert not found.weights.any()


def test_the_effective_field_is_in_the_middle_of_the_theoretical_one() -> None:
    """Luo et al., 2016: of a stack of equal convolutions it is a bell."""
    layers = [nn.Conv(1, (3, 3), kernel_init=nn.initializers.ones) for _ in range(6)]
    net = Net(layers)
    x = jnp.zeros((1, 21, 21, 1))
    found = effective_receptive_field(
        net.apply, "sin", compiled(net.init)(jax.random.key(0), x), x
    )
    row = np.asarray(found.weights[0, 10])
    trinomial = np.ones(1)
    for _ in range(6):
        trinomial = np.convolve(trinomial, [1.0, 1.0, 1.0])
    np.testing.assert_allclose(row[4:17], trinomial * trinomial[6], rtol=1e-6)
    assert found.size.tolist() == [[13, 13]]


def test_arguments_out_of_range() -> None:
    x = jnp.ones((1, 3, 3, 2))

    def model(w: Any, x: Any) -> Any:
        return jnp.sin(w * x)

    with pytest.raises(ValueError, match="`batch_size` must be an integer"):
        effective_receptive_field(model, "sin", 1.0, x, batch_size=0)
    with pytest.raises(ValueError, match=r"There is no position on axis 2 .* 3: "):
        effective_receptive_field(model, "sin", 1.0, x, position=(0, 3))
    with pytest.raises(ValueError, match="`position` has 1 entries, and 'sin' has 2"):
        effective_receptive_field(model, "sin", 1.0, x, position=(0,))
    with pytest.raises(ValueError, match="There is no channel of 'sin' 2"):
        effective_receptive_field(model, "sin", 1.0, x, channels=2)
    with pytest.raises(TypeError, match=r"int32\[1, 3, 3, 2\] was given"):
        effective_receptive_field(model, "sin", 1, x.astype(jnp.int32))
