"""The same methods in zennit and captum, where they are installed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

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
    network: str, batch: int, steps: int
) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Returns for each method the peer's name and its computation.

    Args:
        network: one of `NETWORKS`.
        batch: examples in the batch; integrated gradients take one.
        steps: of integrated gradients.
    """
    import torch
    import torchvision.models
    from captum.attr import IntegratedGradients

    torch.manual_seed(0)
    build = getattr(torchvision.models, network)
    model = build(**NETWORKS[network]).eval().requires_grad_(False)
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
    if network in CANONIZERS:
        found |= _of_zennit(network, model, images, torch.eye(1000)[targets])
    torch.set_num_threads(_fastest_threads(gradient))
    return found


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
