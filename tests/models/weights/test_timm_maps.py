"""Networks of timm, small and with random weights, have our logits through `load`."""

import jax
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.weights import CATALOG
from jaxinterp.models.weights.timm_maps import CONVNEXT_TIMM, vgg_timm

WIDTHS = (8, 8, 16, 16, 16)
# How timm writes down VGG 11: the width of each layer, and M where features are pooled.
VGG11 = [8, "M", 8, "M", 16, 16, "M", 16, 16, "M", 16, 16, "M"]


def timm_vgg(use_batch_norm):
    vgg = pytest.importorskip("timm.models.vgg")
    nn = pytest.importorskip("torch").nn
    return vgg.VGG(
        VGG11,
        num_classes=7,
        norm_layer=nn.BatchNorm2d if use_batch_norm else None,
    )


def timm_convnext():
    convnext = pytest.importorskip("timm.models.convnext")
    return convnext.ConvNeXt(
        depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=7, ls_init_value=1.0
    )


def timm_resnet():
    resnet = pytest.importorskip("timm.models.resnet")
    return resnet.ResNet(resnet.Bottleneck, (1, 2, 1, 1), num_classes=7)


def timm_vit():
    transformer = pytest.importorskip("timm.models.vision_transformer")
    return transformer.VisionTransformer(
        img_size=64, embed_dim=24, depth=2, num_heads=3, num_classes=7
    )


NETWORKS = {
    "vgg11": (
        lambda: timm_vgg(False),
        ji.models.VGG(11, False, 7, WIDTHS),
        vgg_timm(11),
        224,
    ),
    "vgg11_bn": (
        lambda: timm_vgg(True),
        ji.models.VGG(11, True, 7, WIDTHS),
        vgg_timm(11, use_batch_norm=True),
        224,
    ),
    "convnext_tiny": (
        timm_convnext,
        ji.models.ConvNeXt(7, (1, 1, 2, 1), (8, 16, 24, 32)),
        CONVNEXT_TIMM,
        64,
    ),
    "resnet50": (
        timm_resnet,
        ji.models.ResNet(50, 7, stages=(1, 2, 1, 1)),
        "resnet50",
        64,
    ),
    "vit_b16": (
        timm_vit,
        ji.models.ViT(image_size=64, width=24, depth=2, heads=3, classes=7),
        "vit_b16",
        64,
    ),
}


@pytest.mark.peers
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_timm_have_the_same_logits(name, tmp_path):
    torch = pytest.importorskip("torch")
    build, model, name_map, size = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    original = build().eval()
    with torch.no_grad():
        for tensor in original.state_dict().values():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                if tensor.ndim > 1:
                    tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
                else:  # variances and scales stay positive
                    tensor.add_(0.2 * noise.clip(-2, 2))
        images = np.random.default_rng(1).normal(size=(2, size, size, 3))
        images = images.astype(np.float32)
        theirs = original(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    pytest.importorskip("safetensors.torch").save_file(
        original.state_dict(), tmp_path / "model.safetensors"
    )
    loaded = ji.models.load(
        tmp_path / "model.safetensors", model=model, name_map=name_map, inputs=images
    )
    ours = jax.jit(loaded.apply_fn)(loaded.variables, images)
    scale = np.abs(theirs).max()
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-3 * scale  # the image matters
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-4)


@pytest.mark.peers
@pytest.mark.parametrize(
    "name", [n for n, a in CATALOG.items() if a.hub and a.hub[0].startswith("timm/")]
)
def test_the_repositories_on_the_hub_are_those_that_timm_names(name):
    timm = pytest.importorskip("timm")
    entry = CATALOG[name]
    settings = timm.get_pretrained_cfg(entry.hub.repository.removeprefix("timm/"))
    assert settings.hf_hub_id == entry.hub.repository
    assert settings.input_size[1:] == entry.preprocess.size
    for ours, theirs in (
        (entry.preprocess.mean, settings.mean),
        (entry.preprocess.std, settings.std),
    ):
        np.testing.assert_allclose(np.broadcast_to(ours, 3), theirs)
