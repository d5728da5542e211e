"""A network that reads sentences: do they praise a film or not?

The sentences are those of SST-2, which do not come with the project: the files
`sst2_test.tsv` and `sst2_dev.tsv`, a sentence, a tab and its label in each line, lie in
the folder that the environment variable `JAXINTERP_DATA` names, or in `../shared/data`
beside the checkout. Words and punctuation are separated by spaces and in lower case.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.zoo.real import first
from experiments.zoo.recipe import Pairs, Supervised, Task
from experiments.zoo.training import Goal, Schedule
from jaxinterp.models.architectures.bert import Bert

VOCABULARY = 2048
LENGTH = 56
# The first tokens: padding, any word that is not known, and the one that is read.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]")
PADDING, UNKNOWN, START = range(len(SPECIAL))


def folder() -> Path:
    """Returns where the files are looked for."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("JAXINTERP_DATA") or beside)


def sentences(name: str) -> tuple[list[str], np.ndarray]:
    """Returns the sentences of a file and their labels, 1 for praise.

    Args:
        name: of the file, such as `"sst2_dev.tsv"`.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    path = folder() / name
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}. The sentences of SST-2 do not come with the project: "
            "get them from https://gluebenchmark.com, write a sentence, a tab and its "
            "label (0 or 1) in each line, and name the folder, "
            "`JAXINTERP_DATA=FOLDER`."
        )
    lines = path.read_text("utf-8").splitlines()
    rows = [line.rsplit("\t", 1) for line in lines if line]
    return [text for text, _ in rows], np.array([int(label) for _, label in rows])


@dataclasses.dataclass(frozen=True)
class Praise(Task):
    """Say whether a sentence praises a film.

    The larger file is trained on. Every other sentence of the smaller one says when to
    stop; the others are held out.

    Attributes:
        vocabulary: number of tokens: the special ones and the most frequent words.
        length: number of tokens of a sentence; longer ones are cut.
        dropped: the share of words that are unknown in training, whatever they are, so
            that the network does not rely on a single one, and knows what to make of
            sentences with words taken away.
    """

    vocabulary: int = VOCABULARY
    length: int = LENGTH
    dropped: float = 0.5

    def words(self) -> tuple[str, ...]:
        """Returns the word of each token, the most frequent ones first."""
        texts, _ = sentences("sst2_test.tsv")
        counts = collections.Counter(word for text in texts for word in text.split())
        most = counts.most_common(self.vocabulary - len(SPECIAL))
        return (*SPECIAL, *(word for word, _ in most))

    def tokens(self, texts: Iterable[str]) -> np.ndarray:
        """Returns the tokens of some sentences, padded to one length.

        Args:
            texts: words with spaces between them.
        """
        return encoded(texts, self.words(), self.length)

    def draw(self, key: Any, count: int) -> Pairs:
        """Returns the first of the sentences that were held out, whatever the key."""
        del key
        return first(self._small(1), count)

    def train_set(self, key: Any) -> Pairs:
        """Returns the sentences of the larger file."""
        del key
        texts, labels = sentences("sst2_test.tsv")
        return Pairs(self.tokens(texts), labels)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns the sentences that say when to stop."""
        del key
        return {"accuracy": self._small(0)}

    def varied(self, key: Any, inputs: Any) -> Any:
        """Returns sentences in which some words are unknown."""
        is_dropped = jax.random.bernoulli(key, self.dropped, inputs.shape)
        is_word = inputs >= len(SPECIAL)
        return jnp.where(is_dropped & is_word, UNKNOWN, inputs)

    def _small(self, start: int) -> Pairs:
        texts, labels = sentences("sst2_dev.tsv")
        return Pairs(self.tokens(texts[start::2]), labels[start::2])


def encoded(texts: Iterable[str], words: Sequence[str], length: int) -> np.ndarray:
    """Returns the tokens of sentences, each after the one that is read.

    Args:
        texts: words with spaces between them.
        words: the word of each token, the special ones first.
        length: the number of tokens of each; the rest is cut, or padded.
    """
    numbers = {word: i for i, word in enumerate(words)}
    rows = []
    for text in texts:
        found = [numbers.get(word, UNKNOWN) for word in text.split()]
        row = [START, *found][:length]
        rows.append(row + [PADDING] * (length - len(row)))
    return np.array(rows, np.int32)


RECIPES = (
    Supervised(
        "sst2_bert",
        Bert(
            classes=2,
            vocabulary=VOCABULARY,
            width=16,
            depth=1,
            heads=2,
            mlp_width=32,
            max_length=LENGTH,
            token_types=1,
            pad_id=PADDING,
        ),
        Praise(),
        Schedule(
            goals=(Goal("accuracy", least=0.74),),
            steps=600,
            weight_decay=2.0,
        ),
    ),
)
