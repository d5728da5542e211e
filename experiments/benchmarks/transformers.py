"""Times AttnLRP on GPT-2's shape against our gradient and lxt; compile time and memory.

`python -m experiments.benchmarks.transformers --help` lists the options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji
from experiments.benchmarks import peers, timing
from experiments.benchmarks.attribution import RESULTS
from jaxinterp.models import Transformer
from jaxinterp.models.architectures.attention import causal_mask
from jaxinterp.models.architectures.norms import layer_norm
from jaxinterp.models.architectures.transformer import PreNormBlock
from jaxinterp.models.weights import fill
from jaxinterp.models.weights.transformer_maps import hf_gpt2
from tests.networks.architectures import as_dtype, randomize

LRP = "lrp attn_lrp"


class Shape(NamedTuple):
    """The size of a transformer.

    Attributes:
        vocabulary: how many tokens there are.
        width: features of a token.
        depth: blocks.
        heads: of each attention.
    """

    vocabulary: int
    width: int
    depth: int
    heads: int


SHAPES = {"gpt2-small": Shape(50_257, 768, 12, 12), "tiny": Shape(11, 8, 2, 2)}
DEPTHS = {"gpt2-small": (2, 6, 12), "tiny": (1, 2)}


class _Body(nn.Module):
    """A block in the form that `nn.scan` takes."""

    heads: int
    mlp_width: int

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, None]:
        """Returns the stream, and nothing to stack."""
        block = PreNormBlock(self.heads, self.mlp_width, "gelu_tanh", name="block")
        return block(x, mask), None


class Stack(nn.Module):
    """The same transformer, its blocks in one scan or not, computed again or not.

    Attributes:
        shape: its size.
        is_scanned: whether the blocks are one `nn.scan`.
        is_rematerialized: whether they are in `nn.remat`.
    """

    shape: Shape
    is_scanned: bool
    is_rematerialized: bool = False

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Returns the logits after the last token."""
        shape = Shape(*self.shape)
        embed = nn.Embed(shape.vocabulary, shape.width, name="token_embedding")
        places = nn.Embed(1024, shape.width, name="position_embedding")
        x = embed(tokens) + places(jnp.arange(tokens.shape[1])[None])
        body, mask = _Body, causal_mask(tokens.shape[1])
        if self.is_rematerialized:
            # What is written out must not be merged with what is computed again.
            body = nn.remat(_Body, prevent_cse=not self.is_scanned)
        sizes = shape.heads, 4 * shape.width
        if self.is_scanned:
            stack = nn.scan(
                body,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                in_axes=nn.broadcast,
                length=shape.depth,
            )
            x, _ = stack(*sizes, name="blocks")(x, mask)
        else:
            for i in range(shape.depth):
                x, _ = body(*sizes, name=f"blocks_{i}")(x, mask)
        x = layer_norm(x, 1e-5, "norm")[:, -1]
        return jnp.einsum("bi,vi->bv", x, embed.embedding)


def methods(apply_fn: Any) -> dict[str, Callable[..., Any]]:
    """Returns the functions `(variables, tokens, target)` to be timed.

    Args:
        apply_fn: the model, whose outputs are the logits after the last token.
    """
    return {
        "forward": lambda variables, tokens, target: apply_fn(variables, tokens),
        "gradient": ji.attribution.gradient(apply_fn),
        LRP: ji.attribution.lrp(apply_fn, composite=ji.rules.attn_lrp()),
    }


# --- Time -----------------------------------------------------------------------------


def model(shape: Shape, reads: str) -> tuple[Transformer, Callable[..., Any]]:
    """Returns the transformer of the models room, and its logits after the last token.

    Args:
        shape: its size.
        reads: `"last"` if it makes no other logits, otherwise `"every"`.
    """
    module = Transformer(**shape._asdict(), reads=reads)
    if reads == "last":
        return module, module.apply
    return module, lambda variables, tokens: module.apply(variables, tokens)[:, -1]


def measure(shape: Shape, length: int, reads: str, rounds: int) -> tuple[Any, str]:
    """Returns the times on one text, ours and the peers', and a line about both.

    Args:
        shape: the size of the transformer.
        length: how many tokens the text has.
        reads: which positions have logits.
        rounds: how often each program is timed.
    """
    module, apply_fn = model(shape, reads)
    tokens = jax.random.randint(jax.random.key(0), (1, length), 0, shape.vocabulary)
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)
    peer = peers.random_gpt2(shape) if peers.lxt_available() else None
    if peer is None:
        variables = as_dtype(randomize(shapes, jax.random.key(1)), jnp.float32)
    else:
        tensors = peers.tensors(peer)
        variables = fill(shapes, tensors, hf_gpt2(module), source="transformers")
    target = jnp.zeros(1, int)
    label = f"{length} tokens, {reads} logits"
    rows, programs, lines = {}, {}, [f"- {label}:"]
    for method, function in methods(apply_fn).items():
        program, seconds, memory = timing.compiled(function, variables, tokens, target)
        print(f"{label}: {method} compiled in {seconds:.1f} s", flush=True)
        rows[method] = timing.Measured(label, method, "jaxinterp", seconds, memory, 1)
        rows[method].floor = (1, int(method != "forward"))
        programs[method] = lambda run=program: run(variables, tokens, target)
        lines.append(f"{method} {_operations(program):.1f} Gflop,")
    if peer is not None:
        theirs = peers.gpt2_programs(peer, np.asarray(tokens), reads == "every")
        for method, (owner, run) in theirs.items():
            key = f"{owner} {method}"
            rows[key] = timing.Measured(label, method, owner, None, None, 1)
            programs[key] = run
        lines.append(_agreement(programs, theirs))
    timing.run_rounds(programs, rows, rounds)
    least = [f"{name} {1e3 * min(row.seconds):.0f}" for name, row in rows.items()]
    lines.append(f"least ms: {', '.join(least)}.")
    return list(rows.values()), " ".join(lines)


