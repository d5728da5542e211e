"""Times attribution methods of one image against those of the peers, and their floor.

`python -m experiments.benchmarks.compared --help` lists the options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji
from experiments.benchmarks import peers, timing
from experiments.benchmarks.attribution import NETWORKS, RESULTS
from jaxinterp.perturbation import grid_segments
from tests.networks.architectures import as_dtype, randomize

# The last layer with positions, ours and the peers'.
SITES = {
    "resnet18": ("ResNet/BasicBlock_7/relu_1", "layer4"),
    "googlenet": ("GoogLeNet/inception_5b", "inception5b"),
    "digits": ("DigitsCNN/relu_1", "4"),
}
STEPS, SAMPLES, PARTS, CHUNK = 20, 64, 10, 16


class Ours(NamedTuple):
    """What our functions are made of.

    Attributes:
        apply_fn: the model.
        site: of the last layer with positions.
        side: of the images, in pixels.
        channels: of the images.
    """

    apply_fn: Callable[..., Any]
    site: str
    side: int
    channels: int

    def black(self) -> Any:
        """Returns the background of one image."""
        return jnp.zeros((1, self.side, self.side, self.channels), jnp.float32)


class Theirs(NamedTuple):
    """What the peers' functions are made of.

    Attributes:
        model: of torch.
        layer: its last layer with positions.
        images: one image, `(1, channels, side, side)`.
    """

    model: Any
    layer: Any
    images: Any


class Compared(NamedTuple):
    """A method here and in a peer; both explain class 0 of one image.

    Attributes:
        ours: returns a function of `(variables, inputs, target, key)`.
        owner: the peer.
        theirs: computes the attribution of the peer.
        floor: the forward and the backward passes that cannot be saved.
        networks: those on which the peer has it.
    """

    ours: Callable[[Ours], Callable[..., Any]]
    owner: str
    theirs: Callable[[Theirs], Any]
    floor: Callable[[int], tuple[int, int]]
    networks: tuple[str, ...] = tuple(SITES)


def passes(forward: int, backward: int = 0) -> Callable[[int], tuple[int, int]]:
    """Returns a floor that does not depend on the number of channels of the layer."""
    return lambda depth: (forward, backward)


def coarse(side: int) -> np.ndarray:
    """Returns 16 segments."""
    return grid_segments((side, side), -(-side // 4))


def coarsest(side: int) -> np.ndarray:
    """Returns 8 segments, all of whose coalitions are 256."""
    return coarse(side) // 2


# --- The peers ------------------------------------------------------------------------


def _captum(name: str, **options: Any) -> Callable[[Theirs], Any]:
    def run(peer: Theirs) -> Any:
        from captum import attr

        method = getattr(attr, name)(peer.model)
        return method.attribute(peer.images, target=0, **options).detach().numpy()

    return run


def _captum_gradient_shap(peer: Theirs) -> Any:
    options = {"baselines": 0 * peer.images, "n_samples": STEPS, "stdevs": 0.0}
    return _captum("GradientShap", **options)(peer)


def _captum_occlusion(peer: Theirs) -> Any:
    size = -(-peer.images.shape[-1] // 4)
    window = (peer.images.shape[1], size, size)
    return _captum(
        "Occlusion",
        sliding_window_shapes=window,
        strides=window,
        perturbations_per_eval=CHUNK,
    )(peer)


def _captum_kernel_shap(peer: Theirs) -> Any:
    import torch

    mask = torch.tensor(coarse(peer.images.shape[-1])).long()[None, None]
    return _captum(
        "KernelShap",
        feature_mask=mask,
        n_samples=SAMPLES + 2,
        perturbations_per_eval=CHUNK,
    )(peer)


def _captum_conductance(peer: Theirs) -> Any:
    from captum.attr import LayerConductance

    method = LayerConductance(peer.model, peer.layer)
    return method.attribute(peer.images, target=0, n_steps=PARTS).detach().numpy()


def _saliency(name: str, **options: Any) -> Callable[[Theirs], Any]:
    def run(peer: Theirs) -> Any:
        import saliency.core as saliency
        import torch

        def slopes(x: Any, call_model_args: Any = None, expected_keys: Any = None):
            images = torch.tensor(np.moveaxis(x, -1, 1), dtype=torch.float32)
            images.requires_grad_()
            peer.model(images)[:, 0].sum().backward()
            gradient = np.moveaxis(images.grad.numpy(), 1, -1)
            return {saliency.base.INPUT_OUTPUT_GRADIENTS: gradient}

        image = np.moveaxis(peer.images.numpy()[0], 0, -1)
        with mock.patch.object(np, "quantile", _old_quantile(np.quantile)):
            return getattr(saliency, name)().GetMask(image, slopes, **options)

    return run


def _old_quantile(quantile: Callable[..., Any]) -> Callable[..., Any]:
    """Gives back the argument of NumPy's that guided IG uses, and newer ones lack."""

    def called(values: Any, share: Any, interpolation: str = "linear") -> Any:
        return quantile(values, share, method=interpolation)

    return called


