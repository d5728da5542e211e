"""Runs the experiment: `python -m experiments.ground_truth [--output FOLDER]`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxinterp as ji
from experiments import zoo
from experiments.ground_truth.explain import Located, on_images, on_tokens
from jaxinterp.data import SHAPES
from jaxinterp.plot import gallery

RESULTS = Path(__file__).resolve().parent / "results"
COUNT = 200
SHOWN = 6
TRAINED_HERE = ("shapes_resnet", "shapes_vit")
NETWORKS = (
    *("shapes_cnn", "shapes_resnet", "shapes_vit", "watermark_cnn"),
    *("evidence_lstm", "evidence_transformer"),
)


def run(
    output: Path, count: int = COUNT, networks: Sequence[str] = NETWORKS
) -> dict[str, dict[str, Located]]:
    """Explains, measures, and writes the tables and figures.

    Args:
        output: the folder for them; it is made if it does not exist.
        count: examples of each task, a multiple of 50.
        networks: their names.

    Returns:
        For each network the figures of each method.
    """
    output.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Located]] = {}
    chance: dict[str, float] = {}
    for name in networks:
        what, data = subject(name, count)
        if name.startswith("evidence"):
            mask = data.mask
            rows[name], _ = on_tokens(name, *what, data.tokens, data.position, mask)
        else:
            is_target = name.startswith("shapes")
            mask = data.mask if is_target else data.artefact
            rows[name], found = on_images(name, *what, data.images, mask)
            names = data.class_names if is_target else SHAPES
            labels = [names[i].replace(" ", "\n") for i in data.labels[:SHOWN]]
            _draw(output, name, data.images, found, labels)
        chance[name] = float(mask.mean())
    text = table(rows, chance)
    print(text)
    path = output / "table.md"
    others = sections(path.read_text("utf-8")) if path.exists() else {}
    merged = others | sections(text)
    order = sorted(merged, key=NETWORKS.index)
    parts = [f"## {name}\n{merged[name]}" for name in order]
    path.write_text("\n\n".join(["# Where explanations lie", *parts]) + "\n", "utf-8")
    return rows


def sections(text: str) -> dict[str, str]:
    """Returns what a table says of each network, by its name.

    Args:
        text: what `table` returned, perhaps of other networks.
    """
    parts = text.strip().split("\n## ")[1:]
    return {name: rest.rstrip() for name, _, rest in (p.partition("\n") for p in parts)}


def subject(name: str, count: int) -> tuple[tuple[Any, Any], Any]:
    """Returns a network, and the examples of the zoo that did not train it.

    Args:
        name: the network; one that comes with the package is not trained.
        count: the number of examples.

    Returns:
        The pair of apply function and variables, and the examples.
    """
    if name in TRAINED_HERE:
        net = zoo.load(name)
        return (net.apply_fn, net.variables), net.held_out(count)
    apply_fn, variables, draw = ji.models.pretrained(name)
    key = jax.random.split(jax.random.key(0), 3)[2]  # that of `held_out`
    return (apply_fn, variables), draw(key, count)


def _draw(
    output: Path,
    name: str,
    images: np.ndarray,
    found: Mapping[str, np.ndarray],
    labels: list[str],
) -> None:
    """Draws half of the methods in a figure each, `name.png` and `name_more.png`."""
    shown = {method: maps[:SHOWN] for method, maps in found.items()}
    del shown["baseline: random"]  # noise looks like noise
    columns, middle = list(shown.items()), (len(shown) + 1) // 2
    for suffix, half in (("", columns[:middle]), ("_more", columns[middle:])):
        figure = gallery(images[:SHOWN], dict(half), labels=labels, percentile=99.5)
        figure.savefig(output / f"{name}{suffix}.png", dpi=100)


def table(
    rows: Mapping[str, Mapping[str, Located]], chance: Mapping[str, float]
) -> str:
    """Returns the figures as Markdown, a table for each network.

    Args:
        rows: for each network the figures of each method.
        chance: the share of places that lie inside the true mask.
    """
    parts = []
    for network, figures in rows.items():
        has_rank = any(f.rank is not None for f in figures.values())
        head = "| method | mass inside | pointing game |" + " rank |" * has_rank
        lines = [
            f"## {network}\n",
            f"{chance[network]:.1%} of all places lie inside the mask.\n",
            head,
            "|---|--:|--:|" + "--:|" * has_rank,
        ]
        for method, f in figures.items():
            rank = f" {f.rank:.1f} |" if f.rank is not None else ""
            lines.append(f"| {method} | {f.mass:.2f} | {f.pointing:.2f} |{rank}")
        parts.append("\n".join(lines))
    return "# Where explanations lie\n\n" + "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        help="folder, whose table keeps the networks that are not run; by default that "
        "of the committed results, and ground_truth for another count",
    )
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error(f"--count must be at least 1, and is {options.count}.")
    is_usual = options.count == COUNT
    output = options.output or (RESULTS if is_usual else Path("ground_truth"))
    run(output, options.count, options.networks)


if __name__ == "__main__":
    main()
