"""Searches the gammas of LRP: `python -m experiments.faithfulness.gammas`.

It looks at examples behind those that the table is measured with, and prints how
faithful each pair is, of convolutions and of dense layers.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from experiments.faithfulness.measure import faithfulness
from experiments.faithfulness.methods import composites, explained_by
from experiments.faithfulness.subjects import COUNT, SUBJECTS, Subject

SEARCHED = 60
CONVOLUTIONS, DENSE = (0.25, 1.0, 100.0), (0.05, 0.25, 1.0, 100.0)


def searched(subject: Subject) -> Iterator[tuple[tuple[float, float], list[float]]]:
    """Returns pairs of gammas, each with how faithful AttnLRP and CP-LRP are.

    Args:
        subject: the network, of whose examples the last are looked at.
    """
    segments = np.asarray(subject.segments)
    if segments.ndim == subject.inputs.ndim:  # each example has its own
        segments = segments[-SEARCHED:]
    measure = faithfulness(dataclasses.replace(subject, segments=segments))
    call = subject.variables, subject.inputs[-SEARCHED:]
    target = subject.target[-SEARCHED:]
    has_convolutions = subject.embedding is None
    for pair in itertools.product(CONVOLUTIONS if has_convolutions else (0.0,), DENSE):
        areas = []
        for name in ("AttnLRP, gamma", "CP-LRP, gamma"):
            run = jax.jit(explained_by(composites(pair)[name], subject))
            area = measure(*call, run(*call, target), target)
            areas.append(float(np.mean(area)))
        yield pair, areas


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, searches and prints.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.faithfulness.gammas", description=__doc__
    )
    parser.add_argument("network", choices=tuple(SUBJECTS))
    name = parser.parse_args(arguments).network
    for (convolution, dense), (attn, cp) in searched(SUBJECTS[name](COUNT + SEARCHED)):
        print(f"{convolution:>6g} {dense:>6g}: AttnLRP {attn:.2f}, CP-LRP {cp:.2f}")


if __name__ == "__main__":
    main()
