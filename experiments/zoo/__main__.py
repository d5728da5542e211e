"""Trains the zoo: `python -m experiments.zoo [NAME ...] [--retrain]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from experiments.zoo import cache, sheet
from experiments.zoo.shelf import load, names
from experiments.zoo.table import table


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
    parsed = parser.parse_args(arguments)
    unknown = sorted(set(parsed.names) - set(names()))
    if unknown:
        parser.error(
            f"no network {', '.join(unknown)}. There are: {', '.join(names())}."
        )
    wanted = parsed.names or names()
    networks = {
        name: load(name, retrain=parsed.retrain)
        for name in tqdm(wanted, desc="zoo", unit="network", disable=len(wanted) == 1)
    }
    lines = table(networks.values())
    print(f"{lines}\n\nThey are kept in {cache.folder()}.")
    if parsed.output is not None:
        parsed.output.mkdir(parents=True, exist_ok=True)
        (parsed.output / "table.md").write_text(f"{lines}\n", encoding="utf-8")
        if "dcgan" in networks:
            sheet.draw(networks["dcgan"], parsed.output / "dcgan.png")


if __name__ == "__main__":
    main()
