"""Colors the words of sentences: `python -m experiments.faithfulness.sentences`.

Red words speak for praise, blue ones against it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg

import jaxinterp as ji
from experiments import zoo
from experiments.zoo import sentiment
from experiments.zoo.recipe import Trained
from jaxinterp.plot.tokens import ColoredText

RESULTS = Path(__file__).resolve().parent / "results"
# None of them is of the data, which is not ours to show.
SENTENCES = (
    "the film is good .",
    "the film is not good .",
    "the film is bad .",
    "the film is not bad .",
    "a moving , funny and beautifully acted story .",
    "it is never dull , and the actors are great .",
    "the jokes are not funny and the plot is a mess .",
    "it never comes to life , though it has charm .",
)


def colored(network: Trained, texts: Sequence[str]) -> list[ColoredText]:
    """Returns sentences whose words have the color of their relevance.

    Before each stands how likely the network takes it for praise.

    Args:
        network: the zoo's reader of sentences.
        texts: words with spaces between them.
    """
    task = sentiment.Praise()
    words, tokens = task.words(), task.tokens(texts)

    def rather(outputs: Any, target: Any) -> Any:
        del target
        return outputs[:, 1] - outputs[:, 0]

    a = ji.attribution
    lrp = a.lrp(
        network.apply_fn,
        composite="attn_lrp",
        score=rather,
    )
    relevance = np.asarray(jax.jit(a.per_token(lrp))(network.variables, tokens))
    logits = network.apply_fn(network.variables, tokens)
    praise = jax.nn.softmax(logits, axis=1)[:, 1]
    found = []
    for text, row, received, share in zip(
        texts, tokens, relevance, praise, strict=True
    ):
        spelled = text.split()[: task.length - 1]
        last = 1 + len(spelled)
        known = [
            word if words[token] == word else f"({word})"
            for word, token in zip(spelled, row[1:last], strict=True)
        ]
        names = [f"{share:.0%}:", *known]
        found.append(ji.plot.tokens(names, np.append(0, received[1:last])))
    return found


def image(texts: Sequence[ColoredText], width: float = 6.0) -> np.ndarray:
    """Returns sentences below one another, as an image in [0, 255].

    Args:
        texts: the colored sentences.
        width: of the image in inches.
    """
    rows = []
    for text in texts:
        canvas = FigureCanvasAgg(text.figure(width))
        canvas.draw()
        rows.append(np.asarray(canvas.buffer_rgba()))
    return np.concatenate(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, and writes `sentences.html` and `sentences.png`.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.faithfulness.sentences",
        description="Colors sentences by what each word says of a film.",
    )
    parser.add_argument("texts", nargs="*", metavar="SENTENCE", default=SENTENCES)
    parser.add_argument("--output", type=Path, help="folder; default: the results'")
    options = parser.parse_args(arguments)
    is_usual = options.texts == SENTENCES
    output = options.output or (RESULTS if is_usual else Path("faithfulness"))
    output.mkdir(parents=True, exist_ok=True)
    found = colored(zoo.load("sst2_bert"), options.texts)
    page = "\n".join(text.html for text in found)
    (output / "sentences.html").write_text(f"{page}\n", "utf-8")
    plt.imsave(output / "sentences.png", image(found))
    print("\n\n".join(map(str, found)))


if __name__ == "__main__":
    main()
