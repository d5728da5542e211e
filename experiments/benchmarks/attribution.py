"""Times attribution methods against our own gradient and against the peers.

`python -m experiments.benchmarks.attribution --help` lists the options.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

import jaxinterp as ji
from experiments.benchmarks import peers, timing
from experiments.zoo import vision
from jaxinterp.models import GoogLeNet
from tests.networks.architectures import as_dtype, randomize, resnet18, vgg16

RESULTS = Path(__file__).resolve().parent / "results"
FUSION = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT"
STEPS = 50
INTEGRATED = f"integrated_gradients {STEPS} steps, 1 image"
# One method of each kind.
SOME = ("forward", "gradient", "guided_backprop", "lrp epsilon_plus_flat", INTEGRATED)


class DigitsCNN(nn.Module):
    """A small convolutional network for small images."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the logits of a batch of images."""
        for features in (16, 32):
            x = nn.Conv(features, (3, 3))(x)
            x = nn.relu(x)
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)


class Network(NamedTuple):
    """What is timed.

    Attributes:
        build: makes the module; its weights are random.
        side: of the images, in pixels.
        channels: of the images.
        classes: number of logits.
        batch: images that are explained at once.
        methods: names of those that are timed; all by default.
    """

    build: Callable[[], Any]
    side: int
    channels: int
    classes: int
    batch: int
    methods: tuple[str, ...] = ()


def _of_zoo(name: str) -> Network:
    """Returns the architecture of a network of the zoo that names shapes."""
    (module,) = [recipe.module for recipe in vision.RECIPES if recipe.name == name]
    return Network(lambda: module, vision.SIZE, 3, vision.CLASSES, 32, SOME)


NETWORKS = {
    "resnet18": Network(resnet18, 224, 3, 1000, 4),
    "vgg16": Network(vgg16, 224, 3, 1000, 2),
    "digits": Network(DigitsCNN, 20, 1, 10, 64),
    # That of the peer, and that of the paper.
    "googlenet": Network(
        lambda: GoogLeNet(variant="torchvision"), 224, 3, 1000, 4, SOME
    ),
    "googlenet_caffe": Network(GoogLeNet, 224, 3, 1000, 4, SOME),
    "shapes_cnn": _of_zoo("shapes_cnn"),
    "shapes_resnet": _of_zoo("shapes_resnet"),
}
# The files of results, and the networks in each.
TABLES = {
    "attribution": ("resnet18", "vgg16", "digits"),
    "models": ("googlenet", "googlenet_caffe", "shapes_cnn", "shapes_resnet"),
}


def methods(apply_fn: Any) -> dict[str, Callable[..., Any]]:
    """Returns the functions `(variables, inputs, target)` to be timed."""
    presets = {
        "epsilon_plus": ji.rules.epsilon_plus(),
        "epsilon_plus_flat": ji.rules.epsilon_plus_flat(),
        "epsilon_alpha2_beta1": ji.rules.epsilon_alpha2_beta1(),
        "epsilon_alpha2_beta1_flat": ji.rules.epsilon_alpha2_beta1_flat(),
        "epsilon_gamma_box": ji.rules.epsilon_gamma_box(-3.0, 3.0),
        "excitation_backprop": ji.rules.excitation_backprop(),
        "deep_taylor": ji.rules.deep_taylor(-3.0, 3.0),
    }
    integrated = ji.attribution.integrated_gradients(apply_fn, steps=STEPS)
    return {
        "forward": lambda variables, inputs, target: apply_fn(variables, inputs),
        "gradient": ji.attribution.gradient(apply_fn),
        "guided_backprop": ji.attribution.guided_backprop(apply_fn),
        **{
            f"lrp {name}": ji.attribution.lrp(apply_fn, composite=composite)
            for name, composite in presets.items()
        },
        INTEGRATED: (
            lambda variables, inputs, target: integrated(
                variables, inputs[:1], target[:1]
            )
        ),
    }


