"""Filled through its name map, each image network computes what the original does.

Torch networks get random weights in which nothing is trivial, batch statistics and
scales included, so that two tensors in each other's place change the logits.
"""

import gzip
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.models.adapters import from_keras
from jaxinterp.models.architectures.alexnet import AlexNet
from jaxinterp.models.architectures.convnext import ConvNeXt
from jaxinterp.models.architectures.googlenet import GoogLeNet
from jaxinterp.models.architectures.lenet import LeNet
from jaxinterp.models.architectures.resnet import ResNet, ResNet8
from jaxinterp.models.architectures.squeezenet import SqueezeNet
from jaxinterp.models.architectures.vgg import VGG
from jaxinterp.models.weights import WeightsError, fill, vision_maps
from jaxinterp.models.weights.readers import read_tensors
from tests.networks.architectures import randomize


def shapes_of(model, *image):
    images = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


# --- torch ----------------------------------------------------------------------------


def small_vgg(depth, use_batch_norm):
    """Torchvision's convolutions, and its dense layers in fewer features."""
    models = pytest.importorskip("torchvision").models
    nn = pytest.importorskip("torch").nn
    layers = models.vgg.make_layers(
        models.vgg.cfgs[{11: "A", 13: "B", 16: "D", 19: "E"}[depth]], use_batch_norm
    )
    model = models.VGG(layers, num_classes=7, init_weights=False)
    model.classifier[0] = nn.Linear(512 * 49, 32)
    model.classifier[3] = nn.Linear(32, 32)
    model.classifier[6] = nn.Linear(32, 7)
    return model


def torchvision_model(name, **settings):
    models = pytest.importorskip("torchvision").models
    return getattr(models, name)(num_classes=7, **settings)


def googlenet(has_heads):
    return torchvision_model(
        "googlenet", transform_input=False, aux_logits=has_heads, init_weights=False
    )


def hugging_face_resnet(depth):
    transformers = pytest.importorskip("transformers")
    is_deep = depth >= 50
    config = transformers.ResNetConfig(
        embedding_size=16,
        hidden_sizes=[w * (4 if is_deep else 1) for w in (16, 32, 64, 128)],
        depths=[1, 2, 2, 1],
        layer_type="bottleneck" if is_deep else "basic",
        num_labels=7,
    )
    return transformers.ResNetForImageClassification(config)


TORCH = {
    "alexnet": (
        lambda: torchvision_model("alexnet"),
        AlexNet(7),
        vision_maps.ALEXNET_TORCHVISION,
        (224, 224),
    ),
    "vgg11": (
        lambda: small_vgg(11, False),
        VGG(11, False, 7, dense_width=32),
        vision_maps.vgg_torchvision(11),
        (224, 224),
    ),
    "vgg11_bn": (
        lambda: small_vgg(11, True),
        VGG(11, True, 7, dense_width=32),
        vision_maps.vgg_torchvision(11, use_batch_norm=True),
        (96, 70),
    ),
    "vgg19": (
        lambda: small_vgg(19, False),
        VGG(19, False, 7, dense_width=32),
        vision_maps.vgg_torchvision(19),
        (64, 96),
    ),
    "resnet18": (
        lambda: torchvision_model("resnet18"),
        ResNet(18, 7),
        vision_maps.RESNET_TORCHVISION,
        (65, 96),
    ),
    "resnet50": (
        lambda: torchvision_model("resnet50"),
        ResNet(50, 7),
        vision_maps.RESNET_TORCHVISION,
        (64, 51),
    ),
    "resnet18_hugging_face": (
        lambda: hugging_face_resnet(18),
        ResNet(18, 7, 16, (1, 2, 2, 1)),
        vision_maps.RESNET_HUGGING_FACE,
        (65, 96),
    ),
    "resnet50_hugging_face": (
        lambda: hugging_face_resnet(50),
        ResNet(50, 7, 16, (1, 2, 2, 1)),
        vision_maps.RESNET_HUGGING_FACE,
        (64, 51),
    ),
    "squeezenet": (
        lambda: torchvision_model("squeezenet1_1"),
        SqueezeNet(7),
        vision_maps.SQUEEZENET_TORCHVISION,
        (96, 81),
    ),
    "googlenet": (
        lambda: googlenet(has_heads=False),
        GoogLeNet(7, "torchvision"),
        vision_maps.GOOGLENET_TORCHVISION,
        (96, 81),
    ),
    "googlenet_with_auxiliary_heads": (
        lambda: googlenet(has_heads=True),
        GoogLeNet(7, "torchvision"),
        vision_maps.GOOGLENET_TORCHVISION,
        (64, 64),
    ),
    "convnext": (
        lambda: torchvision_model("convnext_tiny"),
        ConvNeXt(7),
        vision_maps.CONVNEXT_TORCHVISION,
        (64, 96),
    ),
}