def _saliency_xrai(peer: Theirs) -> Any:
    import saliency.core as saliency

    labels = coarse(peer.images.shape[-1])
    shape = (*labels.shape, peer.images.shape[1])
    return _saliency(
        "XRAI",
        segments=[labels == i for i in range(labels.max() + 1)],
        baselines=[np.zeros(shape, np.float32), np.ones(shape, np.float32)],
        batch_size=CHUNK,
        extra_parameters=saliency.XRAIParameters(steps=STEPS),
    )(peer)


def _pytorch_grad_cam(name: str) -> Callable[[Theirs], Any]:
    def run(peer: Theirs) -> Any:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        # Weights need no gradient; the input has to, or else the layer has none.
        images = peer.images.clone().requires_grad_(name == "GradCAM")
        with getattr(pytorch_grad_cam, name)(peer.model, [peer.layer]) as maps:
            maps.batch_size = CHUNK
            return maps(images, [ClassifierOutputTarget(0)])

    return run


def _shap_exact(peer: Theirs) -> Any:
    import shap
    import torch

    labels = torch.tensor(coarsest(peer.images.shape[-1])).long()
    count = int(labels.max()) + 1

    def game(coalitions: Any) -> Any:
        kept = torch.tensor(np.asarray(coalitions, np.float32))
        found = []
        for rows in kept.split(CHUNK):
            with torch.no_grad():
                found.append(peer.model(peer.images * rows[:, labels][:, None])[:, 0])
        return torch.cat(found).numpy()

    masker = shap.maskers.Independent(np.zeros((1, count)))
    explainer = shap.explainers.ExactExplainer(game, masker)
    return explainer(np.ones((1, count)), silent=True).values


# --- The table ------------------------------------------------------------------------


