"""Name maps of timm's image networks, whose weights the Hugging Face hub has.

timm's ResNets have torchvision's names. Its VGG and ConvNeXt have others; both maps
read torchvision's files as well, since no name means two things.
"""

from __future__ import annotations

import numpy as np

from jaxinterp.models.weights.names import Entry, NameMap
from jaxinterp.models.weights.vision import CONVNEXT_TORCHVISION, vgg_torchvision


def _dense_of_window(kernel: np.ndarray) -> np.ndarray:
    """Returns the dense kernel that reads what a convolution's window sees at once."""
    return kernel.reshape(-1, kernel.shape[-1])


def vgg_timm(depth: int, use_batch_norm: bool = False) -> NameMap:
    r"""Returns the name map of a VGG of timm or torchvision.

    timm has the first two dense layers as convolutions over the whole grid.

    Args:
        depth: number of layers with weights.
        use_batch_norm: whether a batch norm follows every convolution.

    Raises:
        ValueError: if there is no VGG of this depth.

    Example:
        >>> [e.pattern for e in vgg_timm(11) if e.path == "params/fc8/bias"]
        ['classifier\\.6\\.bias', 'head\\.fc\\.bias']
    """
    dense = (("1", "6"), ("2", "7"))
    return (
        *vgg_torchvision(depth, use_batch_norm),
        *(
            Entry(
                rf"pre_logits\.fc{theirs}\.weight",
                f"params/fc{ours}/kernel",
                "oihw->hwio",
                _dense_of_window,
            )
            for theirs, ours in dense
        ),
        *(
            Entry(rf"pre_logits\.fc{theirs}\.bias", f"params/fc{ours}/bias")
            for theirs, ours in dense
        ),
        Entry(r"head\.fc\.weight", "params/fc8/kernel", "oi->io"),
        Entry(r"head\.fc\.bias", "params/fc8/bias"),
    )


def _convnext_stage(stage: int) -> NameMap:
    block, path = rf"stages\.{stage - 1}\.blocks\.(\d+)", rf"params/stage{stage}_\1"
    halving = rf"stages\.{stage - 1}\.downsample"
    return (
        Entry(rf"{halving}\.0\.weight", f"params/downsample{stage}_norm/scale"),
        Entry(rf"{halving}\.0\.bias", f"params/downsample{stage}_norm/bias"),
        Entry(
            rf"{halving}\.1\.weight", f"params/downsample{stage}/kernel", "oihw->hwio"
        ),
        Entry(rf"{halving}\.1\.bias", f"params/downsample{stage}/bias"),
        Entry(rf"{block}\.conv_dw\.weight", f"{path}/depthwise/kernel", "oihw->hwio"),
        Entry(rf"{block}\.conv_dw\.bias", f"{path}/depthwise/bias"),
        Entry(rf"{block}\.norm\.weight", f"{path}/norm/scale"),
        Entry(rf"{block}\.norm\.bias", f"{path}/norm/bias"),
        Entry(rf"{block}\.mlp\.fc1\.weight", f"{path}/expand/kernel", "oi->io"),
        Entry(rf"{block}\.mlp\.fc1\.bias", f"{path}/expand/bias"),
        Entry(rf"{block}\.mlp\.fc2\.weight", f"{path}/project/kernel", "oi->io"),
        Entry(rf"{block}\.mlp\.fc2\.bias", f"{path}/project/bias"),
        Entry(rf"{block}\.gamma", f"{path}/scale"),
    )


CONVNEXT_TIMM: NameMap = (
    *CONVNEXT_TORCHVISION,
    Entry(r"stem\.0\.weight", "params/stem/kernel", "oihw->hwio"),
    Entry(r"stem\.0\.bias", "params/stem/bias"),
    Entry(r"stem\.1\.weight", "params/stem_norm/scale"),
    Entry(r"stem\.1\.bias", "params/stem_norm/bias"),
    *(entry for stage in (1, 2, 3, 4) for entry in _convnext_stage(stage)),
    Entry(r"head\.norm\.weight", "params/norm/scale"),
    Entry(r"head\.norm\.bias", "params/norm/bias"),
    Entry(r"head\.fc\.weight", "params/fc/kernel", "oi->io"),
    Entry(r"head\.fc\.bias", "params/fc/bias"),
)
