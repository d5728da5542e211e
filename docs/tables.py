"""Writes the tables of methods, metrics and packages into the pages that show them.

A row is the first line of a docstring and its sentence "Cost: ...", a model of
`tests/third_party/peers.py`, or one that `python -m experiments.faithfulness` wrote. A
page has the table between two comments, `<!-- table of methods -->` and
`<!-- end of table -->`:

    python -m docs.tables

writes them anew, and a test fails if that would change a page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxinterp import attribution, metrics
from tests.third_party import peers

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "docs/choose_a_method.md",
    "docs/third_party.md",
    "docs/api/metrics.md",
    "docs/transformers.md",
    "experiments/faithfulness/README.md",
)
FAITHFULNESS = ROOT / "experiments" / "faithfulness" / "results" / "faithfulness.md"
BLOCK = re.compile(r"(<!-- table of (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
COST = re.compile(r"\bCost:\s+(.+?)\.(?:\s|$)", re.DOTALL)


def functions_that_return(annotation: str, module: ModuleType) -> list[Callable]:
    """Returns the functions of a module that return something, in its order.

    Args:
        annotation: what they return, as it is written in their signature.
        module: whose public names are looked at.
    """
    functions = [value for value in vars(module).values() if inspect.isfunction(value)]
    return [
        function
        for function in functions
        if inspect.signature(function).return_annotation == annotation
    ]


def row(function: Callable[..., Any], verb: str) -> str:
    """Returns one row of a table: the name, what it does, what it costs.

    Args:
        function: a method or a metric.
        verb: how the first line of its docstring starts, which the table's head says.

    Raises:
        ValueError: if the docstring starts otherwise, or names no cost.
    """
    text = inspect.getdoc(function) or ""
    first = text.splitlines()[0]
    cost = COST.search(text)
    if not first.startswith(f"{verb} ") or cost is None:
        raise ValueError(
            f"The docstring of {function.__name__}() starts with {first!r}.\nIts first "
            f"line has to start with '{verb}', and one sentence with 'Cost: '."
        )
    summary = first.removeprefix(f"{verb} ").partition(": $")[0].rstrip(".")
    return f"| `{function.__name__}` | {summary} | {' '.join(cost[1].split())} |"


def table(name: str) -> str:
    """Returns the table of that name.

    Args:
        name: `methods`, `metrics`, `packages` or `faithfulness`.
    """
    if name == "faithfulness":
        return FAITHFULNESS.read_text("utf-8").rstrip()
    if name == "packages":
        return peers.table()
    kind, annotation, module, verb = {
        "methods": ("method", "Attribution", attribution, "Attributes"),
        "metrics": ("metric", "Measure", metrics, "Says"),
    }[name]
    rows = [row(f, verb) for f in functions_that_return(annotation, module)]
    return "\n".join([f"| {kind} | {verb.lower()} | cost |", "|---|---|---|", *rows])


def filled(text: str) -> str:
    """Returns a page with its tables written anew.

    Args:
        text: the page, in Markdown.
    """
    return BLOCK.sub(lambda m: f"{m[1]}{table(m[2])}\n{m[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
