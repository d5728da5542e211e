"""Runs the experiment: `python -m experiments.quickstart [--output FOLDER]`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

import jaxinterp as ji
from experiments.quickstart import digits as data
from experiments.quickstart import network
from experiments.quickstart.config import Config
from experiments.quickstart.explain import explain, methods
from experiments.quickstart.table import LEGEND, table
from jaxinterp.plot import gallery

OUTPUT = Path(__file__).resolve().parent / "output"  # which Git ignores


def run(config: Config, output: Path) -> float:
    """Trains, explains, prints the tables and writes `quickstart.png`.

    Args:
        config: the settings.
        output: the folder for the figure; it is made if it does not exist.

    Returns:
        The accuracy of the network on test digits.
    """
    start = time.perf_counter()
    split = data.load(config)
    variables = network.train(config, split.train)
    accuracy = network.accuracy(variables, split.test)
    print(f"test accuracy {accuracy:.1%}, after {time.perf_counter() - start:.0f} s\n")

    apply_fn = network.CNN().apply
    images, labels = (part[: config.explained] for part in split.test)
    score = ji.objectives.logit
    logits = apply_fn(variables, images)
    target = logits.argmax(axis=1)
    scores = score(logits, target)
    at_baseline = score(apply_fn(variables, 0 * images), target)

    chosen = methods(apply_fn, config)
    key = jax.random.key(config.seed)
    explanations = {
        name: explain(method.attribute, variables, images, target, key)
        for name, method in tqdm(chosen.items(), desc="explaining", unit="method")
    }
    expected = {"score": scores, "difference": scores - at_baseline}
    print(f"The logit of the predicted class, {len(images)} test digits at once:\n")
    print(table(chosen, explanations, jax.tree.map(np.asarray, expected)))
    print(f"\n{LEGEND}\n")

    composite = ji.rules.epsilon_plus_flat()
    print("The plan of the composite epsilon_plus_flat, and its ledger:\n")
    print(ji.plan(apply_fn, composite, variables, images), "\n")
    print(ji.ledger(apply_fn, composite, variables, images, target), "\n")

    rows = [int(np.flatnonzero(labels == digit)[0]) for digit in config.shown]
    figure = gallery(
        images[np.array(rows)],
        {n: e.attributions[rows] for n, e in explanations.items()},
        labels=[f"digit {labels[i]},\nread as {target[i]}" for i in rows],
        percentile=99.5,
        input_colors="gray_r",
    )
    output.mkdir(parents=True, exist_ok=True)
    path = output / "quickstart.png"
    figure.savefig(path, dpi=120)
    print(f"{path} written, {time.perf_counter() - start:.0f} s in all")
    return accuracy


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: output")
    run(Config(), parser.parse_args().output)


if __name__ == "__main__":
    main()
