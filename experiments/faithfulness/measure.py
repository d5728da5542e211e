"""The area between two curves, and the table of methods and networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.faithfulness.methods import methods
from experiments.faithfulness.subjects import Subject
from jaxinterp.metrics import abpc, bootstrap, compare, perturbation_curve
from jaxinterp.metrics.contract import Measure
from jaxinterp.objectives import logit

OURS = "AttnLRP"


class Row(NamedTuple):
    """How faithful a method is to a network.

    Attributes:
        mean: the mean over examples, in logits.
        low: the lower end of its bootstrap interval.
        high: the upper end.
        beside: 1 if it is more faithful than AttnLRP, example by example; -1 if less; 0
            if the interval of the difference holds 0.
    """

    mean: float
    low: float
    high: float
    beside: int


def faithfulness(subject: Subject) -> Measure:
    """Returns the measure: by how much the score falls later if the least goes first.

    Args:
        subject: the network, its features, and what takes their place.
    """
    settings: dict[str, Any] = {
        "segments": subject.segments,
        "baseline": subject.baseline,
        "score": logit,
    }
    most = perturbation_curve(subject.apply_fn, order="morf", **settings)
    least = perturbation_curve(subject.apply_fn, order="lerf", **settings)
    # One program for all methods.
    return jax.jit(lambda *args: abpc(most(*args), least(*args)))


def measured(subject: Subject) -> dict[str, Row]:
    """Returns how faithful each method is, by its name.

    Args:
        subject: the network and its examples.
    """
    key = jax.random.key(0)
    found = compare(
        methods(subject),
        {"faithfulness": faithfulness(subject)},
        subject.variables,
        subject.inputs,
        subject.target,
        key=key,
        references=("random", "edges"),
    )
    values = found.values[..., 0]
    ours = values[:, [found.methods.index(OURS)]]
    mean, low, high, _ = (part[:, 0] for part in found.interval)
    difference = bootstrap(values - ours, key)
    beside = np.where(difference.low > 0, 1, np.where(difference.high < 0, -1, 0))
    return {
        name: Row(float(mean[i]), float(low[i]), float(high[i]), int(beside[i]))
        for i, name in enumerate(found.methods)
    }


def table(networks: Mapping[str, Mapping[str, Row]]) -> str:
    """Returns the table of methods and networks, as Markdown.

    Args:
        networks: for each the rows by method.
    """
    names = list(dict.fromkeys(name for rows in networks.values() for name in rows))
    lines = [
        "| method | " + " | ".join(f"`{name}`" for name in networks) + " |",
        "|---|" + "--:|" * len(networks),
    ]
    for name in names:
        cells = (_cell(rows.get(name)) for rows in networks.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    sign = {1: " ▲", 0: "", -1: " ▼"}[row.beside]
    return f"{row.mean:.2f} [{row.low:.2f}, {row.high:.2f}]{sign}"
