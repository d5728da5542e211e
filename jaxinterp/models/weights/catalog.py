"""The catalog: every checkpoint that `load` knows by name, with one entry each.

An entry has all that `load` needs: the network, where each tensor goes, how inputs are
made, what outputs mean, and where the file is. No checksum is pinned: a file of the hub
is verified against the checksum that the hub states, or against `load(...,
sha256=...)`. The docstring of `load` says which entries were verified. The names of
ImageNet's classes are not part of this package; `load(..., class_names=path)` reads
them from a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.models.architectures.alexnet import AlexNet
from jaxinterp.models.architectures.bert import Bert
from jaxinterp.models.architectures.convnext import ConvNeXt
from jaxinterp.models.architectures.googlenet import GoogLeNet
from jaxinterp.models.architectures.lenet import LeNet
from jaxinterp.models.architectures.llama import Llama
from jaxinterp.models.architectures.mlp import MLPGenerator
from jaxinterp.models.architectures.resnet import ResNet, ResNet8
from jaxinterp.models.architectures.squeezenet import SqueezeNet
from jaxinterp.models.architectures.transformer import Transformer
from jaxinterp.models.architectures.vgg import VGG
from jaxinterp.models.architectures.vit import ViT
from jaxinterp.models.weights import transformer_maps, vision_maps
from jaxinterp.models.weights.hub import HubFile
from jaxinterp.models.weights.name_map import NameMap
from jaxinterp.models.weights.preprocess import (
    CAFFE,
    CIFAR_0_255,
    HALF,
    IMAGENET,
    LENET,
    TokenIds,
)
from jaxinterp.models.weights.timm_maps import CONVNEXT_TIMM, vgg_timm

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
DIGITS = tuple("0123456789")


class Architecture(NamedTuple):
    """An entry of the catalog: a network, and how to use its weights.

    Attributes:
        module: the network as a linen module.
        inputs: shape and dtype of a batch of one example.
        name_map: where each tensor goes, or a function from the module to a name map.
        preprocess: a function from images or tokens to inputs, if they need one.
        class_names: the name of the class of each output, if that is known.
        hub: the file of the weights on the hub, if they are there.
        origin: if they are not on the hub, a description of the file that has them.
    """

    module: Any
    inputs: Any
    name_map: NameMap | Callable[[Any], NameMap]
    preprocess: Callable[[Any], Any] | None = None
    class_names: tuple[str, ...] | None = None
    hub: HubFile | None = None
    origin: str = ""


def _images(size: int, channels: int = 3) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)


_TOKENS = jax.ShapeDtypeStruct((1, 8), jnp.int32)
_LATENT = jax.ShapeDtypeStruct((1, 64), jnp.float32)


def _resnets() -> dict[str, Architecture]:
    return {
        f"resnet{depth}": Architecture(
            ResNet(depth),
            _images(224),
            vision_maps.RESNET_TORCHVISION,
            IMAGENET,
            hub=HubFile(f"timm/resnet{depth}.tv_in1k"),
        )
        for depth in (18, 34, 50, 101)
    }


def _vggs() -> dict[str, Architecture]:
    return {
        f"vgg{depth}{suffix}": Architecture(
            VGG(depth, use_batch_norm=bool(suffix)),
            _images(224),
            vgg_timm(depth, use_batch_norm=bool(suffix)),
            IMAGENET,
            hub=HubFile(f"timm/vgg{depth}{suffix}.tv_in1k"),
        )
        for depth in (11, 13, 16, 19)
        for suffix in ("", "_bn")
    }


CATALOG: Mapping[str, Architecture] = {
    **_resnets(),
    **_vggs(),
    "resnet50_hf": Architecture(
        ResNet(50),
        _images(224),
        vision_maps.RESNET_HUGGING_FACE,
        IMAGENET,
        hub=HubFile("microsoft/resnet-50"),
    ),
    "alexnet": Architecture(
        AlexNet(),
        _images(224),
        vision_maps.ALEXNET_TORCHVISION,
        IMAGENET,
        origin="torchvision's `alexnet`",
    ),
    "squeezenet1_1": Architecture(
        SqueezeNet(),
        _images(224),
        vision_maps.SQUEEZENET_TORCHVISION,
        IMAGENET,
        origin="torchvision's `squeezenet1_1`",
    ),
    "squeezenet_caffe": Architecture(
        SqueezeNet(),
        _images(227),
        vision_maps.SQUEEZENET_CAFFE,
        dataclasses.replace(CAFFE, size=(227, 227)),
        origin="its authors' SqueezeNet 1.1 in Caffe's names, kernels HWIO",
    ),
    "googlenet": Architecture(
        GoogLeNet(variant="torchvision"),
        _images(224),
        vision_maps.GOOGLENET_TORCHVISION,
        HALF,
        origin="torchvision's `googlenet`",
    ),
    "googlenet_caffe": Architecture(
        GoogLeNet(),
        _images(224),
        vision_maps.GOOGLENET_CAFFE,
        CAFFE,
        origin="BVLC's GoogLeNet in Caffe's names, kernels HWIO",
    ),
    "convnext_tiny": Architecture(
        ConvNeXt(),
        _images(224),
        CONVNEXT_TIMM,
        IMAGENET,
        hub=HubFile("timm/convnext_tiny.fb_in1k"),
    ),
    "vit_b16": Architecture(
        ViT(),
        _images(224),
        transformer_maps.timm_vit,
        HALF,
        hub=HubFile("timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"),
    ),
    "vit_b16_hf": Architecture(
        ViT(norm_epsilon=1e-12),
        _images(224),
        transformer_maps.hf_vit,
        HALF,
        hub=HubFile("google/vit-base-patch16-224"),
    ),
    "resnet8_cifar10": Architecture(
        ResNet8(),
        _images(32),
        vision_maps.RESNET8_KERAS,
        CIFAR_0_255,
        CIFAR10_CLASSES,
        origin="ResNet-8 of MLPerf Tiny in Keras' names",
    ),
    "lenet_mnist": Architecture(
        LeNet(),
        _images(32, channels=1),
        vision_maps.LENET_TORCH,
        LENET,
        DIGITS,
        origin="a LeNet-5 trained in PyTorch",
    ),
    "mlp_gan_mnist": Architecture(
        MLPGenerator(),
        _LATENT,
        transformer_maps.MLP_GAN_MNIST,
        origin="a generator trained in PyTorch, layers 0, 2 and 4 of a Sequential",
    ),
    "gpt2": Architecture(
        Transformer(),
        _TOKENS,
        transformer_maps.hf_gpt2,
        TokenIds(50_257, 1024),
        hub=HubFile("openai-community/gpt2"),
    ),
    "bert": Architecture(
        Bert(classes=None),
        _TOKENS,
        transformer_maps.hf_bert,
        TokenIds(30_522, 512),
        hub=HubFile("google-bert/bert-base-uncased"),
    ),
    "tinyllama": Architecture(
        Llama(),
        _TOKENS,
        transformer_maps.hf_llama,
        TokenIds(32_000, 2048),
        hub=HubFile("TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
    ),
    "stories260k": Architecture(
        Llama(
            vocabulary=512,
            width=64,
            depth=5,
            heads=8,
            key_heads=4,
            mlp_width=172,
            is_tied=True,
        ),
        _TOKENS,
        transformer_maps.llama2c,
        TokenIds(512, 512),
        origin="llama2.c's stories260K.bin",
    ),
}