def _operations(program: Any) -> float:
    """Returns XLA's count of the operations of a compiled program, in thousand million.

    Args:
        program: a compiled program.
    """
    return program.cost_analysis()["flops"] / 1e9


def _agreement(programs: Any, theirs: Any) -> str:
    """Returns how far our arrays are from those of the peers.

    Args:
        programs: all programs by name, ours by that of the method.
        theirs: the owner and the program of each method of the peers.
    """
    parts = []
    for method, (owner, run) in theirs.items():
        ours, expected = np.asarray(programs[method]()), run()
        difference = np.abs(ours - expected).sum() / np.abs(expected).sum()
        parts.append(f"{method} {difference:.0e} from {owner}")
    return ", ".join(parts) + ";"


# --- Compile time and memory ----------------------------------------------------------


def compiled(
    shape: Shape, length: int, **options: bool
) -> dict[str, tuple[float, float]]:
    """Returns the seconds to compile each method on a `Stack`, and its memory in MB.

    Args:
        shape: the size of the transformer.
        length: how many tokens the text has.
        **options: of `Stack`.
    """
    module = Stack(shape, **options)
    tokens = jnp.zeros((1, length), int)
    variables = jax.eval_shape(module.init, jax.random.key(0), tokens)
    found = {}
    for method, function in methods(module.apply).items():
        args = variables, tokens, jnp.zeros(1, int)
        _, seconds, memory = timing.compiled(function, *args)
        print(f"{shape.depth} blocks, {options}: {method} {seconds:.1f} s", flush=True)
        found[method] = seconds, memory
    return found


def depth_table(shape: Shape, length: int, depths: Sequence[int]) -> str:
    """Returns seconds to compile for several depths, in one scan and written out."""
    lines = [
        "| blocks | gradient, scanned | lrp, scanned | gradient | lrp |",
        "|--:|--:|--:|--:|--:|",
    ]
    for depth in depths:
        cells = []
        for is_scanned in (True, False):
            found = compiled(shape._replace(depth=depth), length, is_scanned=is_scanned)
            cells += [f"{found[name][0]:.1f}" for name in ("gradient", LRP)]
        lines.append(f"| {depth} | {' | '.join(cells)} |")
    return "\n".join(lines)


def memory_table(shape: Shape, length: int) -> str:
    """Returns the memory beside arguments and results, with and without `nn.remat`."""
    lines = [
        "| blocks | `nn.remat` | gradient MB | lrp MB | x gradient |",
        "|---|---|--:|--:|--:|",
    ]
    for is_scanned in (False, True):
        for is_rematerialized in (False, True):
            options = {
                "is_scanned": is_scanned,
                "is_rematerialized": is_rematerialized,
            }
            found = compiled(shape, length, **options)
            plain, lrp = found["gradient"][1], found[LRP][1]
            how = "one scan" if is_scanned else "written out"
            with_remat = "yes" if is_rematerialized else "no"
            sizes = f"{plain:.1f} | {lrp:.1f} | {lrp / plain:.2f}"
            lines.append(f"| {how} | {with_remat} | {sizes} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes the results.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.transformers",
        description="AttnLRP on GPT-2's shape: time, compile time and memory.",
    )
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small")
    parser.add_argument("--lengths", default="64,512", help="tokens of a text")
    parser.add_argument("--reads", default="last,every", help="which logits are made")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", choices=("time", "depth", "memory"))
    parser.add_argument("--output", type=Path, help="by default that of the results")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, and is {options.rounds}.")
    shape, lengths = SHAPES[options.shape], [*map(int, options.lengths.split(","))]
    parts = [timing.machine()]
    if options.only in (None, "time"):
        found = [
            measure(shape, length, reads, options.rounds)
            for length in lengths
            for reads in options.reads.split(",")
        ]
        rows = [row for measured, _ in found for row in measured]
        parts += ["## Time", timing.table(rows), "\n".join(line for _, line in found)]
    if options.only in (None, "depth"):
        table = depth_table(shape, lengths[-1], DEPTHS[options.shape])
        parts += [f"## Seconds to compile, {lengths[-1]} tokens", table]
    if options.only in (None, "memory"):
        table = memory_table(shape, lengths[-1])
        title = f"## Memory beside arguments and results, {lengths[-1]} tokens"
        parts += [title, table]
    text = "\n\n".join(parts) + "\n"
    print(text)
    usual = {"shape": "gpt2-small", "lengths": "64,512", "reads": "last,every"}
    is_whole = not options.only and all(
        getattr(options, name) == value for name, value in usual.items()
    )
    results = RESULTS / "transformers.md" if is_whole else Path("benchmark.md")
    output = options.output or results
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"# AttnLRP on the shape of GPT-2 small\n\n{text}")


if __name__ == "__main__":
    main()
