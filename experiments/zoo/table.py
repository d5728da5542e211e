"""The table of the zoo, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

import jax

from experiments.zoo.recipe import Trained

HEAD = ("network", "figures", "steps", "seconds", "CPU seconds", "parameters", "seed")
_COSTS = ("steps", "seconds", "cpu_seconds")


def table(networks: Iterable[Trained]) -> str:
    """Returns one line a network.

    Args:
        networks: in the order of the lines.
    """
    rows = [HEAD, *map(_row, networks)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = [_line(row, widths) for row in rows]
    rule = [":".ljust(width, "-") for width in widths[:2]]
    rule += [":".rjust(width, "-") for width in widths[2:]]
    return "\n".join([lines[0], _line(rule, widths), *lines[1:]])


def measured(network: Trained) -> str:
    """Returns the figures of a network as text, without what training took.

    Args:
        network: the trained network.
    """
    figures = network.figures.items()
    return ", ".join(f"{k} {v:.3f}" for k, v in figures if k not in _COSTS)


def n_parameters(network: Trained) -> str:
    """Returns the number of parameters of a network as text.

    Args:
        network: the trained network.
    """
    return (
        f"{sum(leaf.size for leaf in jax.tree.leaves(network.variables['params'])):,}"
    )


def _row(network: Trained) -> tuple[str, ...]:
    figures = network.figures
    return (
        f"`{network.name}`",
        measured(network),
        f"{figures['steps']:.0f}",
        f"{figures['seconds']:.0f}",
        f"{figures['cpu_seconds']:.0f}",
        n_parameters(network),
        str(network.config["schedule"].seed),
    )


def _line(cells: Iterable[str], widths: list[int]) -> str:
    first, second, *rest = zip(cells, widths, strict=True)
    left = [cell.ljust(width) for cell, width in (first, second)]
    return "| " + " | ".join([*left, *(c.rjust(w) for c, w in rest)]) + " |"
