"""Trains the zoo: `python -m experiments.zoo [NAME ...] [--retrain] [--ship]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from experiments.zoo import cache, sheet
from experiments.zoo.shelf import load, names
from experiments.zoo.ship import ship
from experiments.zoo.table import table
from jaxinterp.models.weights.pretrained import FOLDER, NETWORKS


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, trains what is not in the cache, prints the table.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.zoo", description="Trains the networks of the zoo."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(names())}"
    )
    parser.add_argument(
        "--retrain", action="store_true", help="train also what is in the cache"
    )
    parser.add_argument(
        "--output", type=Path, help="folder for table.md, and samples of the DCGAN"
    )
    parser.add_argument(
        "--ship",
        action="store_true",
        help="write the networks that come with the package into it",
    )
    parsed = parser.parse_args(arguments)
    if parsed.ship and parsed.names:
        parser.error(f"--ship writes all of {', '.join(NETWORKS)}: leave names out.")
    unknown = sorted(set(parsed.names) - set(names()))
    if unknown:
        parser.error(
            f"no network {', '.join(unknown)}. There are: {', '.join(names())}."
        )
    chosen = tuple(NETWORKS) if parsed.ship else parsed.names or names()
    networks = {}
    for name in tqdm(chosen, desc="zoo", unit="network", disable=len(chosen) == 1):
        try:
            networks[name] = load(name, retrain=parsed.retrain)
        except FileNotFoundError as error:
            if parsed.names:
                parser.error(str(error))
            print(f"{name} is left out. {error}")
    lines = table(networks.values())
    print(f"{lines}\n\nThey are kept in {cache.folder()}.")
    if parsed.ship:
        ship(networks.values(), FOLDER)
        print(f"They are written to {FOLDER}.")
    if parsed.output is not None:
        parsed.output.mkdir(parents=True, exist_ok=True)
        (parsed.output / "table.md").write_text(f"{lines}\n", encoding="utf-8")
        if "dcgan" in networks:
            sheet.draw(networks["dcgan"], parsed.output / "dcgan.png")


if __name__ == "__main__":
    main()
