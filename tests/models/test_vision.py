"""Image networks have the published sizes, readable addresses, and can be explained.

That they compute what others compute is asked in `weights/test_vision_maps.py`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.architectures.alexnet import AlexNet
from jaxinterp.models.architectures.convnext import ConvNeXt
from jaxinterp.models.architectures.googlenet import GoogLeNet, LocalResponseNorm
from jaxinterp.models.architectures.lenet import LeNet
from jaxinterp.models.architectures.pooling import (
    adaptive_mean,
    ceil_max_pool,
    max_pool,
)
from jaxinterp.models.architectures.resnet import ResNet, ResNet8
from jaxinterp.models.architectures.squeezenet import SqueezeNet
from jaxinterp.models.architectures.vgg import VGG
from tests.compiled import compiled
from tests.few import few
from tests.networks.families import CONVOLUTIONAL, built

DEEP = {"vgg", "resnet18", "resnet50", "googlenet", "googlenet_bn"}
deep = pytest.mark.slow(reason="many layers of kinds that smaller networks have too")


@functools.cache
def forward(name):
    """Returns the compiled model; what tests share is compiled once."""
    return compiled(CONVOLUTIONAL[name].model.apply)


def shapes_of(model, *image):
    """Returns the shapes of variables and logits, without computing anything."""
    images = jax.ShapeDtypeStruct((2, *image), jnp.float32)
    logits, variables = jax.eval_shape(
        model.init_with_output, jax.random.key(0), images
    )
    return variables, logits.shape


def graph_of(model, *image):
    """Returns the trace of a full-size model, from shapes alone."""
    variables, _ = shapes_of(model, *image)
    images = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    return ji.trace(model.apply, variables, images)


# --- Sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "image", "count"),
    [
        (AlexNet(), (224, 224, 3), 61_100_840),
        (VGG(11), (224, 224, 3), 132_863_336),
        (VGG(11, True), (224, 224, 3), 132_868_840),
        pytest.param(VGG(13), (224, 224, 3), 133_047_848, marks=deep),
        (VGG(16), (224, 224, 3), 138_357_544),
        pytest.param(VGG(19), (224, 224, 3), 143_667_240, marks=deep),
        (ResNet(18), (224, 224, 3), 11_689_512),
        pytest.param(ResNet(34), (224, 224, 3), 21_797_672, marks=deep),
        (ResNet(50), (224, 224, 3), 25_557_032),
        pytest.param(ResNet(101), (224, 224, 3), 44_549_160, marks=deep),
        (ResNet8(), (32, 32, 3), 78_186),
        (LeNet(), (32, 32, 1), 61_706),
        (SqueezeNet(), (224, 224, 3), 1_235_496),
        (GoogLeNet(), (224, 224, 3), 6_998_552),
        (GoogLeNet(variant="torchvision"), (224, 224, 3), 6_624_904),
        (ConvNeXt(), (224, 224, 3), 28_589_128),
    ],
    ids=lambda value: repr(value)[:40].split("#")[0].strip(),
)
def test_full_size_has_the_published_number_of_parameters(model, image, count):
    variables, logits = shapes_of(model, *image)
    leaves = jax.tree.leaves(variables["params"])
    assert sum(math.prod(leaf.shape) for leaf in leaves) == count
    assert logits == (2, model.classes)


@pytest.mark.parametrize(
    ("model", "smallest"),
    few(
        [
            (AlexNet(7), 63),
            (ResNet8(7), 1),
            (SqueezeNet(7), 17),
            (VGG(11, True, 7), 32),
            (ResNet(34, 7), 1),
            (GoogLeNet(7), 31),
            (GoogLeNet(7, "torchvision"), 15),
            (ConvNeXt(7), 32),
        ],
        3,
        reason="traces a deep network",
    ),
    ids=lambda value: type(value).__name__,
)
def test_images_of_any_size_and_shape_have_logits(model, smallest):
    for image in ((smallest, smallest, 3), (131, 97, 3)):
        assert shapes_of(model, *image)[1] == (2, 7)


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (AlexNet(), 32, "have no pixel"),
        (VGG(11), 31, "have no pixel"),
        (SqueezeNet(), 16, "Give the model larger images"),
        (GoogLeNet(), 30, "Give the model larger images"),
        (LeNet(), 28, r"have \(2, 28, 28, 3\)"),
        (VGG(12), 32, "no VGG with depth=12. There are: 11, 13, 16, 19"),
        (ResNet(20), 32, "no ResNet with depth=20. There are: 18, 34, 50, 101"),
        (GoogLeNet(variant="keras"), 32, "There are: 'caffe', 'torchvision'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_network_can_do_is_an_error(model, size, message):
    with pytest.raises(ValueError, match=message):
        shapes_of(model, size, size, 3)


def test_lenet_takes_digits_resized_as_its_error_says():
    x = jnp.zeros((2, 28, 28, 1), jnp.float32)
    x = jax.image.resize(x, (len(x), 32, 32, 1), "bilinear")
    assert shapes_of(LeNet(), *x.shape[1:])[1] == (2, 10)


# --- Addresses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "image", "expected"),
    [
        (
            AlexNet(),
            (224, 224, 3),
            {
                "AlexNet/conv1": (1, 55, 55, 64),
                "AlexNet/conv5": (1, 13, 13, 256),
                "AlexNet/fc6": (1, 4096),
                "AlexNet/fc8": (1, 1000),
            },
        ),
        (
            VGG(16, True),
            (224, 224, 3),
            {
                "VGG/conv1_1": (1, 224, 224, 64),
                "VGG/bn3_3": (1, 56, 56, 256),
                "VGG/conv5_3": (1, 14, 14, 512),
                "VGG/fc7": (1, 4096),
            },
        ),
        (
            ResNet(50),
            (224, 224, 3),
            {
                "ResNet/bn1": (1, 112, 112, 64),
                "ResNet/layer1_0": (1, 56, 56, 256),
                "ResNet/layer2_0/conv2": (1, 28, 28, 128),
                "ResNet/layer2_0/downsample_1": (1, 28, 28, 512),
                "ResNet/layer4_2": (1, 7, 7, 2048),
                "ResNet/fc": (1, 1000),
            },
        ),
        (
            ResNet8(),
            (32, 32, 3),
            {
                "ResNet8/bn1": (1, 32, 32, 16),
                "ResNet8/block2": (1, 16, 16, 32),
                "ResNet8/block3/shortcut": (1, 8, 8, 64),
            },
        ),
        (
            LeNet(),
            (32, 32, 1),
            {"LeNet/c1": (1, 28, 28, 6), "LeNet/c5": (1, 1, 1, 120)},
        ),
        (
            SqueezeNet(),
            (224, 224, 3),
            {
                "SqueezeNet/conv1": (1, 111, 111, 64),
                "SqueezeNet/fire2": (1, 55, 55, 128),
                "SqueezeNet/fire9/expand3x3": (1, 13, 13, 256),
                "SqueezeNet/conv10": (1, 13, 13, 1000),
            },
        ),
        (
            GoogLeNet(),
            (224, 224, 3),
            {
                "GoogLeNet/conv1": (1, 112, 112, 64),
                "GoogLeNet/conv2_reduce": (1, 56, 56, 64),
                "GoogLeNet/conv2": (1, 56, 56, 192),
                "GoogLeNet/inception_3a/5x5_reduce": (1, 28, 28, 16),
                "GoogLeNet/inception_3b": (1, 28, 28, 480),
                "GoogLeNet/inception_4a": (1, 14, 14, 512),
                "GoogLeNet/inception_4a/3x3/conv": (1, 14, 14, 208),
                "GoogLeNet/inception_5b": (1, 7, 7, 1024),
                "GoogLeNet/classifier": (1, 1000),
            },
        ),
        (
            ConvNeXt(),
            (224, 224, 3),
            {
                "ConvNeXt/stem": (1, 56, 56, 96),
                "ConvNeXt/downsample2": (1, 28, 28, 192),
                "ConvNeXt/stage3_8": (1, 14, 14, 384),
                "ConvNeXt/stage4_2/depthwise": (1, 7, 7, 768),
                "ConvNeXt/norm": (1, 768),
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_have_the_addresses_and_shapes_that_papers_name(model, image, expected):
    sites = graph_of(model, *image).sites
    assert {address: sites[address].shape for address in expected} == expected


def test_an_inception_module_is_what_its_branches_are_concatenated_to():
    model, variables, images = built("googlenet")
    branches = [
        f"GoogLeNet/inception_4a/{name}" for name in ("1x1", "3x3", "5x5", "pool_proj")
    ]
    _, found = ji.capture(model.apply, "*inception_4a*")(variables, images)
    together = jnp.concatenate([found[branch] for branch in branches], axis=-1)
    np.testing.assert_array_equal(found["GoogLeNet/inception_4a"], together)
    assert float(together.min()) == 0.0  # after the relu


# --- Batches --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[deep] if n in DEEP else []) for n in CONVOLUTIONAL],
)
def test_an_example_does_not_see_the_others_of_its_batch(name):
    _, variables, images = built(name)
    both = forward(name)(variables, images)
    twice = forward(name)(variables, jnp.stack([images[0], images[0]]))
    assert both.dtype == jnp.float32
    np.testing.assert_allclose(both[0], twice[0], rtol=1e-5, atol=1e-6)
    assert np.abs(both[1] - twice[1]).max() > 1e-3


# --- Training -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "vgg_bn",
        "resnet8",
        *[pytest.param(n, marks=deep) for n in ("resnet18", "resnet50")],
        pytest.param("googlenet_bn", marks=deep),
    ],
)
def test_train_makes_batch_norms_use_and_collect_the_statistics_of_the_batch(name):
    model, variables, images = built(name)
    train = functools.partial(model.apply, train=True, mutable=["batch_stats"])
    logits, changed = compiled(train)(variables, images)
    old = jax.tree.leaves(variables["batch_stats"])
    new = jax.tree.leaves(changed["batch_stats"])
    assert all((a != b).any() for a, b in zip(old, new, strict=True))
    assert np.abs(logits - forward(name)(variables, images)).max() > 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "squeezenet",
        pytest.param("vgg", marks=deep),
        pytest.param("googlenet", marks=deep),
    ],
)
def test_features_are_dropped_in_training_only(name):
    model, variables, images = built(name)
    plain = forward(name)(variables, images)
    dropping = model.clone(dropout_rate=0.5)

    @compiled
    def both(variables, images):
        keys = {"dropout": jax.random.key(0)}
        trained = dropping.apply(variables, images, train=True, rngs=keys)
        return dropping.apply(variables, images), trained

    explained, trained = both(variables, images)
    np.testing.assert_allclose(explained, plain, rtol=1e-5, atol=1e-6)
    assert np.abs(trained - plain).max() > 1e-3


# --- Pooling and normalization --------------------------------------------------------


def slow_ceil_max_pool(x, window, stride):
    """Windows begin every `stride` pixels until one has seen the last pixel."""

    def windows(pixels):
        starts = [0]
        while starts[-1] + window < pixels:
            starts.append(starts[-1] + stride)
        return starts

    rows = [
        [
            x[:, r : r + window, c : c + window].max(axis=(1, 2))
            for c in windows(x.shape[2])
        ]
        for r in windows(x.shape[1])
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def slow_local_response_norm(x, size, alpha, beta):
    out = np.zeros_like(x)
    for c in range(x.shape[-1]):
        energy = np.zeros(x.shape[:-1])
        for d in range(x.shape[-1]):
            if abs(d - c) <= size // 2:
                energy += x[..., d] ** 2
        out[..., c] = x[..., c] / (1 + alpha / size * energy) ** beta
    return out


def slow_adaptive_mean(x, size):
    batch, height, width, channels = x.shape
    out = np.zeros((batch, size, size, channels))
    for i, j in np.ndindex(size, size):
        rows = slice(math.floor(i * height / size), math.ceil((i + 1) * height / size))
        columns = slice(math.floor(j * width / size), math.ceil((j + 1) * width / size))
        out[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return out


def image(*shape):
    return np.random.default_rng(0).normal(size=shape) - 1.0


POOLINGS = [
    (size, window, stride)
    for size in ((3, 4), (5, 6), (7, 2), (14, 15), (112, 3))
    for window, stride in ((3, 2), (2, 2), (3, 3), (3, 1), (1, 1))
    if min(size) > window - stride
]


@pytest.mark.parametrize(("size", "window", "stride"), POOLINGS)
def test_ceil_mode_pooling_is_the_slow_one(size, window, stride):
    x = image(2, *size, 3)
    np.testing.assert_array_equal(
        ceil_max_pool(jnp.asarray(x), window, stride),
        slow_ceil_max_pool(x, window, stride),
    )


def test_ceil_mode_pooling_of_too_small_an_image_is_an_error():
    with pytest.raises(ValueError, match=r"\(1, 1, 9, 2\) have no window of 3 pixels"):
        ceil_max_pool(jnp.zeros((1, 1, 9, 2)), 3, 2)


def test_padding_of_max_pooling_is_never_the_maximum():
    x = jnp.asarray(image(1, 4, 4, 2) - 10.0)
    pooled = max_pool(x, 3, 2, padding=1)
    assert pooled.shape == (1, 2, 2, 2)
    np.testing.assert_array_equal(pooled[0, 0, 0], x[0, :2, :2].max(axis=(0, 1)))


@pytest.mark.parametrize(("size", "alpha", "beta"), [(5, 1e-4, 0.75), (3, 2.0, 0.5)])
def test_local_response_norm_is_the_slow_one(size, alpha, beta):
    x = 30 * image(2, 3, 2, 9)
    np.testing.assert_allclose(
        LocalResponseNorm(size, alpha, beta).apply({}, jnp.asarray(x)),
        slow_local_response_norm(x, size, alpha, beta),
        rtol=1e-12,
    )


@pytest.mark.parametrize("shape", [(6, 6), (13, 7), (2, 9), (12, 1)])
def test_adaptive_mean_is_the_slow_one(shape):
    x = image(2, *shape, 3)
    np.testing.assert_allclose(
        adaptive_mean(jnp.asarray(x), 6), slow_adaptive_mean(x, 6), rtol=1e-12
    )


def test_convnext_refuses_what_would_leave_nothing():
    model = ji.models.ConvNeXt(classes=2, depths=(1, 1), widths=(4, 8))
    x = jnp.ones((1, 7, 9, 3))
    with pytest.raises(ValueError, match=r"7x9 are too small for 2 stages.* 8 pixels"):
        model.init(jax.random.key(0), x)


def test_convnext_norms_do_not_cancel():
    """Large means with a small spread: the mean of squares would lose the spread."""
    model = ji.models.ConvNeXt(classes=2, depths=(1,), widths=(8,))
    x = jnp.zeros((1, 4, 4, 3), jnp.float32)
    variables = model.init(jax.random.key(0), x)
    bias = 1000 + 0.1 * jnp.arange(8, dtype=jnp.float32)
    variables["params"]["stem"]["bias"] = bias
    _, found = ji.capture(model.apply, "*stem_norm")(variables, x)
    (normed,) = found.values()
    expected = (bias - bias.mean()) / bias.std()
    assert jnp.allclose(normed[0, 0, 0], expected, rtol=1e-2)
