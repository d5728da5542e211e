"""The same methods in zennit, captum, lucent and lxt, where they are installed."""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np

# The networks of torchvision that are compared, and how they are made.
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "vgg16": {},
    "googlenet": {"aux_logits": False, "init_weights": False},
}
# What zennit needs to know of them. It finds relus by their modules, and torchvision's
# GoogLeNet calls a function instead: there it has no guided backpropagation or LRP.
CANONIZERS = {"resnet18": "ResNetCanonizer", "vgg16": "VGGCanonizer"}
# Thread counts at which a peer is tried.
THREADS = (1, 2, 4, 8)


def available() -> bool:
    """Whether torch, torchvision, zennit and captum can be imported."""
    try:
        import captum.attr
        import torchvision.models
        import zennit.composites
    except ImportError:
        return False
    return all((captum.attr, torchvision.models, zennit.composites))


def programs(
    name: str, batch: int, steps: int
) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Returns for each method the peer's name and its computation.

    Args:
        name: one of `NETWORKS`.
        batch: examples in the batch; integrated gradients take one.
        steps: of integrated gradients.
    """
    import torch
    from captum.attr import IntegratedGradients

    model = random_network(name)
    images = torch.randn(batch, 3, 224, 224)
    targets = torch.arange(batch)

    def forward() -> Any:
        with torch.no_grad():
            return model(images).numpy()

    def gradient() -> Any:
        x = images.clone().requires_grad_()
        model(x)[range(batch), targets].sum().backward()
        return x.grad.numpy()

    def integrated() -> Any:
        method = IntegratedGradients(model)
        return method.attribute(images[:1], target=0, n_steps=steps).detach().numpy()

    found = {
        "forward": ("torch", forward),
        "gradient": ("torch", gradient),
        f"integrated_gradients {steps} steps, 1 image": ("captum", integrated),
    }
    if name in CANONIZERS:
        found |= _of_zennit(name, model, images, torch.eye(1000)[targets])
    use_fastest_threads(gradient)
    return found


def lucent_available() -> bool:
    """Whether torch, torchvision and lucent can be imported."""
    try:
        import lucent.optvis.render
        import torchvision.models
    except ImportError:
        return False
    return all((lucent.optvis.render, torchvision.models))


def lucent_versions() -> str:
    """Returns the versions of what lucent's time depends on."""
    names = ("torch-lucent", "kornia", "torchvision")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def random_network(name: str) -> Any:
    """Returns a network of torchvision, or the one for digits, with random weights.

    Args:
        name: one of `NETWORKS`, or `"digits"`.
    """
    import torch
    import torchvision.models

    torch.manual_seed(0)
    if name == "digits":
        return _digits_cnn().eval().requires_grad_(False)
    model = getattr(torchvision.models, name)(**NETWORKS[name])
    return model.eval().requires_grad_(False)


def _digits_cnn() -> Any:
    """Returns our small network for digits in torch."""
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 5 * 5, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def tensors(model: Any) -> dict[str, np.ndarray]:
    """Returns the weights of a network of torch.

    Args:
        model: the network.
    """
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def activation(model: Any, layer: str, images: np.ndarray) -> np.ndarray:
    """Returns what a layer computes, `(batch, height, width, channels)`.

    Args:
        model: of torch.
        layer: name of a module.
        images: inputs of the model, `(batch, height, width, channels)`.
    """
    import torch

    found = []
    module = model.get_submodule(layer)
    hook = module.register_forward_hook(lambda module, given, out: found.append(out))
    with torch.no_grad():
        model(torch.tensor(images).permute(0, 3, 1, 2))
    hook.remove()
    return found[0].numpy().transpose(0, 2, 3, 1)


def lucent_images(
    model: Any,
    layer: str,
    channels: Sequence[int],
    steps: int,
    *,
    side: int,
    shown: int | None = None,
) -> np.ndarray:
    """Returns one image of lucent's for each channel, all optimized at once.

    All is lucent's default but the number of steps and the side: Fourier parameters,
    decorrelated colors, its transforms, Adam. It leaves hooks in the model, which is
    therefore copied, to the device where lucent's images are.

    Args:
        model: of torchvision.
        layer: lucent's name of a module.
        channels: of the layer.
        steps: how many.
        side: the side of the images, in pixels.
        shown: side of what the model is shown; by default lucent's own choice, 224 for
            images that are smaller.
    """
    from lucent.optvis import objectives, param, render, transform

    objective = objectives.Objective.sum(
        [objectives.channel(layer, c, batch=i) for i, c in enumerate(channels)]
    )
    return render.render_vis(
        copy.deepcopy(model).to(transform.device),
        objective,
        lambda: param.image(side, batch=len(channels)),
        thresholds=(steps,),
        progress=False,
        show_image=False,
        fixed_image_size=shown,
    )[0]


def lxt_available() -> bool:
    """Whether torch, transformers and lxt can be imported, and fit one another."""
    try:
        import lxt.efficient
        import transformers.models.gpt2
    except ImportError:
        return False
    return all((lxt.efficient, transformers.models.gpt2))


