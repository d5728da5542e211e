"""What feature visualization is timed on: one network, here and in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import peers
from jaxinterp import capture
from jaxinterp import featurevis as fv
from jaxinterp.models import GoogLeNet, Preprocess, with_preprocess
from jaxinterp.models.architectures.googlenet import INCEPTIONS
from jaxinterp.models.weights.name_map import fill
from jaxinterp.models.weights.vision_maps import GOOGLENET_TORCHVISION
from tests.networks.architectures import as_dtype, randomize

# Lucent's preprocessing for networks of torchvision.
IMAGENET = Preprocess(None, "RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Subject(NamedTuple):
    """What is looked at.

    Attributes:
        name: of the network.
        apply_fn: the model of images in [0, 1].
        variables: its weights.
        site: of the layer whose channels are visualized.
        channels: how many it has.
        sites: layers whose costs are compared, from the first to the last.
        side: the side of the images, in pixels.
        transforms: what images have to withstand.
        peer: the same network of torch, with the same weights; `None` without torch.
        layer: torch's name of the site.
    """

    name: str
    apply_fn: Callable[..., Any]
    variables: Any
    site: str
    channels: int
    sites: tuple[str, ...]
    side: int = 128
    transforms: tuple[fv.Transform, ...] = (fv.recipe("lucid"),)
    peer: Any = None
    layer: str = ""


def googlenet(*, with_peer: bool = True) -> Subject:
    """Returns torchvision's GoogLeNet with random weights: torch's own where it is.

    Args:
        with_peer: whether to look for torch and lucent at all.

    Raises:
        RuntimeError: if torch's network computes something else.
    """
    module = GoogLeNet(variant="torchvision")
    inputs = jax.random.normal(jax.random.key(0), (1, 128, 128, 3), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
    names = tuple(f"inception_{name}" for name, _ in INCEPTIONS)
    site, layer = "inception_4a", "inception4a"
    model = with_preprocess(module.apply, IMAGENET)
    subject = Subject("googlenet", model, None, site, 512, ("conv2", *names))
    if not (with_peer and peers.lucent_available()):
        variables = as_dtype(randomize(shapes, jax.random.key(1)), jnp.float32)
        return subject._replace(variables=variables)
    peer = peers.random_network("googlenet")
    tensors = peers.tensors(peer)
    variables = fill(shapes, tensors, GOOGLENET_TORCHVISION, source="torchvision")
    _, found = capture(module.apply, site)(variables, inputs)
    (value,) = found.values()
    theirs = peers.activation(peer, layer, np.asarray(inputs))
    error = np.abs(value - theirs).max() / np.abs(theirs).max()
    if not error < 1e-3:
        raise RuntimeError(
            f"{site} and torch's {layer} are not the same: they differ by {error:.1e} "
            "of the largest activation, and should by less than 1e-3."
        )
    return subject._replace(variables=variables, peer=peer, layer=layer)


def maximized(
    subject: Subject, objective: fv.Objective, steps: int, **options: Any
) -> fv.Result:
    """Maximizes an objective as lucent does by default.

    Args:
        subject: the network.
        objective: of it.
        steps: how many.
        **options: of `maximize`, in place of these.
    """
    settings = {
        "key": jax.random.key(0),
        "parametrization": fv.fourier((subject.side, subject.side, 3)),
        "transforms": subject.transforms,
        "progress": False,
    } | options
    variables = settings.pop("variables", subject.variables)
    return fv.maximize(subject.apply_fn, objective, variables, steps=steps, **settings)


def channels(subject: Subject, count: int, first: int = 0) -> fv.Objective:
    """Returns the objective of some channels of the layer.

    Args:
        subject: the network.
        count: how many.
        first: the first of them.
    """
    return fv.channel(subject.site, np.arange(first, first + count) % subject.channels)
