"""Name maps of image networks: checkpoints of torchvision, Caffe and Keras.

Torch flattens features channels first, and our networks channels last. The first dense
kernel after a flattening is therefore permuted here, so that the network itself needs
no transposition.

Files with the names of Caffe and Keras have our layout already.
"""

from __future__ import annotations

import numpy as np

from jaxinterp.models.architectures import alexnet, vgg
from jaxinterp.models.weights.name_map import Entry, NameMap
from jaxinterp.models.weights.torch_layers import (
    batch_norm,
    channels_last,
    convolution,
    dense,
    layer_norm,
)

# --- AlexNet and VGG ------------------------------------------------------------------


def _dense_after_grid(pattern: str, path: str, side: int) -> NameMap:
    """The lines of a dense layer that reads a flattened grid of `side` x `side`."""
    return dense(pattern, path, channels_last(side, side))


ALEXNET_TORCHVISION: NameMap = (
    *convolution(r"features\.0", "conv1"),
    *convolution(r"features\.3", "conv2"),
    *convolution(r"features\.6", "conv3"),
    *convolution(r"features\.8", "conv4"),
    *convolution(r"features\.10", "conv5"),
    *_dense_after_grid(r"classifier\.1", "fc6", alexnet.GRID),
    *dense(r"classifier\.4", "fc7"),
    *dense(r"classifier\.6", "fc8"),
)


def vgg_torchvision(depth: int, use_batch_norm: bool = False) -> NameMap:
    """Returns the name map of a VGG of torchvision, whose layers are numbered.

    Args:
        depth: how many layers have weights.
        use_batch_norm: whether a batch norm follows every convolution.

    Raises:
        ValueError: if there is no VGG of this depth.

    Example:
        >>> [entry.path for entry in vgg_torchvision(11) if "8" in entry.pattern]
        ['params/conv3_2/kernel', 'params/conv3_2/bias',
         'params/conv5_2/kernel', 'params/conv5_2/bias']
    """
    if depth not in vgg.STAGES:
        depths = ", ".join(map(str, vgg.STAGES))
        raise ValueError(f"There is no VGG with depth={depth}. There are: {depths}.")
    entries: list[Entry] = []
    position = 0
    for stage, layers in enumerate(vgg.STAGES[depth], start=1):
        for layer in range(1, layers + 1):
            name = f"{stage}_{layer}"
            entries += convolution(rf"features\.{position}", f"conv{name}")
            if use_batch_norm:
                entries += batch_norm(rf"features\.{position + 1}", f"bn{name}")
            position += 3 if use_batch_norm else 2  # a relu has a number too
        position += 1  # and so has a pooling
    return (
        *entries,
        *_dense_after_grid(r"classifier\.0", "fc6", vgg.GRID),
        *dense(r"classifier\.3", "fc7"),
        *dense(r"classifier\.6", "fc8"),
    )


# --- ResNet ---------------------------------------------------------------------------

RESNET_TORCHVISION: NameMap = (
    *convolution("conv1", "conv1"),
    *batch_norm("bn1", "bn1"),
    *convolution(r"(layer\d)\.(\d+)\.(conv\d)", r"\1_\2/\3"),
    *batch_norm(r"(layer\d)\.(\d+)\.(bn\d)", r"\1_\2/\3"),
    *convolution(r"(layer\d)\.(\d+)\.downsample\.0", r"\1_\2/downsample_0"),
    *batch_norm(r"(layer\d)\.(\d+)\.downsample\.1", r"\1_\2/downsample_1"),
    *dense("fc", "fc"),
)


def _hugging_face_block(pattern: str, conv: str, norm: str) -> NameMap:
    return (
        *convolution(rf"{pattern}\.convolution", conv),
        *batch_norm(rf"{pattern}\.normalization", norm),
    )