def randomize_torch(model):
    """Fills a torch network with random weights of the scales of trained ones."""
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith(("running_var", "layer_scale")):
            noise = torch.exp(0.3 * noise)
        elif tensor.ndim > 1:
            noise = noise * math.sqrt(2 / tensor[0].numel())
        else:
            is_scale = name.endswith("weight")
            noise = torch.exp(0.2 * noise) if is_scale else 0.2 * noise
        tensor.copy_(noise)
    return model.eval()


@pytest.mark.peers
@pytest.mark.parametrize("name", TORCH)
def test_torch_networks_have_the_same_logits(name):
    build, model, name_map, size = TORCH[name]
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    with torch.no_grad():
        original = randomize_torch(build())
        theirs = original(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    theirs = np.asarray(getattr(theirs, "logits", theirs))
    tensors = {key: value.numpy() for key, value in original.state_dict().items()}
    variables = fill(shapes_of(model, *size, 3), tensors, name_map, source=name)
    ours = jax.jit(model.apply)(variables, images)
    scale = np.abs(theirs).max()
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-2 * scale  # the image matters
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-4)


# --- Keras ----------------------------------------------------------------------------


def keras_resnet8(keras):
    """The network of MLPerf Tiny; Keras numbers its layers as they are made here."""
    layers = keras.layers
    count = {"conv2d": 0, "batch_normalization": 0}

    def name(kind):
        count[kind] += 1
        return f"{kind}_{count[kind] - 1}".removesuffix("_0")

    def conv(x, width, size, stride=1):
        layer = layers.Conv2D(width, size, stride, "same", name=name("conv2d"))
        return layer(x)

    def norm(x):
        return layers.BatchNormalization(name=name("batch_normalization"))(x)

    inputs = x = layers.Input((32, 32, 3))
    x = layers.ReLU()(norm(conv(x, 16, 3)))
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(norm(conv(x, width, 3, stride)))
        y = norm(conv(y, width, 3))
        x = conv(x, width, 1, stride) if stride > 1 else x
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="dense")(x))


@pytest.fixture(scope="module")
def keras_original():
    """The network of MLPerf Tiny in Keras, with random weights in which all matter."""
    keras = pytest.importorskip("keras", reason="Keras is an optional dependency")
    rng = np.random.default_rng(0)
    original = keras_resnet8(keras)
    for weight in original.weights:
        noise = rng.normal(size=weight.shape)
        if len(weight.shape) > 1:
            noise = noise * math.sqrt(2 / math.prod(weight.shape[:-1]))
        elif weight.name in ("gamma", "moving_variance"):
            noise = np.exp(0.3 * noise)
        weight.assign(noise.astype(np.float32))
    return original, {w.path: np.asarray(w.value) for w in original.weights}


@pytest.mark.slow(reason="imports Keras and builds its ResNet")
def test_keras_resnet8_has_the_same_logits(keras_original):
    original, tensors = keras_original
    images = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    with jax.numpy_rank_promotion("allow"):  # Keras adds biases of lower rank
        apply_fn, weights = from_keras(original)
        theirs = jax.jit(apply_fn)(weights, images)
    model = ResNet8()
    template = shapes_of(model, 32, 32, 3)
    variables = fill(template, tensors, vision_maps.RESNET8_KERAS, source="Keras")
    ours = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.slow(reason="imports Keras")
@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model.weights.h5"])
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # in Keras itself
def test_files_that_keras_writes_fit_the_map(keras_original, tmp_path, name):
    pytest.importorskip("h5py", reason="an optional dependency")
    original, tensors = keras_original
    save = original.save_weights if ".weights" in name else original.save
    save(tmp_path / name)
    found = read_tensors(tmp_path / name)
    assert found.keys().isdisjoint(tensors)  # each format has names of its own
    template = shapes_of(ResNet8(), 32, 32, 3)
    ours = fill(template, found, vision_maps.RESNET8_KERAS, source=name)
    expected = fill(template, tensors, vision_maps.RESNET8_KERAS, source="Keras")
    chex.assert_trees_all_equal(ours, expected)


# --- Without torch --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name_map", "side"),
    [(vision_maps.ALEXNET_TORCHVISION, 6), (vision_maps.vgg_torchvision(16), 7)],
)
def test_the_first_dense_kernel_reads_channels_last(name_map, side):
    (entry,) = (entry for entry in name_map if entry.path == "params/fc6/kernel")
    rng = np.random.default_rng(0)
    features, kernel = (
        rng.normal(size=(side, side, 5)),
        rng.normal(size=(5 * side**2, 3)),
    )
    expected = features.transpose(2, 0, 1).ravel() @ kernel
    np.testing.assert_allclose(features.ravel() @ entry.convert(kernel), expected)


