"""Draws what the units of a network look for.

    python -m experiments.feature_gallery [--network shapes_resnet]
    python -m experiments.feature_gallery --weights googlenet.safetensors \
        --images FOLDER --classes imagenet_classes.txt --output gallery

Without weights it looks at all channels of the zoo's network of shapes. The images of
GoogLeNet that show photographs are named `..._examples.jpg` and `..._examples.html`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.feature_gallery.config import EMBEDDED, GOOGLENET, Config
from experiments.feature_gallery.look import Layer, look, spread
from experiments.feature_gallery.subject import Subject, embedded, googlenet
from jaxinterp.plot import feature_page, feature_sheet, image_grid

COLUMNS = (
    "layer",
    "units",
    "live",
    "beat every real image",
    "median ratio",
    "ratio under transforms",
    "spectrum slope",
    "seconds an image",
)
# Networks of the zoo that name shapes, and have channels.
NETWORKS = ("shapes_cnn", "shapes_resnet")
HEAD = (f"| {' | '.join(COLUMNS)} |", f"|---|{'--:|' * (len(COLUMNS) - 1)}")


def row(layer: Layer) -> str:
    """Returns the line of a layer in the table.

    Args:
        layer: what was found.
    """
    cells = [layer.name, str(len(layer.units))]
    if layer.card is None:
        cells += ["", "", "", ""]
    else:
        ratio = layer.ratio
        moved = np.asarray(layer.card.transformed.ratio)[layer.is_alive]
        cells += [
            str(len(ratio)),
            f"{100 * np.mean(ratio > 1):.1f} %",
            f"{np.median(ratio):.2f}",
            f"{np.median(moved):.2f}",
        ]
    cells += [f"{np.median(layer.slope):.2f}", f"{layer.seconds:.2f}"]
    return f"| {' | '.join(cells)} |"


def draw(subject: Subject, layer: Layer, config: Config, folder: Path) -> None:
    """Writes the figures of a layer: its images, and these beside examples if any.

    Args:
        subject: the network.
        layer: what was found.
        config: the settings.
        folder: where to.
    """
    count = min(config.shown, len(layer.units))
    titles = [subject.title(layer.name, int(unit)) for unit in layer.units[:count]]
    if layer.card is not None:
        titles = layer.card.captions[:count]
    name = f"{subject.name}_{layer.name.rpartition('/')[2]}"
    lines = ["\n".join(title.rsplit(": ", 1)) for title in titles]
    grid = image_grid(layer.images[:count], columns=8, titles=lines, size=1.1)
    grid.savefig(folder / f"{name}.jpg", dpi=110)
    if layer.examples is not None:
        sheet = feature_sheet(
            layer.images[:count], layer.examples[:count], names=titles, columns=4
        )
        sheet.savefig(folder / f"{name}_examples.jpg", dpi=110)
        page = feature_page(
            layer.images[:count],
            layer.examples[:count],
            names=titles,
            title=f"{subject.name}, {layer.name}",
        )
        (folder / f"{name}_examples.html").write_text(page)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, and writes figures and a table.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.feature_gallery",
        description="What the units of a network look for.",
    )
    parser.add_argument(
        "--network", choices=NETWORKS, default=NETWORKS[0], help="of the zoo"
    )
    parser.add_argument("--weights", type=Path, help="of BVLC GoogLeNet")
    parser.add_argument("--images", type=Path, help="folder of photographs")
    parser.add_argument(
        "--classes", type=Path, help="names of the classes, a line each"
    )
    parser.add_argument("--steps", type=int, help="of the optimization")
    parser.add_argument("--size", type=int, help="side of the images")
    parser.add_argument("--layers", nargs="+", help="some of the layers")
    parser.add_argument("--output", type=Path, default=Path("feature_gallery"))
    options = parser.parse_args(arguments)
    config = GOOGLENET if options.weights else EMBEDDED
    given = {"steps": options.steps, "size": options.size}
    for name, value in given.items():
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, and is {value}.")
    given = {name: value for name, value in given.items() if value is not None}
    config = dataclasses.replace(config, **given)
    if options.weights:
        subject = googlenet(config, options.weights, options.images, options.classes)
    else:
        subject = embedded(config, options.network)
    names = options.layers or list(subject.layers)
    if unknown := set(names) - set(subject.layers):
        parser.error(f"--layers: {unknown}; there are {', '.join(subject.layers)}.")
    options.output.mkdir(parents=True, exist_ok=True)
    lines = list(HEAD)
    for name in names:
        units = subject.layers[name]
        if options.weights:
            units = spread(units, config.shown)
        layer = look(subject, name, config, units)
        draw(subject, layer, config, options.output)
        lines.append(row(layer))
        print(lines[-1])
    table = options.output / f"{subject.name}.md"
    table.write_text("\n".join(lines) + "\n")
    print(f"{table} written")


if __name__ == "__main__":
    main()
