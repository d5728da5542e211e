"""Times attribution methods against our own gradient and against the peers.

`python -m experiments.benchmarks.attribution --help` lists the options.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jaxinterp as ji
from experiments.benchmarks import peers, timing
from experiments.quickstart.network import CNN
from tests.architectures import as_dtype, randomize, resnet18, vgg16

RESULTS = Path(__file__).parent / "results" / "attribution.md"
FUSION = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT"
STEPS = 50
# Network -> (constructor, side of the image, channels, classes, batch).
NETWORKS: dict[str, tuple[Callable[[], Any], int, int, int, int]] = {
    "resnet18": (resnet18, 224, 3, 1000, 4),
    "vgg16": (vgg16, 224, 3, 1000, 2),
    "digits": (CNN, 20, 1, 10, 64),
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
        f"integrated_gradients {STEPS} steps, 1 image": (
            lambda variables, inputs, target: integrated(
                variables, inputs[:1], target[:1]
            )
        ),
    }


def measure(name: str, rounds: int, only: str) -> list[timing.Measured]:
    """Times every method on one network, and the peers' where they are installed."""
    build, side, channels, classes, batch = NETWORKS[name]
    module = build()
    inputs = jax.random.normal(jax.random.key(0), (batch, side, side, channels))
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
    variables = as_dtype(randomize(shapes, jax.random.key(1)), jnp.float32)
    target = jnp.arange(batch) % classes
    label = f"{name}, {side} x {side}, batch {batch}"
    rows, programs = {}, {}
    for method, function in methods(module.apply).items():
        if only and method not in ("forward", "gradient") and only not in method:
            continue
        args = (variables, inputs, target)
        program, seconds, memory = timing.compiled(function, *args)
        print(f"{label}: {method} compiled in {seconds:.1f} s", flush=True)
        key = f"jaxinterp {method}"
        rows[key] = timing.Measured(label, method, "jaxinterp", seconds, memory)
        programs[key] = lambda program=program, args=args: program(*args)
    if name in ("resnet18", "vgg16") and peers.available():
        for method, (owner, run) in peers.programs(name, batch, STEPS).items():
            if f"jaxinterp {method}" in programs:
                key = f"{owner} {method}"
                rows[key] = timing.Measured(label, method, owner, None, None)
                programs[key] = run
    timing.run_rounds(programs, rows, rounds)
    return list(rows.values())


def main() -> None:
    """Measures, prints, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="", help="part of a method's name")
    parser.add_argument("--fusion", action="store_true", help="also with the XLA flag")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for name in options.networks.split(","):
        rows += measure(name, options.rounds, options.only)
    flags = os.environ.get("XLA_FLAGS", "")
    text = f"{timing.machine()}; XLA_FLAGS={flags!r}\n\n{timing.table(rows)}\n"
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if options.fusion:
        other = options.output.with_suffix(".fusion.md")
        arguments = [sys.executable, "-m", "experiments.benchmarks.attribution"]
        arguments += ["--networks", options.networks, "--output", str(other)]
        arguments += ["--rounds", str(options.rounds), "--only", options.only]
        environment = {**os.environ, "XLA_FLAGS": f"{flags} {FUSION}".strip()}
        subprocess.run(arguments, env=environment, check=True)
        text += "\n" + other.read_text()
        other.unlink()
    options.output.write_text(f"# Attribution methods, timed\n\n{text}")


if __name__ == "__main__":
    main()