def _hugging_face_stage(stage: int) -> NameMap:
    block = rf"resnet\.encoder\.stages\.{stage - 1}\.layers\.(\d+)"
    path = rf"layer{stage}_\1"
    return (
        *_hugging_face_block(
            rf"{block}\.shortcut", f"{path}/downsample_0", f"{path}/downsample_1"
        ),
        *(
            entry
            for i in (1, 2, 3)
            for entry in _hugging_face_block(
                rf"{block}\.layer\.{i - 1}", f"{path}/conv{i}", f"{path}/bn{i}"
            )
        ),
    )


RESNET_HUGGING_FACE: NameMap = (
    *_hugging_face_block(r"resnet\.embedder\.embedder", "conv1", "bn1"),
    *(entry for stage in (1, 2, 3, 4) for entry in _hugging_face_stage(stage)),
    *dense(r"classifier\.1", "fc"),
)


def _keras_layers(kind: str, paths: tuple[str, ...]) -> dict[str, str]:
    """The path of each layer by its name in Keras, which numbers layers of a kind."""
    return {f"{kind}_{i}" if i else kind: path for i, path in enumerate(paths)}


_RESNET8_CONVOLUTIONS = _keras_layers(
    "conv2d",
    (
        "conv1",
        "block1/conv1",
        "block1/conv2",
        "block2/conv1",
        "block2/conv2",
        "block2/shortcut",
        "block3/conv1",
        "block3/conv2",
        "block3/shortcut",
    ),
)
_RESNET8_BATCH_NORMS = _keras_layers(
    "batch_normalization",
    (
        "bn1",
        "block1/bn1",
        "block1/bn2",
        "block2/bn1",
        "block2/bn2",
        "block3/bn1",
        "block3/bn2",
    ),
)


def _keras_layer(
    layer: str, path: str, variables: tuple[tuple[str, str, str], ...]
) -> NameMap:
    """Returns the lines of a layer of Keras.

    `variables` has, for each variable, its name in Keras, our collection and our name.

    Keras itself calls a variable `layer/kernel`, `.h5` files `layer/layer/kernel`, and
    `.weights.h5` and `.keras` files `layers/layer/vars/0`, numbered in its order.
    """
    return tuple(
        Entry(
            rf"(?:{layer}/)?{layer}/{theirs}|layers/{layer}/vars/{i}",
            f"{collection}/{path}/{ours}",
        )
        for i, (theirs, collection, ours) in enumerate(variables)
    )


_KERAS_AFFINE = (("kernel", "params", "kernel"), ("bias", "params", "bias"))
_KERAS_BATCH_NORM = (
    ("gamma", "params", "scale"),
    ("beta", "params", "bias"),
    ("moving_mean", "batch_stats", "mean"),
    ("moving_variance", "batch_stats", "var"),
)
RESNET8_KERAS: NameMap = (
    *(
        line
        for layer, path in _RESNET8_CONVOLUTIONS.items()
        for line in _keras_layer(layer, path, _KERAS_AFFINE)
    ),
    *(
        line
        for layer, path in _RESNET8_BATCH_NORMS.items()
        for line in _keras_layer(layer, path, _KERAS_BATCH_NORM)
    ),
    *_keras_layer("dense", "fc", _KERAS_AFFINE),
)

# --- LeNet ----------------------------------------------------------------------------

LENET_TORCH: NameMap = (
    *convolution(r"convnet\.(c\d)", r"\1"),
    *dense(r"fc\.(f\d)", r"\1"),
)

# --- SqueezeNet -----------------------------------------------------------------------

SQUEEZENET_CAFFE: NameMap = (
    Entry("(conv1|conv10)/(kernel|bias)", r"params/\1/\2"),
    Entry(r"(fire\d)/(squeeze1x1|expand\dx\d)/(kernel|bias)", r"params/\1/\2/\3"),
)