METHODS = {
    f"gradient_shap, {STEPS} samples": Compared(
        lambda o: ji.attribution.expected_gradients(
            o.apply_fn, background=o.black(), samples=STEPS
        ),
        "captum",
        _captum_gradient_shap,
        passes(STEPS, STEPS),
    ),
    # captum needs a module for each relu: ResNet-18 uses one twice, GoogLeNet none.
    "deep_lift": Compared(
        lambda o: ji.attribution.deep_lift(o.apply_fn),
        "captum",
        _captum("DeepLift"),
        passes(2, 1),
        ("digits",),
    ),
    "occlusion, 16 windows": Compared(
        lambda o: ji.attribution.occlusion(o.apply_fn, size=-(-o.side // 4)),
        "captum",
        _captum_occlusion,
        passes(17),
    ),
    f"kernel_shap, {SAMPLES} samples": Compared(
        lambda o: ji.attribution.kernel_shap(
            o.apply_fn, samples=SAMPLES, segments=coarse(o.side)
        ),
        "captum",
        _captum_kernel_shap,
        passes(SAMPLES + 2),
    ),
    f"conductance, {PARTS} parts": Compared(
        lambda o: ji.attribution.conductance(o.apply_fn, at=o.site, steps=PARTS),
        "captum",
        _captum_conductance,
        passes(PARTS + 1, PARTS + 1),
    ),
    f"xrai, 2 x {STEPS} steps": Compared(
        lambda o: ji.attribution.xrai(o.apply_fn, segments=coarse(o.side), steps=STEPS),
        "saliency",
        _saliency_xrai,
        passes(2 * STEPS, 2 * STEPS),
    ),
    f"guided_ig, {STEPS} steps": Compared(
        lambda o: ji.attribution.guided_integrated_gradients(o.apply_fn, steps=STEPS),
        "saliency",
        _saliency("GuidedIG", x_steps=STEPS),
        passes(STEPS, STEPS),
    ),
    f"blur_ig, {STEPS} steps": Compared(
        lambda o: ji.attribution.blur_integrated_gradients(o.apply_fn, steps=STEPS),
        "saliency",
        _saliency("BlurIG", steps=STEPS, batch_size=CHUNK),
        passes(STEPS, STEPS),
    ),
    "grad_cam": Compared(
        lambda o: ji.attribution.grad_cam(o.apply_fn, at=o.site),
        "pytorch-grad-cam",
        _pytorch_grad_cam("GradCAM"),
        passes(1),
    ),
    "score_cam": Compared(
        lambda o: ji.attribution.score_cam(o.apply_fn, at=o.site),
        "pytorch-grad-cam",
        _pytorch_grad_cam("ScoreCAM"),
        lambda depth: (depth + 1, 0),
    ),
    "shapley, 8 segments": Compared(
        lambda o: ji.attribution.shapley(o.apply_fn, segments=coarsest(o.side)),
        "shap",
        _shap_exact,
        passes(256),
    ),
}


def measure(name: str, rounds: int, only: str, side: int) -> list[timing.Measured]:
    """Times methods on one network, and the peers' where they are installed.

    Args:
        name: of the network.
        rounds: how often each program is timed.
        only: part of a method's name.
        side: of the images; 0 is that of the network.
    """
    network = NETWORKS[name]
    module, (site, layer), side = network.build(), SITES[name], side or network.side
    shape = (1, side, side, network.channels)
    inputs = jax.random.normal(jax.random.key(0), shape, jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
    variables = as_dtype(randomize(shapes, jax.random.key(1)), jnp.float32)
    ours = Ours(module.apply, site, side, network.channels)
    call = variables, inputs, jnp.zeros(1, int), jax.random.key(0)
    label = f"{name}, {side} x {side}, 1 image"
    depth = jax.eval_shape(ji.capture(module.apply, site), variables, inputs)[1]
    (depth,) = [value.shape[-1] for value in depth.values()]
    functions = {
        "forward": (lambda v, x, target, key: module.apply(v, x), (1, 0)),
        "gradient": (ji.attribution.gradient(module.apply), (1, 1)),
    }
    for method, row in METHODS.items():
        functions[method] = row.ours(ours), row.floor(depth)
    rows, programs = {}, {}
    for method, (function, floor) in functions.items():
        if method not in ("forward", "gradient") and only not in method:
            continue
        program, seconds, memory = timing.compiled(function, *call)
        print(f"{label}: {method} compiled in {seconds:.1f} s", flush=True)
        rows[method] = timing.Measured(label, method, "jaxinterp", seconds, memory, 1)
        rows[method].floor = floor
        programs[method] = lambda program=program: program(*call)
    if available():
        for method, (owner, run) in peer_programs(name, layer, shape).items():
            if method in programs:
                key = f"{owner} {method}"
                rows[key] = timing.Measured(label, method, owner, None, None, 1)
                programs[key] = run
    timing.run_rounds(programs, rows, rounds)
    return list(rows.values())


def available() -> bool:
    """Whether torch and the peers can be imported."""
    try:
        import captum.attr
        import pytorch_grad_cam
        import saliency.core
        import shap
        import torchvision.models
    except ImportError:
        return False
    return all((captum.attr, pytorch_grad_cam, saliency.core, shap, torchvision.models))


def peer_programs(
    name: str, layer: str, shape: tuple[int, ...]
) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Returns for each method the peer's name and its computation.

    Args:
        name: of the network.
        layer: torch's name of the last layer with positions.
        shape: of the image, channels last.
    """
    import torch

    torch.manual_seed(0)
    model = peers.random_network(name)
    images = torch.randn(1, shape[-1], *shape[1:-1])
    peer = Theirs(model, model.get_submodule(layer), images)

    def forward() -> Any:
        with torch.no_grad():
            return model(images).numpy()

    def gradient() -> Any:
        x = images.clone().requires_grad_()
        model(x)[:, 0].sum().backward()
        return x.grad.numpy()

    peers.use_fastest_threads(gradient)
    found = {"forward": ("torch", forward), "gradient": ("torch", gradient)}
    for method, row in METHODS.items():
        if name in row.networks:
            found[method] = row.owner, lambda row=row: row.theirs(peer)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes the results.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.compared",
        description="Times attribution methods of one image against the peers'.",
    )
    parser.add_argument("--networks", default=",".join(SITES))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="", help="part of a method's name")
    parser.add_argument("--side", type=int, default=0, help="of images, to try it out")
    parser.add_argument("--output", type=Path, help="by default that of the results")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, and is {options.rounds}.")
    names = options.networks.split(",")
    if unknown := sorted(set(names) - set(SITES)):
        parser.error(f"no network {', '.join(unknown)}. There are: {list(SITES)}.")
    is_whole = set(names) == set(SITES) and not (options.only or options.side)
    usual = RESULTS / "compared.md" if is_whole else Path("benchmark.md")
    rows = []
    for name in names:
        rows += measure(name, options.rounds, options.only, options.side)
    text = f"{timing.machine()}\n\n{timing.table(rows)}\n"
    print(text)
    output = options.output or usual
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"# Attribution methods and their peers, timed\n\n{text}")


if __name__ == "__main__":
    main()
