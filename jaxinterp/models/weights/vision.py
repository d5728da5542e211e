r"""Name maps of image networks: torchvision's checkpoints, Caffe's and Keras's.

A map is a value that `fill` takes beside the shapes of the model's variables. Torch has
kernels `(out, in, height, width)` and dense kernels `(out, in)`; ours are `(height,
width, in, out)` and `(in, out)`. Torch flattens features channels first and ours are
flattened channels last, so the first dense kernel after a flattening is permuted here,
and the network itself needs no transposition that an explanation had to pass.

Files in Caffe's and Keras's names have our layout already.
"""

from __future__ import annotations

import numpy as np

from jaxinterp.models import alexnet, vgg
from jaxinterp.models.weights.names import Convert, Entry, NameMap

# --- What one layer of torch becomes --------------------------------------------------


def _convolution(pattern: str, path: str) -> NameMap:
    return (
        Entry(rf"{pattern}\.weight", f"params/{path}/kernel", "oihw->hwio"),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias"),
    )


def _dense(pattern: str, path: str) -> NameMap:
    return (
        Entry(rf"{pattern}\.weight", f"params/{path}/kernel", "oi->io"),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias"),
    )


def _dense_after_grid(pattern: str, path: str, side: int) -> NameMap:
    """A dense layer that reads flattened features of `side` x `side` positions."""
    return (
        Entry(
            rf"{pattern}\.weight",
            f"params/{path}/kernel",
            convert=_channels_last(side),
        ),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias"),
    )


def _channels_last(side: int) -> Convert:
    """Returns `(out, channels * side * side) -> (side * side * channels, out)`."""

    def convert(kernel: np.ndarray) -> np.ndarray:
        if kernel.ndim != 2 or kernel.shape[1] % side**2:
            return kernel.T  # `fill` says which shape was needed
        grid = kernel.reshape(kernel.shape[0], -1, side, side)
        return grid.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])

    return convert


def _batch_norm(pattern: str, path: str) -> NameMap:
    return (
        Entry(rf"{pattern}\.weight", f"params/{path}/scale"),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias"),
        Entry(rf"{pattern}\.running_mean", f"batch_stats/{path}/mean"),
        Entry(rf"{pattern}\.running_var", f"batch_stats/{path}/var"),
        Entry(rf"{pattern}\.num_batches_tracked", ""),
    )


def _layer_norm(pattern: str, path: str) -> NameMap:
    return (
        Entry(rf"{pattern}\.weight", f"params/{path}/scale"),
        Entry(rf"{pattern}\.bias", f"params/{path}/bias"),
    )


# --- AlexNet and VGG ------------------------------------------------------------------

ALEXNET_TORCHVISION: NameMap = (
    *_convolution(r"features\.0", "conv1"),
    *_convolution(r"features\.3", "conv2"),
    *_convolution(r"features\.6", "conv3"),
    *_convolution(r"features\.8", "conv4"),
    *_convolution(r"features\.10", "conv5"),
    *_dense_after_grid(r"classifier\.1", "fc6", alexnet.GRID),
    *_dense(r"classifier\.4", "fc7"),
    *_dense(r"classifier\.6", "fc8"),
)


def vgg_torchvision(depth: int, use_batch_norm: bool = False) -> NameMap:
    """Returns the name map of a VGG of torchvision, whose layers are only counted.

    Args:
        depth: number of layers with weights.
        use_batch_norm: whether a batch norm follows every convolution.

    Raises:
        ValueError: if there is no VGG of this depth.

    Example:
        >>> [entry.path for entry in vgg_torchvision(11) if "8" in entry.pattern]
        ['params/conv3_2/kernel', 'params/conv3_2/bias',
         'params/conv5_2/kernel', 'params/conv5_2/bias']
    """
    if depth not in vgg.STAGES:
        known = ", ".join(map(str, vgg.STAGES))
        raise ValueError(f"There is no VGG with depth={depth}. There are: {known}.")
    entries: list[Entry] = []
    position = 0
    for stage, layers in enumerate(vgg.STAGES[depth], start=1):
        for layer in range(1, layers + 1):
            name = f"{stage}_{layer}"
            entries += _convolution(rf"features\.{position}", f"conv{name}")
            if use_batch_norm:
                entries += _batch_norm(rf"features\.{position + 1}", f"bn{name}")
            position += 3 if use_batch_norm else 2  # a relu counts too
        position += 1  # and so does a pooling
    return (
        *entries,
        *_dense_after_grid(r"classifier\.0", "fc6", vgg.GRID),
        *_dense(r"classifier\.3", "fc7"),
        *_dense(r"classifier\.6", "fc8"),
    )


# --- ResNet ---------------------------------------------------------------------------

