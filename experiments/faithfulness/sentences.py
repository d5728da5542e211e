"""Colors the words of sentences: `python -m experiments.faithfulness.sentences`.

Red words speak for praise, blue ones against it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg

import jaxinterp as ji
from experiments import zoo
from experiments.zoo import sentiment
from experiments.zoo.recipe import Trained
from jaxinterp import plot
from jaxinterp.plot.tokens import ColoredText

RESULTS = Path(__file__).resolve().parent / "results"
# None of them is of the data, which is not ours to show.
SENTENCES = (
    "the film is good",
    "the film is not good",
    "the film is bad",
    "a moving , funny and beautifully acted story",
    "it never comes to life , though it has charm",
    "it does n't work , and the jokes are too predictable",
    "the plot is a mess and the story is dull",
)
# Sentences that were held out, and words that are looked up in them.
COUNT = 435
WORDS = (
    *("not", "n't", "never", "no", "too"),
    *("good", "best", "funny", "moving", "bad", "dull"),
)


def praise(outputs: Any, target: Any = None) -> Any:
    """The score that is explained: the logit of praise less that of its opposite.

    Args:
        outputs: the logits of the network.
        target: not used.
    """
    del target
    return outputs[:, 1] - outputs[:, 0]


def relevance(network: Trained, tokens: Any) -> np.ndarray:
    """Returns what each token said for praise, by AttnLRP.

    Args:
        network: the zoo's reader of sentences.
        tokens: of shape `(count, length)`.
    """
    a = ji.attribution
    lrp = a.per_token(a.lrp(network.apply_fn, composite="attn_lrp", score=praise))
    return np.asarray(jax.jit(lrp)(network.variables, tokens))


def of_words(network: Trained, words: Sequence[str], count: int) -> str:
    """Returns what some words say in sentences that were held out, as Markdown.

    Args:
        network: the zoo's reader of sentences.
        words: the lines of the table.
        count: number of sentences.
    """
    task, a = sentiment.Praise(), ji.attribution
    tokens = network.held_out(count).inputs
    train, known = task.train_set(None), task.words()
    hidden = a.occlusion(
        network.apply_fn, size=1, baseline=sentiment.UNKNOWN, score=praise
    )
    received = relevance(network, tokens)
    drop = np.asarray(jax.jit(hidden)(network.variables, tokens))
    is_word = tokens >= len(sentiment.SPECIAL)
    ranks = (-np.abs(np.where(is_word, received, 0))).argsort(axis=1).argsort(axis=1)
    lines = [
        "| word | trained on: not, praise | held out | relevance | drop | top three |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for word in words:
        number = known.index(word)
        labels = train.labels[(train.inputs == number).any(axis=1)]
        at = np.asarray(tokens == number)
        lines.append(
            f"| {word} | {(labels == 0).sum()}, {(labels == 1).sum()} "
            f"| {at.any(axis=1).sum()} | {received[at].mean():+.2f} "
            f"| {drop[at].mean():+.2f} | {(ranks[at] < 3).mean():.0%} |"
        )
    return "\n".join(lines) + "\n"


def colored(network: Trained, texts: Sequence[str]) -> list[ColoredText]:
    """Returns sentences whose words have the color of their relevance.

    Before each stands how likely the network takes it for praise.

    Args:
        network: the zoo's reader of sentences.
        texts: words with spaces between them.
    """
    task = sentiment.Praise()
    words, tokens = task.words(), jnp.asarray(task.tokens(texts))

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
            for word, token in zip(spelled, row[1:last].tolist(), strict=True)
        ]
        names = [f"{share:.0%}:", *known]
        found.append(plot.tokens(names, np.append(0, received[1:last])))
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
    """Reads the command line, and writes `sentences.html`, `.png` and `words.md`.

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
    network = zoo.load("sst2_bert")
    found = colored(network, options.texts)
    page = "\n".join(text.html for text in found)
    (output / "sentences.html").write_text(f"{page}\n", "utf-8")
    plt.imsave(output / "sentences.png", image(found))
    said = of_words(network, WORDS, COUNT)
    (output / "words.md").write_text(said, "utf-8")
    print("\n\n".join([*map(str, found), said]))


if __name__ == "__main__":
    main()
