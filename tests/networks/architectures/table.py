"""All architectures, in one table."""

from . import (
    convnext,
    densenet,
    googlenet,
    llama,
    mixer,
    mlp,
    mobilenet,
    nnx_models,
    recurrent,
    resnet,
    transformer,
    unet,
    vgg,
)
from .architecture import Architecture

TABLE: tuple[Architecture, ...] = (
    *mlp.ENTRIES,
    *vgg.ENTRIES,
    *resnet.ENTRIES,
    *densenet.ENTRIES,
    *unet.ENTRIES,
    *googlenet.ENTRIES,
    *mobilenet.ENTRIES,
    *convnext.ENTRIES,
    *transformer.ENTRIES,
    *llama.ENTRIES,
    *recurrent.ENTRIES,
    *mixer.ENTRIES,
    *nnx_models.ENTRIES,
)

LARGE = {
    *("vgg11_bn", "resnet18", "resnet50", "densenet", "googlenet", "mobilenet"),
    *("unet", "unet_resize", "mixer", "vit", "nnx_transformer"),
}
# Of the kinds of layers that these have, the large ones have many.
SMALL = [entry for entry in TABLE if entry.name not in LARGE]