def test_a_checkpoint_of_another_size_is_an_error_that_has_both_shapes():
    template = shapes_of(AlexNet(), 224, 224, 3)
    tensors = {"classifier.1.weight": np.zeros((4096, 1000), np.float32)}
    with pytest.raises(
        WeightsError, match=r"of shape \(1000, 4096\), .*, needed \(9216, 4096"
    ):
        fill(template, tensors, vision_maps.ALEXNET_TORCHVISION, source="a file")
    tensors = {"loss3/classifier/kernel": np.zeros((3, 3, 1024, 9), np.float16)}
    with pytest.raises(
        WeightsError, match=r"found \(3, 3, 1024, 9\), needed \(1024, 10"
    ):
        fill(
            shapes_of(GoogLeNet(), 224, 224, 3),
            tensors,
            vision_maps.GOOGLENET_CAFFE,
            source="a file",
        )


def test_a_vgg_of_unknown_depth_has_no_name_map():
    with pytest.raises(ValueError, match=r"depth=12\. There are: 11, 13, 16, 19"):
        vision_maps.vgg_torchvision(12)


def test_caffes_names_of_squeezenet_are_ours():
    template = shapes_of(SqueezeNet(), 224, 224, 3)
    variables = randomize(template, jax.random.key(0))
    tensors = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
    }
    assert {"conv1/bias", "fire2/squeeze1x1/kernel", "fire9/expand3x3/bias"} <= set(
        tensors
    )
    filled = fill(template, tensors, vision_maps.SQUEEZENET_CAFFE, source="caffe")
    chex.assert_trees_all_equal(filled, variables)


def test_auxiliary_heads_are_known_and_left_out():
    for name, name_map in (
        ("loss1/fc/kernel", vision_maps.GOOGLENET_CAFFE),
        ("aux2.conv.bn.num_batches_tracked", vision_maps.GOOGLENET_TORCHVISION),
    ):
        tensors = {name: np.zeros(3, np.float32)}
        assert fill({}, tensors, name_map, source="heads") == {}


# --- Trained weights ------------------------------------------------------------------


def photographs(folder, count=None):
    """Returns sample photographs as RGB in 0..255, and their classes."""
    image = pytest.importorskip("PIL.Image")
    paths = sorted((folder / "imagenet_samples").glob("*.jpg"))[:count]
    pixels = [np.asarray(image.open(path).convert("RGB"), np.float32) for path in paths]
    return np.stack(pixels), np.array([int(path.name.split("_")[0]) for path in paths])


def loaded(model, name_map, path, *image):
    tensors = read_tensors(path)
    return fill(shapes_of(model, *image), tensors, name_map, source=path.name)


def predicted(model, variables, images, batch_size):
    apply = jax.jit(model.apply)
    batches = np.split(images, len(images) // batch_size)
    return np.concatenate([apply(variables, b).argmax(axis=1) for b in batches])


@pytest.mark.slow(reason="GoogLeNet on 250 photographs")
def test_googlenet_knows_most_photographs(real_data, optimized):
    model = GoogLeNet()
    path = real_data / "googlenet.safetensors"
    variables = loaded(model, vision_maps.GOOGLENET_CAFFE, path, 224, 224, 3)
    images, classes = photographs(real_data, 250)
    images = images[..., ::-1] - np.float32([104, 117, 123])
    accuracy = (predicted(model, variables, images, 25) == classes).mean()
    assert accuracy >= 0.75  # 0.788 where the weights were converted


@pytest.mark.slow(reason="LeNet on 10,000 digits; `test_load.py` has a few of them")
def test_lenet_reads_digits(real_data):
    def idx(name, offset):
        content = gzip.decompress((real_data / name).read_bytes())
        return np.frombuffer(content, np.uint8, offset=offset)

    digits = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)
    pixels = jnp.asarray(digits, jnp.float32) / 255
    images = jax.image.resize(pixels, (len(pixels), 32, 32, 1), "bilinear")
    model = LeNet()
    path = real_data / "lenet_mnist.safetensors"
    variables = loaded(model, vision_maps.LENET_TORCH, path, 32, 32, 1)
    accuracy = (predicted(model, variables, np.asarray(images), 1000) == labels).mean()
    assert accuracy >= 0.989


@pytest.mark.slow(reason="ResNet-8 on all photographs")
def test_resnet8_tells_birds_from_dogs(real_data):
    model = ResNet8()
    path = real_data / "resnet8_cifar10.safetensors"
    variables = loaded(model, vision_maps.RESNET8_KERAS, path, 32, 32, 3)
    images, classes = photographs(real_data)
    is_dog = (classes >= 151) & (classes <= 268)  # in ImageNet's order
    is_bird = (classes >= 8) & (classes <= 24) | (classes >= 80) & (classes <= 100)
    small = jax.image.resize(images, (len(images), 32, 32, 3), "bilinear")
    logits = np.asarray(jax.jit(model.apply)(variables, small))
    assert np.isfinite(logits).all()
    says_bird = logits[:, 2] > logits[:, 5]  # in CIFAR-10's order
    assert says_bird[is_bird].mean() > 0.9
    assert says_bird[is_dog].mean() < 0.35