def measure(name: str, rounds: int, only: str) -> list[timing.Measured]:
    """Times methods on one network, and the peers' where they are installed."""
    network = NETWORKS[name]
    module, batch, side = network.build(), network.batch, network.side
    shape = (batch, side, side, network.channels)
    inputs = jax.random.normal(jax.random.key(0), shape, jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
    variables = as_dtype(randomize(shapes, jax.random.key(1)), jnp.float32)
    target = jnp.arange(batch) % network.classes
    label = f"{name}, {side} x {side}, batch {batch}"
    rows, programs = {}, {}
    for method, function in methods(module.apply).items():
        if not _is_wanted(method, network, only):
            continue
        args = (variables, inputs, target)
        program, seconds, memory = timing.compiled(function, *args)
        print(f"{label}: {method} compiled in {seconds:.1f} s", flush=True)
        key = f"jaxinterp {method}"
        images = 1 if method == INTEGRATED else batch
        rows[key] = timing.Measured(label, method, "jaxinterp", seconds, memory, images)
        programs[key] = lambda program=program, args=args: program(*args)
    if name in peers.NETWORKS and peers.available():
        for method, (owner, run) in peers.programs(name, batch, STEPS).items():
            if f"jaxinterp {method}" in programs:
                key = f"{owner} {method}"
                images = rows[f"jaxinterp {method}"].images
                rows[key] = timing.Measured(label, method, owner, None, None, images)
                programs[key] = run
    timing.run_rounds(programs, rows, rounds)
    return list(rows.values())


def _is_wanted(method: str, network: Network, only: str) -> bool:
    if network.methods and method not in network.methods:
        return False
    return method in ("forward", "gradient") or only in method


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes the results.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.attribution",
        description="Times attribution methods against our gradient and the peers.",
    )
    parser.add_argument(
        "--table", choices=TABLES, default="attribution", help="which file of results"
    )
    parser.add_argument(
        "--networks", help=f"some of {','.join(NETWORKS)}; default: those of the table"
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="", help="part of a method's name")
    parser.add_argument("--fusion", action="store_true", help="also with the XLA flag")
    parser.add_argument(
        "--output",
        type=Path,
        help="file; by default that of the committed results for a whole table, and "
        "benchmark.md for less",
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, and is {options.rounds}.")
    names = options.networks.split(",") if options.networks else TABLES[options.table]
    unknown = sorted(set(names) - set(NETWORKS))
    if unknown:
        parser.error(f"no network {', '.join(unknown)}. There are: {list(NETWORKS)}.")
    is_whole = not options.networks and not options.only
    usual = RESULTS / f"{options.table}.md" if is_whole else Path("benchmark.md")
    output = options.output or usual
    text = _measured(names, options)
    if options.fusion:
        text += "\n" + _with_fusion(names, options, output.with_suffix(".fusion.md"))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"# Attribution methods, timed\n\n{text}")


def _measured(names: Sequence[str], options: argparse.Namespace) -> str:
    """Measures and prints the table of some networks."""
    rows = []
    for name in names:
        rows += measure(name, options.rounds, options.only)
    flags = os.environ.get("XLA_FLAGS", "")
    text = f"{timing.machine()}; XLA_FLAGS={flags!r}\n\n{timing.table(rows)}\n"
    print(text)
    return text


def _with_fusion(
    names: Sequence[str], options: argparse.Namespace, scratch: Path
) -> str:
    """Measures the same in a process with the XLA flag, which writes to a file."""
    scratch.parent.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, "-m", "experiments.benchmarks.attribution"]
    arguments += ["--networks", ",".join(names), "--output", str(scratch)]
    arguments += ["--rounds", str(options.rounds), "--only", options.only]
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {**os.environ, "XLA_FLAGS": f"{flags} {FUSION}".strip()}
    subprocess.run(arguments, env=environment, check=True)
    text = scratch.read_text()
    scratch.unlink()
    return text


if __name__ == "__main__":
    main()
