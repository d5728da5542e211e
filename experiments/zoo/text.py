"""Networks that read tokens: evidence, induction, modular addition."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax

from experiments.zoo.real import first
from experiments.zoo.recipe import Pairs, Supervised, Task
from experiments.zoo.training import Goal, Schedule
from jaxinterp.data.sequences import (
    Evidence,
    Induction,
    ModularAddition,
    evidence,
    induction,
    modular_addition,
)
from jaxinterp.models.architectures.recurrent import LSTMClassifier
from jaxinterp.models.architectures.transformer import Transformer

LENGTH = 24
CLASSES = 4
NEUTRAL = 8
TOKENS = 1 + CLASSES + NEUTRAL
# Different tokens of induction, and the length of its sequences.
VOCABULARY = 64
POSITIONS = 32
MODULUS = 37


@dataclasses.dataclass(frozen=True)
class FindTheEvidence(Task):
    """Name the class of the token after the marker.

    Attributes:
        examples: number of sequences that are trained on.
        examined: number of sequences that figures are measured with.
    """

    examples: int = 32_768
    examined: int = 2048

    def draw(self, key: Any, count: int) -> Evidence:
        """Returns sequences with the position of the evidence."""
        return evidence(key, count, length=LENGTH, classes=CLASSES, neutral=NEUTRAL)

    def train_set(self, key: Any) -> Pairs:
        """Returns tokens and classes."""
        return self._pairs(key, self.examples)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns other sequences."""
        return {"accuracy": self._pairs(key, self.examined)}

    def _pairs(self, key: Any, count: int) -> Pairs:
        data = self.draw(key, count)
        return Pairs(data.tokens, data.labels)


@dataclasses.dataclass(frozen=True)
class Copy(Task):
    """Predict the next token wherever the sequence repeats itself.

    Labels are -1 where nothing can be predicted, and neither loss nor accuracy counts
    these positions.

    Attributes:
        examples: number of sequences that are trained on.
        examined: number of sequences that figures are measured with.
    """

    examples: int = 65_536
    examined: int = 1024

    def draw(self, key: Any, count: int) -> Induction:
        """Returns sequences with the positions to copy from."""
        return induction(key, count, length=POSITIONS, vocabulary=VOCABULARY)

    def train_set(self, key: Any) -> Pairs:
        """Returns tokens, and those that follow."""
        return self._pairs(key, self.examples)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns other sequences."""
        return {"accuracy": self._pairs(key, self.examined)}

    def loss(self, outputs: Any, labels: Any) -> Any:
        """Returns the mean cross-entropy over the positions that count."""
        is_counted = labels >= 0
        losses = optax.softmax_cross_entropy_with_integer_labels(
            outputs, labels, where=is_counted[..., None]
        )
        return losses.sum() / is_counted.sum()

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> float:
        """Returns the accuracy over the positions that count."""
        is_right = outputs.argmax(axis=-1) == labels
        return float(is_right[labels >= 0].mean())

    def _pairs(self, key: Any, count: int) -> Pairs:
        data = self.draw(key, count)
        return Pairs(data.tokens, np.where(data.mask, data.labels, -1))


@dataclasses.dataclass(frozen=True)
class AddNumbers(Task):
    """Add two numbers modulo a prime, having seen only some of all pairs.

    There are too few pairs to split them in three: those that say when to stop are the
    ones that `held_out` draws from.

    Attributes:
        train_fraction: the fraction of pairs that are trained on.
        split: seed of the split.
    """

    train_fraction: float = 0.6
    split: int = 0

    def data(self) -> ModularAddition:
        """Returns all pairs, and which of them are trained on."""
        key = jax.random.key(self.split)
        return modular_addition(key, p=MODULUS, train_fraction=self.train_fraction)

    def draw(self, key: Any, count: int) -> Pairs:
        """Returns pairs that were not trained on, shuffled by the key."""
        pairs = self._pairs(is_train=False)
        order = jax.random.permutation(key, len(pairs.labels))
        return first(Pairs(pairs.inputs[order], pairs.labels[order]), count)

    def train_set(self, key: Any) -> Pairs:
        """Returns the pairs that are trained on."""
        del key
        return self._pairs(is_train=True)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns the other pairs, and those that are trained on."""
        return {
            "accuracy": self._pairs(is_train=False),
            "on training pairs": self._pairs(is_train=True),
        }

    def _pairs(self, *, is_train: bool) -> Pairs:
        data = self.data()
        is_chosen = np.asarray(data.is_train) == is_train
        return Pairs(np.asarray(data.inputs)[is_chosen], data.labels[is_chosen])


RECIPES = (
    Supervised(
        "evidence_lstm",
        LSTMClassifier(classes=CLASSES, width=64, vocabulary=TOKENS),
        FindTheEvidence(),
        Schedule(goals=(Goal("accuracy", least=0.985),), learning_rate=1e-2),
    ),
    Supervised(
        "evidence_transformer",
        Transformer(
            vocabulary=TOKENS,
            width=32,
            depth=2,
            heads=2,
            max_length=LENGTH,
            mlp_width=64,
            is_tied=False,
            classes=CLASSES,
            reads="last",
        ),
        FindTheEvidence(),
        Schedule(goals=(Goal("accuracy", least=0.985),), steps=2000),
    ),
    Supervised(
        "induction",
        Transformer(
            vocabulary=VOCABULARY,
            width=64,
            depth=2,
            heads=2,
            max_length=POSITIONS,
            attention_only=True,
            is_tied=False,
        ),
        Copy(),
        Schedule(goals=(Goal("accuracy", least=0.992),), steps=3000),
    ),
    Supervised(
        "modular_addition",
        Transformer(
            vocabulary=MODULUS + 1,
            width=64,
            depth=1,
            heads=4,
            max_length=3,
            mlp_width=256,
            activation="relu",
            use_norm=False,
            use_bias=False,
            is_tied=False,
            classes=MODULUS,
            reads="last",
        ),
        AddNumbers(),
        Schedule(
            goals=(Goal("accuracy", least=0.99),),
            steps=6000,
            batch_size=4096,
            weight_decay=1.0,
            every=100,
        ),
    ),
)
