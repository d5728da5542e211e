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