RESNET_TORCHVISION: NameMap = (
    *_convolution("conv1", "conv1"),
    *_batch_norm("bn1", "bn1"),
    *_convolution(r"(layer\d)\.(\d+)\.(conv\d)", r"\1_\2/\3"),
    *_batch_norm(r"(layer\d)\.(\d+)\.(bn\d)", r"\1_\2/\3"),
    *_convolution(r"(layer\d)\.(\d+)\.downsample\.0", r"\1_\2/downsample_0"),
    *_batch_norm(r"(layer\d)\.(\d+)\.downsample\.1", r"\1_\2/downsample_1"),
    *_dense("fc", "fc"),
)


def _hugging_face_block(pattern: str, convolution: str, norm: str) -> NameMap:
    return (
        *_convolution(rf"{pattern}\.convolution", convolution),
        *_batch_norm(rf"{pattern}\.normalization", norm),
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
    *_dense(r"classifier\.1", "fc"),
)


def _keras_layers(kind: str, places: tuple[str, ...]) -> dict[str, str]:
    """Keras numbers layers of a kind in the order in which they were made."""
    return {f"{kind}_{i}" if i else kind: place for i, place in enumerate(places)}


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
RESNET8_KERAS: NameMap = (
    *(
        Entry(f"{name}/(kernel|bias)", rf"params/{place}/\1")
        for name, place in _RESNET8_CONVOLUTIONS.items()
    ),
    *(
        Entry(f"{name}/{theirs}", f"{collection}/{place}/{ours}")
        for name, place in _RESNET8_BATCH_NORMS.items()
        for theirs, collection, ours in (
            ("gamma", "params", "scale"),
            ("beta", "params", "bias"),
            ("moving_mean", "batch_stats", "mean"),
            ("moving_variance", "batch_stats", "var"),
        )
    ),
    Entry("dense/(kernel|bias)", r"params/fc/\1"),
)

# --- LeNet ----------------------------------------------------------------------------

LENET_TORCH: NameMap = (
    *_convolution(r"convnet\.(c\d)", r"\1"),
    *_dense(r"fc\.(f\d)", r"\1"),
)

# --- SqueezeNet -----------------------------------------------------------------------

SQUEEZENET_CAFFE: NameMap = (
    Entry("(conv1|conv10)/(kernel|bias)", r"params/\1/\2"),
    Entry(r"(fire\d)/(squeeze1x1|expand\dx\d)/(kernel|bias)", r"params/\1/\2/\3"),
)

# Where the modules `fire2` to `fire9` stand in torchvision's list of layers.
_FIRE_POSITIONS = (3, 4, 6, 7, 9, 10, 11, 12)
SQUEEZENET_TORCHVISION: NameMap = (
    *_convolution(r"features\.0", "conv1"),
    *(
        entry
        for fire, position in enumerate(_FIRE_POSITIONS, start=2)
        for entry in (
            *_convolution(rf"features\.{position}\.squeeze", f"fire{fire}/squeeze1x1"),
            *_convolution(rf"features\.{position}\.(expand\dx\d)", rf"fire{fire}/\1"),
        )
    ),
    *_convolution(r"classifier\.1", "conv10"),
)

# --- GoogLeNet ------------------------------------------------------------------------


def _without_window(kernel: np.ndarray) -> np.ndarray:
    """Returns the dense kernel that a convolution of size 1 is."""
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
        *_convolution(rf"{pattern}\.conv", f"{path}/conv"),
        *_batch_norm(rf"{pattern}\.bn", f"{path}/bn"),
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
    *_dense("fc", "classifier"),
    Entry(r"aux[12]\..*", ""),  # the auxiliary heads, which only training needs
)

# --- ConvNeXt -------------------------------------------------------------------------


def _convnext_stage(stage: int) -> NameMap:
    """Blocks, and before them the layers that halve the image, alternate."""
    block, path = rf"features\.{2 * stage - 1}\.(\d+)", rf"stage{stage}_\1"
    halving = rf"features\.{2 * stage - 2}"
    return (
        *_layer_norm(rf"{halving}\.0", f"downsample{stage}_norm"),
        *_convolution(rf"{halving}\.1", f"downsample{stage}"),
        *_convolution(rf"{block}\.block\.0", f"{path}/depthwise"),
        *_layer_norm(rf"{block}\.block\.2", f"{path}/norm"),
        *_dense(rf"{block}\.block\.3", f"{path}/expand"),
        *_dense(rf"{block}\.block\.5", f"{path}/project"),
        Entry(rf"{block}\.layer_scale", f"params/{path}/scale", "", np.ravel),
    )


CONVNEXT_TORCHVISION: NameMap = (
    *_convolution(r"features\.0\.0", "stem"),
    *_layer_norm(r"features\.0\.1", "stem_norm"),
    *(entry for stage in (1, 2, 3, 4) for entry in _convnext_stage(stage)),
    *_layer_norm(r"classifier\.0", "norm"),
    *_dense(r"classifier\.2", "fc"),
)
