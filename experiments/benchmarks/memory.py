"""Measures memory and time of sums over many points: `--help` says how.

Each case runs in a process of its own, since the peak of a process never falls.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

import jaxinterp as ji
from experiments.benchmarks import timing
from jaxinterp.models import GoogLeNet
from tests.networks.architectures import as_dtype, randomize

METHODS = ("integrated_gradients", "smooth")
HOW = ("eager", "jit", "jit of grad")
DEFAULT = "default"
_HEAD = (
    "| method | called | `batch_size` | compile s | run s | memory MB |\n"
    "|---|---|--:|--:|--:|--:|"
)


def case(method: str, how: str, size: str, options: argparse.Namespace) -> None:
    """Measures one case and prints it as JSON.

    The memory of an eager call is what the peak of the process rises above that of a
    call with one point; of a jitted one, what XLA reserves beside its arguments.

    Args:
        method: one of `METHODS`.
        how: one of `HOW`.
        size: the `batch_size`, or `DEFAULT`.
        options: the options of the command line.
    """
    side, images = options.side, options.images
    inputs = jax.random.normal(jax.random.key(0), (images, side, side, 3), jnp.float32)
    module = GoogLeNet(variant="torchvision")
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
    variables = as_dtype(randomize(shapes, jax.random.key(1)), jnp.float32)
    batch_size = None if size == DEFAULT else int(size)
    attribute = attribution(module.apply, method, options.points, batch_size)
    args = (variables, inputs, jnp.arange(images), jax.random.key(2))
    if how == "eager":
        attribution(module.apply, method, 1, None)(*args)
        before, start = _peak(), time.perf_counter()
        jax.block_until_ready(attribute(*args))
        compile_s, run = time.perf_counter() - start, lambda: attribute(*args)
    else:
        function = attribute if how == "jit" else _gradient(attribute)
        program, compile_s, memory = timing.compiled(function, *args)
        run = lambda: program(*args)  # noqa: E731
    seconds = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    if how == "eager":
        compile_s, memory = compile_s - min(seconds, default=0), _peak() - before
    best = min(seconds) if seconds else None
    print(json.dumps({"compile": compile_s, "run": best, "memory": memory}))


def attribution(apply_fn: Any, method: str, points: int, batch_size: int | None) -> Any:
    """Returns the attribution function of a method.

    Args:
        apply_fn: the model.
        method: one of `METHODS`.
        points: the number of points or samples.
        batch_size: the number of them that are computed at once.
    """
    if method == "smooth":
        gradient = ji.attribution.gradient(apply_fn)
        return ji.attribution.smooth(gradient, samples=points, batch_size=batch_size)
    return ji.attribution.integrated_gradients(
        apply_fn, steps=points, batch_size=batch_size
    )


def _gradient(attribute: Any) -> Any:
    def loss(variables: Any, inputs: Any, target: Any, key: Any) -> Any:
        return jnp.sum(attribute(variables, inputs, target, key) ** 2)

    return jax.grad(loss, argnums=1)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints a table.

    Args:
        arguments: the arguments of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.memory",
        description="Memory and time of integrated gradients and smooth on GoogLeNet.",
    )
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3, help="0: compile only")
    parser.add_argument("--sizes", default=f"{DEFAULT},1,3,12", help="batch sizes")
    parser.add_argument("--how", default=",".join(HOW), help="ways of calling")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        method, how, size = options.case.split(",")
        case(method, how, size, options)
        return
    print(f"{timing.machine()}\n\n{_HEAD}", flush=True)
    command = [sys.executable, "-m", "experiments.benchmarks.memory"]
    for name in ("points", "images", "side", "rounds"):
        command += [f"--{name}", str(getattr(options, name))]
    for method in options.methods.split(","):
        for how in options.how.split(","):
            for size in options.sizes.split(","):
                one = [*command, "--case", f"{method},{how},{size}"]
                output = subprocess.run(one, check=True, capture_output=True, text=True)
                values = json.loads(output.stdout.splitlines()[-1])
                run = "-" if values["run"] is None else f"{values['run']:.1f}"
                print(
                    f"| {method} | {how} | {size} | {values['compile']:.1f} | {run} "
                    f"| {values['memory']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
