"""Recurrent classifiers: an LSTM over signals and a GRU over tokens."""

from typing import cast

import jax
from flax import linen as nn

from .architecture import CLASSES, linen_architecture, sequences, tokens

VOCABULARY = 13
# Not orthogonal, as it is by default: that takes no half precision.
INITIAL = nn.initializers.lecun_normal()


class LstmClassifier(nn.Module):
    """An LSTM whose last output is classified."""

    width: int = 10
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        # The first carry has the cell's parameter dtype, so it must follow the input.
        cell = nn.LSTMCell(
            self.width, recurrent_kernel_init=INITIAL, param_dtype=x.dtype
        )
        x = cast(jax.Array, nn.RNN(cell, name="lstm")(x))
        return nn.Dense(self.classes, name="head")(x[:, -1])


class GruClassifier(nn.Module):
    """A GRU over embedded tokens, whose mean output is classified."""

    vocabulary: int = VOCABULARY
    width: int = 10
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.Embed(self.vocabulary, self.width, name="token_embedding")(x)
        cell = nn.GRUCell(
            self.width, recurrent_kernel_init=INITIAL, param_dtype=x.dtype
        )
        x = cast(jax.Array, nn.RNN(cell, name="gru")(x))
        return nn.Dense(self.classes, name="head")(x.mean(1))


ENTRIES = (
    linen_architecture(LstmClassifier(), "lstm", sequences(7, 6), "recurrent", "scan"),
    linen_architecture(
        GruClassifier(),
        "gru",
        tokens(7, VOCABULARY),
        "recurrent",
        "scan",
        "tokens",
        token_site_hint="*/token_embedding/*",
    ),
)