def random_gpt2(shape: Any) -> Any:
    """Returns a GPT-2 of transformers with random weights.

    Args:
        shape: its `vocabulary`, `width`, `depth` and `heads`.
    """
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shape.vocabulary,
        n_embd=shape.width,
        n_layer=shape.depth,
        n_head=shape.heads,
    )
    return transformers.GPT2LMHeadModel(config).eval().requires_grad_(False)


@contextlib.contextmanager
def lxt_rules() -> Iterator[None]:
    """Gives the classes of GPT-2 lxt's rules of AttnLRP, until the block ends."""
    from lxt.efficient import monkey_patch
    from torch import nn
    from transformers.models.gpt2 import modeling_gpt2

    replaced = (
        (modeling_gpt2.GPT2MLP, "forward"),
        (nn.LayerNorm, "forward"),
        (nn.Dropout, "forward"),
        (modeling_gpt2, "eager_attention_forward"),
        (modeling_gpt2, "ALL_ATTENTION_FUNCTIONS"),
    )
    with contextlib.ExitStack() as stack:
        for owner, name in replaced:
            own = getattr(owner, name)
            stack.enter_context(mock.patch.object(owner, name, own))
        monkey_patch(modeling_gpt2)
        yield


def gpt2_programs(
    model: Any, tokens: np.ndarray, every: bool
) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Returns for each method the peer's name and its computation, of class 0.

    Args:
        model: a GPT-2 of transformers.
        tokens: one text.
        every: whether it makes the logits of every position, and not of the last alone.
    """
    import torch

    ids = torch.tensor(tokens)

    def logits(embedded: Any) -> Any:
        options = {"use_cache": False, "logits_to_keep": 0 if every else 1}
        return model(inputs_embeds=embedded, **options).logits[:, -1]

    def forward() -> Any:
        with torch.no_grad():
            return logits(model.transformer.wte(ids)).numpy()

    def pulled() -> tuple[Any, Any]:
        embedded = model.transformer.wte(ids).detach().requires_grad_()
        logits(embedded)[:, 0].sum().backward()
        return embedded.detach().numpy(), embedded.grad.numpy()

    places = model.transformer.wpe.weight[: tokens.shape[1]].numpy()

    def relevance() -> Any:
        with lxt_rules():
            embedded, gradient = pulled()
        # That of tokens and their places together, which ours hands to the tokens.
        return (embedded + places) * gradient

    use_fastest_threads(relevance)
    return {
        "forward": ("torch", forward),
        "gradient": ("torch", lambda: pulled()[1]),
        "lrp attn_lrp": ("lxt", relevance),
    }


def use_fastest_threads(run: Callable[[], Any]) -> None:
    """Lets torch use the number of threads at which something is fastest.

    Args:
        run: what is tried.
    """
    import torch

    torch.set_num_threads(_fastest_threads(run))


def _of_zennit(
    network: str, model: Any, images: Any, one_hot: Any
) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Returns the methods of zennit, each with its name."""
    import torch
    import zennit.torchvision
    from zennit import composites
    from zennit.attribution import Gradient

    canonizer = getattr(zennit.torchvision, CANONIZERS[network])

    def by_composite(composite: Any) -> tuple[str, Callable[[], Any]]:
        def run() -> Any:
            with Gradient(model, composite) as attributor:
                _, relevance = attributor(images, lambda out: out * one_hot)
            return relevance.numpy()

        return "zennit", run

    def with_canonizer(cls: Any, **kwargs: Any) -> tuple[str, Callable[[], Any]]:
        return by_composite(cls(canonizers=[canonizer()], **kwargs))

    low, high = torch.full((1, 3, 1, 1), -3.0), torch.full((1, 3, 1, 1), 3.0)
    return {
        "guided_backprop": by_composite(composites.GuidedBackprop()),
        "lrp epsilon_plus": with_canonizer(composites.EpsilonPlus),
        "lrp epsilon_plus_flat": with_canonizer(composites.EpsilonPlusFlat),
        "lrp epsilon_alpha2_beta1": with_canonizer(composites.EpsilonAlpha2Beta1),
        "lrp epsilon_alpha2_beta1_flat": with_canonizer(
            composites.EpsilonAlpha2Beta1Flat
        ),
        "lrp epsilon_gamma_box": with_canonizer(
            composites.EpsilonGammaBox, low=low, high=high
        ),
        "lrp excitation_backprop": with_canonizer(composites.ExcitationBackprop),
    }


def _fastest_threads(gradient: Callable[[], Any]) -> int:
    import os

    import torch

    times = {}
    for threads in THREADS:
        if threads > (os.cpu_count() or 1):
            break
        torch.set_num_threads(threads)
        gradient()
        start = time.perf_counter()
        gradient()
        gradient()
        times[threads] = time.perf_counter() - start
    return min(times, key=lambda threads: times[threads])
