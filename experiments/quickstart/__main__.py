"""Runs the experiment: `python -m experiments.quickstart [--output FOLDER]`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

import jaxinterp as ji
from experiments.quickstart.config import Config
from experiments.quickstart.explain import explain, methods
from experiments.quickstart.table import LEGEND, table
from jaxinterp.plot import gallery

OUTPUT = Path(__file__).resolve().parent / "output"  # which Git ignores


def run(config: Config, output: Path) -> float:
    """Explains, prints the tables and writes `quickstart.png`.

    Args:
        config: the settings.
        output: the folder for the figure; it is made if it does not exist.

    Returns:
        The accuracy of the network on the images that are explained.
    """
    start = time.perf_counter()
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    key = jax.random.key(config.seed)
    data = draw(key, config.explained)
    images, names = data.images, data.class_names
    score = ji.objectives.logit
    logits = apply_fn(variables, images)
    target = logits.argmax(axis=1)
    accuracy = float((target == data.labels).mean())
    print(f"accuracy on these images {accuracy:.1%}\n")
    scores = score(logits, target)
    at_baseline = score(apply_fn(variables, 0 * images), target)

    chosen = methods(apply_fn, config)
    explanations = {
        name: explain(method.attribute, variables, images, target, key)
        for name, method in tqdm(chosen.items(), desc="explaining", unit="method")
    }
    expected = {"score": scores, "difference": scores - at_baseline}
    expected = {name: np.asarray(value) for name, value in expected.items()}
    print(f"The logit of the predicted class, {len(images)} images at once:\n")
    print(table(chosen, explanations, expected))
    print(f"\n{LEGEND}\n")

    composite = ji.rules.epsilon_plus_flat()
    print("The plan of the composite epsilon_plus_flat, and its ledger:\n")
    print(ji.plan(apply_fn, composite, variables, images), "\n")
    print(ji.ledger(apply_fn, composite, variables, images, target), "\n")

    figure = gallery(
        images[: config.shown],
        {n: e.attributions[: config.shown] for n, e in explanations.items()},
        labels=[names[i].replace(" ", "\n") for i in target[: config.shown]],
        percentile=99.5,
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
