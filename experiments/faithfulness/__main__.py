"""Runs the experiment: `python -m experiments.faithfulness [--output FOLDER]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.faithfulness.measure import Row, measured, table
from experiments.faithfulness.subjects import COUNT, SUBJECTS

RESULTS = Path(__file__).resolve().parent / "results"


def run(output: Path, count: int = COUNT, networks: Sequence[str] = ()) -> str:
    """Measures all methods on some networks, and writes the table.

    Args:
        output: the folder for it; it is made if it does not exist. Networks that are
            not run keep what stands there.
        count: examples of each network.
        networks: their names; by default all whose files there are.

    Returns:
        The table, as Markdown.

    Raises:
        FileNotFoundError: if the files of a network that was named are absent.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / "faithfulness.json"
    found: dict[str, Mapping[str, Row]] = {}
    if path.exists():
        found = {
            name: {method: Row(*row) for method, row in rows.items()}
            for name, rows in json.loads(path.read_text("utf-8")).items()
        }
    for name in networks or SUBJECTS:
        try:
            subject = SUBJECTS[name](count)
        except FileNotFoundError as error:
            if networks:
                raise
            print(f"{name} is left out. {error}")
            continue
        found[name] = measured(subject)
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    text = table({name: found[name] for name in SUBJECTS if name in found})
    (output / "faithfulness.md").write_text(text, "utf-8")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.faithfulness", description=__doc__
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder; by default that of the committed results, and faithfulness for "
        "another count",
    )
    parser.add_argument("--count", type=int, default=COUNT, help="examples of each")
    parser.add_argument("--networks", nargs="+", choices=tuple(SUBJECTS), default=())
    options = parser.parse_args(arguments)
    if options.count < 2:
        parser.error(f"--count must be at least 2, and is {options.count}.")
    usual = RESULTS if options.count == COUNT else Path("faithfulness")
    try:
        print(run(options.output or usual, options.count, options.networks))
    except FileNotFoundError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
