"""Compiles, times in rounds, and writes the table."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax


@dataclasses.dataclass
class Measured:
    """One program on one network.

    Attributes:
        network: the network and batch.
        method: what is computed.
        owner: whose implementation.
        compile_s: seconds to trace and compile, `None` where nothing is compiled.
        memory_mb: memory beside arguments and results, `None` where unknown.
        images: examples that are explained at once.
        seconds: one run time for each round.
        floor: forward and backward passes of one image that cannot be saved, if known.
    """

    network: str
    method: str
    owner: str
    compile_s: float | None
    memory_mb: float | None
    images: int
    seconds: list[float] = dataclasses.field(default_factory=list)
    floor: tuple[int, int] | None = None

    @property
    def median(self) -> float:
        """The median run time in seconds."""
        return statistics.median(self.seconds)

    @property
    def per_image(self) -> float:
        """The median run time in seconds, divided by the number of images."""
        return self.median / self.images


def compiled(function: Callable[..., Any], *args: Any) -> tuple[Any, float, float]:
    """Returns a compiled function, the seconds that took, and its memory in MB."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    return program, seconds, memory.temp_size_in_bytes / 1e6


def run_rounds(
    programs: Mapping[str, Callable[[], Any]], rows: Mapping[str, Measured], rounds: int
) -> None:
    """Runs every program in each round and notes its time.

    A program runs once more just before it is timed, so that it finds its own threads
    awake and nobody else's; one of many seconds does that by itself.
    """
    usual = dict.fromkeys(programs, 0.0)
    for number in range(rounds + 1):
        for name, program in programs.items():
            if usual[name] < _LONG:
                jax.block_until_ready(program())
            start = time.perf_counter()
            jax.block_until_ready(program())
            usual[name] = time.perf_counter() - start
            if number:
                rows[name].seconds.append(usual[name])


_LONG = 1.5  # seconds
_HEAD = (
    "| network | method | compile s | run ms | memory MB | x our gradient | peer ms "
    "| x peer | floor | x floor |"
)


def table(rows: list[Measured]) -> str:
    """Returns a Markdown table with ratios to our gradient and to the peers' time.

    The gradient may be of more images than what it is compared with, so the ratio to it
    is of times per image. The last column is the ratio to the floor: to so many of our
    forward and backward passes, the latter being what a gradient takes longer.
    """
    by_key = {(r.network, r.method, r.owner): r for r in rows}
    lines = [
        _HEAD,
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if row.owner != "jaxinterp":
            continue
        gradient = by_key.get((row.network, "gradient", "jaxinterp"))
        peers = [
            r
            for r in rows
            if r.owner != "jaxinterp"
            and (r.network, r.method) == (row.network, row.method)
        ]
        of_gradient = f"{row.per_image / gradient.per_image:.2f}" if gradient else "-"
        peer = peers[0] if peers else None
        lines.append(
            f"| {row.network} | {row.method} | {row.compile_s:.1f} "
            f"| {1e3 * row.median:.1f} | {row.memory_mb:.0f} | {of_gradient} | "
            + (
                f"{1e3 * peer.median:.1f} ({peer.owner}) "
                f"| {row.median / peer.median:.2f} |"
                if peer
                else "- | - |"
            )
            + _floor(row, by_key)
        )
    return "\n".join(lines)


def _floor(row: Measured, by_key: Mapping[tuple[str, str, str], Measured]) -> str:
    """Returns the cells of the passes that cannot be saved, and the ratio to these."""
    forward, gradient = (
        by_key.get((row.network, method, "jaxinterp"))
        for method in ("forward", "gradient")
    )
    if row.floor is None or forward is None or gradient is None:
        return " - | - |"
    ahead, back = row.floor
    one_back = gradient.per_image - forward.per_image
    least = ahead * forward.per_image + back * one_back
    return f" {ahead} f + {back} b | {row.per_image / least:.2f} |"


def machine() -> str:
    """Returns what the figures depend on: processor, cores, versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    device = jax.devices()[0]
    names = ("jax", "jaxlib", "flax", "numpy", "torch", "zennit", "captum", "saliency")
    names = *names, "grad-cam", "shap", "transformers", "lxt"
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return (
        f"{model}, {cores or os.cpu_count()} cores; {device.platform} "
        f"{device.device_kind}; Python {platform.python_version()}; "
        + ", ".join(versions)
    )