# The numbers of the modules `fire2` to `fire9` in torchvision's list of layers.
_FIRE_POSITIONS = (3, 4, 6, 7, 9, 10, 11, 12)
SQUEEZENET_TORCHVISION: NameMap = (
    *convolution(r"features\.0", "conv1"),
    *(
        entry
        for fire, position in enumerate(_FIRE_POSITIONS, start=2)
        for entry in (
            *convolution(rf"features\.{position}\.squeeze", f"fire{fire}/squeeze1x1"),
            *convolution(rf"features\.{position}\.(expand\dx\d)", rf"fire{fire}/\1"),
        )
    ),
    *convolution(r"classifier\.1", "conv10"),
)

# --- GoogLeNet ------------------------------------------------------------------------


def _without_window(kernel: np.ndarray) -> np.ndarray:
    """Returns the kernel of a convolution of size 1 as a dense kernel."""
    return kernel[0, 0] if kernel.shape[:2] == (1, 1) else kernel


GOOGLENET_CAFFE: NameMap = (
    Entry("conv1/7x7_s2/(kernel|bias)", r"params/conv1/conv/\1"),
    Entry("conv2/3x3_reduce/(kernel|bias)", r"params/conv2_reduce/conv/\1"),
    Entry("conv2/3x3/(kernel|bias)", r"params/conv2/conv/\1"),
    Entry(r"(inception_\d\w)/(\w+)/(kernel|bias)", r"params/\1/\2/conv/\3"),
    Entry("loss3/classifier/kernel", "params/classifier/kernel", "", _without_window),
    Entry("loss3/classifier/bias", "params/classifier/bias"),
    Entry("loss[12]/.*", ""),  # the auxiliary heads, which only training needs
)


def _torchvision_block(pattern: str, path: str) -> NameMap:
    return (
        *convolution(rf"{pattern}\.conv", f"{path}/conv"),
        *batch_norm(rf"{pattern}\.bn", f"{path}/bn"),
    )


GOOGLENET_TORCHVISION: NameMap = (
    *_torchvision_block("conv1", "conv1"),
    *_torchvision_block("conv2", "conv2_reduce"),
    *_torchvision_block("conv3", "conv2"),
    *_torchvision_block(r"inception(\d\w)\.branch1", r"inception_\1/1x1"),
    *_torchvision_block(r"inception(\d\w)\.branch2\.0", r"inception_\1/3x3_reduce"),
    *_torchvision_block(r"inception(\d\w)\.branch2\.1", r"inception_\1/3x3"),
    *_torchvision_block(r"inception(\d\w)\.branch3\.0", r"inception_\1/5x5_reduce"),
    *_torchvision_block(r"inception(\d\w)\.branch3\.1", r"inception_\1/5x5"),
    *_torchvision_block(r"inception(\d\w)\.branch4\.1", r"inception_\1/pool_proj"),
    *dense("fc", "classifier"),
    Entry(r"aux[12]\..*", ""),  # the auxiliary heads, which only training needs
)

# --- ConvNeXt -------------------------------------------------------------------------


def _convnext_stage(stage: int) -> NameMap:
    """The lines of a stage: layers that halve the image, and then blocks."""
    block, path = rf"features\.{2 * stage - 1}\.(\d+)", rf"stage{stage}_\1"
    halving = rf"features\.{2 * stage - 2}"
    return (
        *layer_norm(rf"{halving}\.0", f"downsample{stage}_norm"),
        *convolution(rf"{halving}\.1", f"downsample{stage}"),
        *convolution(rf"{block}\.block\.0", f"{path}/depthwise"),
        *layer_norm(rf"{block}\.block\.2", f"{path}/norm"),
        *dense(rf"{block}\.block\.3", f"{path}/expand"),
        *dense(rf"{block}\.block\.5", f"{path}/project"),
        Entry(rf"{block}\.layer_scale", f"params/{path}/scale", "", np.ravel),
    )


CONVNEXT_TORCHVISION: NameMap = (
    *convolution(r"features\.0\.0", "stem"),
    *layer_norm(r"features\.0\.1", "stem_norm"),
    *(entry for stage in (1, 2, 3, 4) for entry in _convnext_stage(stage)),
    *layer_norm(r"classifier\.0", "norm"),
    *dense(r"classifier\.2", "fc"),
)
