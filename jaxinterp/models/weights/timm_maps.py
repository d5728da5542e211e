"""Name maps of image networks of timm, whose weights are on the Hugging Face hub.

The ResNets of timm have the names of torchvision. Its VGG and ConvNeXt have others;
both maps read the files of torchvision as well, since no name means two things.
"""

from __future__ import annotations

import numpy as np

from jaxinterp.models.weights.name_map import Entry, NameMap
from jaxinterp.models.weights.torch_layers import convolution, dense, layer_norm
from jaxinterp.models.weights.vision_maps import CONVNEXT_TORCHVISION, vgg_torchvision


def _dense_of_window(kernel: np.ndarray) -> np.ndarray:
    """Returns the dense kernel that reads the window of a convolution, flattened."""
    return kernel.reshape(-1, kernel.shape[-1])


def vgg_timm(depth: int, use_batch_norm: bool = False) -> NameMap:
    r"""Returns the name map of a VGG of timm or torchvision.

    In timm the first two dense layers are convolutions over the whole grid.

    Args:
        depth: how many layers have weights.
        use_batch_norm: whether a batch norm follows every convolution.

    Raises:
        ValueError: if there is no VGG of this depth.

    Example:
        >>> [e.pattern for e in vgg_timm(11) if e.path == "params/fc8/bias"]
        ['classifier\\.6\\.bias', 'head\\.fc\\.bias']
    """
    return (
        *vgg_torchvision(depth, use_batch_norm),
        *convolution(r"pre_logits\.fc1", "fc6", _dense_of_window),
        *convolution(r"pre_logits\.fc2", "fc7", _dense_of_window),
        *dense(r"head\.fc", "fc8"),
    )


def _convnext_stage(stage: int) -> NameMap:
    block, path = rf"stages\.{stage - 1}\.blocks\.(\d+)", rf"stage{stage}_\1"
    halving = rf"stages\.{stage - 1}\.downsample"
    return (
        *layer_norm(rf"{halving}\.0", f"downsample{stage}_norm"),
        *convolution(rf"{halving}\.1", f"downsample{stage}"),
        *convolution(rf"{block}\.conv_dw", f"{path}/depthwise"),
        *layer_norm(rf"{block}\.norm", f"{path}/norm"),
        *dense(rf"{block}\.mlp\.fc1", f"{path}/expand"),
        *dense(rf"{block}\.mlp\.fc2", f"{path}/project"),
        Entry(rf"{block}\.gamma", f"params/{path}/scale"),
    )


CONVNEXT_TIMM: NameMap = (
    *CONVNEXT_TORCHVISION,
    *convolution(r"stem\.0", "stem"),
    *layer_norm(r"stem\.1", "stem_norm"),
    *(entry for stage in (1, 2, 3, 4) for entry in _convnext_stage(stage)),
    *layer_norm(r"head\.norm", "norm"),
    *dense(r"head\.fc", "fc"),
)
