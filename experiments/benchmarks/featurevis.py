"""Times feature visualization against lucent, and says what a step of it costs.

`python -m experiments.benchmarks.featurevis --help` lists the options.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.benchmarks import peers, timing
from experiments.benchmarks.subject import Subject, channels, googlenet, maximized
from jaxinterp import featurevis as fv
from jaxinterp.rules import Composite, Gradient, redirected

RESULTS = Path(__file__).resolve().parent / "results"
IMAGES = (1, 4, 16)  # how many are optimized in a call
CHUNK = 16  # channels of a layer whose memory is asked for
FEW = 1  # steps of the shorter of two calls; their difference is what a step takes
USUAL = 512  # steps for which the time of an image is quoted
OURS, FIRST = "jaxinterp", "jaxinterp, first steps"
LUCENT, SMALL = "lucent", "lucent, shown as small as ours"
# What `maximize` compiles with the model in it: one step, or all of them.
STEPS = ("jit(_one_step)", "jit(_all_steps)")
# The rules of all steps but the first ones.
DERIVATIVE = Composite([("*", Gradient())])
COMPILED = "/jax/core/compile/backend_compile_duration"


# --- Compilations ---------------------------------------------------------------------


class Compiled(NamedTuple):
    """What a call made JAX compile.

    Attributes:
        steps: programs that have the model in them.
        seconds: that the compiler took, for all programs.
    """

    steps: int
    seconds: float


@contextmanager
def compilations() -> Iterator[Callable[[], Compiled]]:
    """Counts programs that are compiled meanwhile."""
    seen: list[tuple[str, float]] = []

    def note(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event == COMPILED:
            seen.append((str(kwargs.get("fun_name")), duration_secs))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield lambda: Compiled(
            sum(name in STEPS for name, _ in seen), sum(s for _, s in seen)
        )
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def compile_table(subject: Subject, images: Sequence[int]) -> str:
    """Returns what is compiled for some channels, and then for others.

    The rules of the first steps are others, so that a step is compiled twice.

    Args:
        subject: the network.
        images: how many in a call.
    """
    head = ("images", "programs of a step", "compile s", "first call s")
    head += ("programs of a step for other channels", "second call s")
    rows = []
    jax.clear_caches()
    for count in images:
        cells = [str(count)]
        for first in (0, count):
            objective = channels(subject, count, first)
            start = time.perf_counter()
            with compilations() as compiled:
                schedule = {0: redirected(), 1: DERIVATIVE}
                result = maximized(subject, objective, 2, composite=schedule)
                jax.block_until_ready(result)
            seconds = time.perf_counter() - start
            found = compiled()
            cells += [str(found.steps)]
            cells += [] if first else [f"{found.seconds:.1f}"]
            cells += [f"{seconds:.1f}"]
        rows.append(cells)
        print(*cells, flush=True)
    return _table(head, rows)


# --- Time -----------------------------------------------------------------------------


class Pace(NamedTuple):
    """How fast somebody is.

    Attributes:
        images: that are optimized in a call.
        step: seconds of one step of all of them.
        start: seconds of what is not a step: tracing, and making the images.
    """

    images: int
    step: float
    start: float

    @property
    def per_image(self) -> float:
        """Seconds of one step, divided by the number of images."""
        return self.step / self.images

    @property
    def usual(self) -> float:
        """Seconds for an image of the usual number of steps."""
        return (self.start + USUAL * self.step) / self.images


def pace(images: int, few: Sequence[float], many: Sequence[float], more: int) -> Pace:
    """Returns the time of a step from that of calls with few and with many.

    Args:
        images: that are optimized in a call.
        few: seconds of calls of `FEW` steps, one for each round.
        many: the same of calls with more.
        more: how many steps more.
    """
    pairs = zip(few, many, strict=True)
    step = statistics.median([(long - short) / more for short, long in pairs])
    return Pace(images, step, max(statistics.median(few) - FEW * step, 0.0))


def contestants(subject: Subject, count: int) -> dict[str, Callable[[int], Any]]:
    """Returns functions of the number of steps: ours, and where it is, lucent's.

    Args:
        subject: the network.
        count: how many images in a call.
    """
    objective, peer, side = channels(subject, count), subject.peer, subject.side
    found: dict[str, Callable[[int], Any]] = {
        OURS: lambda steps: maximized(subject, objective, steps, composite=DERIVATIVE)
    }
    if count == 1:
        found[FIRST] = lambda steps: maximized(
            subject, objective, steps, composite=redirected()
        )
    if peer is not None:
        for name, shown in ((LUCENT, None), (SMALL, side)):
            found[name] = lambda steps, shown=shown: peers.lucent_images(
                peer, subject.layer, range(count), steps, side=side, shown=shown
            )
    return found


def paces(
    subject: Subject, images: Sequence[int], image_steps: int, rounds: int
) -> dict[tuple[int, str], Pace]:
    """Times all, in rounds.

    Args:
        subject: the network.
        images: how many in a call.
        image_steps: steps times images by which two calls differ.
        rounds: how often; one more is not counted.
    """
    if subject.peer is not None:
        one = contestants(subject, 1)[LUCENT]
        peers.use_fastest_threads(lambda: one(1))
    more = {count: max(1, round(image_steps / count)) for count in images}
    programs, rows = {}, {}
    for count in images:
        for name, run in contestants(subject, count).items():
            for steps in (FEW, FEW + more[count]):
                key = f"{count} {name} {steps}"
                programs[key] = lambda run=run, steps=steps: run(steps)
                rows[key] = timing.Measured(subject.name, key, name, None, None, count)
    timing.run_rounds(programs, rows, rounds)
    found = {}
    for count in images:
        for name in contestants(subject, count):
            few = rows[f"{count} {name} {FEW}"].seconds
            many = rows[f"{count} {name} {FEW + more[count]}"].seconds
            found[count, name] = pace(count, few, many, more[count])
    return found


def time_table(found: Mapping[tuple[int, str], Pace]) -> str:
    """Returns the table of times, with ratios to lucent's.

    Args:
        found: by number of images and who it is.
    """
    head = ("images", "whose", "ms a step and image", "start s")
    head += (f"s an image of {USUAL} steps", "x lucent", "x lucent, as small")
    rows = []
    for (count, name), mine in found.items():
        ratios = ["-", "-"]
        for column, peer in enumerate((LUCENT, SMALL)):
            if name in (OURS, FIRST) and (count, peer) in found:
                ratios[column] = f"{mine.step / found[count, peer].step:.2f}"
        usual = "-" if name == FIRST else f"{mine.usual:.1f}"
        times = (f"{1e3 * mine.per_image:.1f}", f"{mine.start:.1f}", usual)
        rows.append([str(count), name, *times, *ratios])
    return _table(head, rows)


# --- Costs that are known without running ---------------------------------------------


def step_program(subject: Subject, objective: fv.Objective, **options: Any) -> Any:
    """Returns the compiled program of one step, not the first.

    Args:
        subject: the network.
        objective: of it.
        **options: of `maximize`.
    """

    def images_of(variables: Any, key: Any) -> Any:
        settings = {"variables": variables, "key": key, "composite": DERIVATIVE}
        settings |= options
        return maximized(subject, objective, 1, **settings).images

    lowered = jax.jit(images_of).lower(subject.variables, jax.random.key(0))
    return lowered.compile()


def cost_table(subject: Subject) -> str:
    """Returns the operations of a step by layer, and their share of the whole network.

    Args:
        subject: the network.
    """
    objectives = {site: fv.channel(site, 0) for site in subject.sites}
    objectives["the logits"] = fv.output(0)
    flops = {}
    for site, objective in objectives.items():
        program = step_program(subject, objective)
        flops[site] = program.cost_analysis()["flops"]
        print(f"{site}: {flops[site] / 1e9:.3f} GFLOP", flush=True)
    whole = flops["the logits"]
    head = ("up to", "GFLOP a step and image", "of the whole network")
    rows = [
        (site, f"{count / 1e9:.2f}", f"{count / whole:.0%}")
        for site, count in flops.items()
    ]
    return _table(head, rows)


def memory_table(subject: Subject, sizes: Sequence[int], units: int) -> str:
    """Returns the memory of a program by the number of images computed at once.

    Args:
        subject: the network.
        sizes: numbers of images computed at once.
        units: how many channels in all.
    """
    head = ("channels", "batch_size", "memory MB", "MB an image at once")
    rows = []
    for size in sizes:
        program = step_program(subject, channels(subject, units), batch_size=size)
        memory = program.memory_analysis().temp_size_in_bytes / 1e6
        rows.append((str(units), str(size), f"{memory:.0f}", f"{memory / size:.1f}"))
        print(*rows[-1], flush=True)
    return _table(head, rows)


# --- A whole layer --------------------------------------------------------------------


def layer_table(subject: Subject, steps: int, batch_size: int | None) -> str:
    """Returns the time of all channels of a layer, first and once it is compiled.

    Args:
        subject: the network.
        steps: how many.
        batch_size: how many channels to compute at once; by default what `maximize`
            chooses: few on CPU, all on accelerators.
    """
    many = subject.channels
    head = ("channels", "steps", "batch_size", "call", "s", "ms a step and image")
    head += ("programs of a step", "compile s", "device's peak MB")
    rows = []
    jax.clear_caches()
    for number, call in enumerate(("first", "second")):
        start = time.perf_counter()
        with compilations() as compiled:
            result = maximized(
                subject,
                channels(subject, many),
                steps,
                key=jax.random.key(number),
                batch_size=batch_size,
            )
            jax.block_until_ready(result)
        seconds = time.perf_counter() - start
        found = compiled()
        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        what = (str(many), str(steps), str(batch_size or "chosen"), call)
        times = (f"{seconds:.1f}", f"{1e3 * seconds / many / steps:.2f}")
        compiler = (str(found.steps), f"{found.seconds:.1f}")
        memory = f"{peak / 1e6:.0f}" if peak else "-"
        rows.append((*what, *times, *compiler, memory))
        print(*rows[-1], flush=True)
    return _table(head, rows)


# --- The command ----------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; numbers are aligned on the right."""
    words = ("whose", "up to", "call")
    rule = ["---" if name in words else "--:" for name in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def report(subject: Subject, options: argparse.Namespace) -> str:
    """Measures everything but a whole run of a layer.

    Args:
        subject: the network.
        options: of the command.
    """
    images, sizes = options.images, (CHUNK // 4, CHUNK, 4 * CHUNK)
    found = {
        "What is compiled": compile_table(subject, images),
        "Time": time_table(paces(subject, images, options.image_steps, options.rounds)),
        "All channels of the layer, one step": layer_table(subject, 1, None),
        "Operations": cost_table(subject),
        "Memory beside arguments and results": memory_table(subject, sizes, max(sizes)),
    }
    return "\n\n".join(f"## {title}\n\n{table}" for title, table in found.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes the results.

    Args:
        arguments: of the command line.
    """
    options = _options(arguments)
    subject = googlenet(with_peer=not options.gpu_layer)
    if options.gpu_layer:
        title, name = "A whole layer, timed", "featurevis_layer.md"
        text = layer_table(subject, options.steps, options.batch_size)
    else:
        title, name = "Feature visualization, timed", "featurevis.md"
        text = report(subject, options)
    usual = _parser().parse_args(["--gpu-layer"] if options.gpu_layer else [])
    output = options.output
    if output is None:
        output = RESULTS / name if options == usual else Path("benchmark.md")
    about = [timing.machine()]
    if subject.peer is not None:
        about.append(peers.lucent_versions())
    about.append(
        f"{subject.name}, {subject.site}, {subject.side} x {subject.side}, float32"
    )
    text = f"# {title}\n\n{'; '.join(about)}\n\n{text}\n"
    print(text)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.featurevis",
        description="Times feature visualization against lucent.",
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--images", type=int, nargs="+", default=IMAGES, help="how many at once"
    )
    parser.add_argument(
        "--image-steps",
        type=int,
        default=64,
        help="steps times images by which the two calls differ that time a step",
    )
    parser.add_argument(
        "--gpu-layer", action="store_true", help="only a whole layer, for accelerators"
    )
    parser.add_argument("--steps", type=int, default=USUAL, help="of --gpu-layer")
    parser.add_argument("--batch-size", type=int, help="of --gpu-layer; default: all")
    parser.add_argument(
        "--output",
        type=Path,
        help="file; by default that of the committed results, and benchmark.md if any "
        "other option is given",
    )
    return parser


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    numbers = {
        "--rounds": options.rounds,
        "--images": min(options.images),
        "--image-steps": options.image_steps,
        "--steps": options.steps,
        "--batch-size": 1 if options.batch_size is None else options.batch_size,
    }
    for name, number in numbers.items():
        if number < 1:
            parser.error(f"{name} must be at least 1, and is {number}.")
    return options


if __name__ == "__main__":
    main()
