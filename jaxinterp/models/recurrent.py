"""Recurrent classifiers of sequences: of tokens, or of real-valued signals.

The loop over time is one site, `lstm` or `gru`, whose activation is the state after
every step; what happens within a step is interpreted in the body of the loop.
"""

from __future__ import annotations

from typing import Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

Reads = Literal["last", "mean"]


class LSTMClassifier(nn.Module):
    """An LSTM whose last state, or the mean of its states, is classified.

    Attributes:
        classes: number of logits.
        width: features of the state.
        vocabulary: number of tokens, which are embedded first; `None` for inputs that
            are real-valued.
        embedding_width: features of an embedded token.
        reads: the states that are classified: the last, or the mean of all.

    Example:
        >>> model = LSTMClassifier(classes=2, width=4, vocabulary=9)
        >>> tokens = jnp.zeros((3, 7), int)
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), tokens)
        >>> logits.shape
        (3, 2)

    References:
        Hochreiter and Schmidhuber, 1997 [hochreiter1997long].
    """

    classes: int
    width: int = 64
    vocabulary: int | None = None
    embedding_width: int = 32
    reads: Reads = "last"

    @nn.compact
    def __call__(
        self, x: Num[Array, "batch time ..."]
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: tokens of shape (batch, time), or signals of shape (batch, time,
                features).

        Raises:
            ValueError: if the inputs are of the other kind, or `reads` is neither word.
        """
        x = _embedded(x, self.vocabulary, self.embedding_width)
        # The first state has the dtype of parameters, and must have that of the input.
        cell = nn.LSTMCell(self.width, param_dtype=x.dtype)
        states = nn.RNN(cell, name="lstm")(x)
        return _classified(cast(jax.Array, states), self.classes, self.reads)


class GRUClassifier(nn.Module):
    """A GRU whose last state, or the mean of its states, is classified.

    Attributes:
        classes: number of logits.
        width: features of the state.
        vocabulary: number of tokens, which are embedded first; `None` for inputs that
            are real-valued.
        embedding_width: features of an embedded token.
        reads: the states that are classified: the last, or the mean of all.

    Example:
        >>> model = GRUClassifier(classes=2, width=4)
        >>> signals = jnp.ones((3, 7, 5))
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), signals)
        >>> logits.shape
        (3, 2)

    References:
        Cho et al., 2014, section 2.3 [cho2014learning].
    """

    classes: int
    width: int = 64
    vocabulary: int | None = None
    embedding_width: int = 32
    reads: Reads = "last"

    @nn.compact
    def __call__(
        self, x: Num[Array, "batch time ..."]
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            x: tokens of shape (batch, time), or signals of shape (batch, time,
                features).

        Raises:
            ValueError: if the inputs are of the other kind, or `reads` is neither word.
        """
        x = _embedded(x, self.vocabulary, self.embedding_width)
        # The first state has the dtype of parameters, and must have that of the input.
        cell = nn.GRUCell(self.width, param_dtype=x.dtype)
        states = nn.RNN(cell, name="gru")(x)
        return _classified(cast(jax.Array, states), self.classes, self.reads)


def _embedded(
    x: Num[Array, "batch time ..."], vocabulary: int | None, width: int
) -> Float[Array, "batch time features"]:
    """Returns the signals as they are, or the embedding of the tokens."""
    is_tokens = jnp.issubdtype(x.dtype, jnp.integer)
    if is_tokens != (vocabulary is not None) or x.ndim != (2 if is_tokens else 3):
        wanted = "real signals of shape (batch, time, features)"
        if vocabulary is not None:
            wanted = "integer tokens of shape (batch, time)"
        raise ValueError(
            f"With `vocabulary={vocabulary}` the inputs are {wanted}; found {x.dtype} "
            f"of shape {x.shape}."
        )
    if vocabulary is None:
        return x
    return nn.Embed(vocabulary, width, name="token_embedding")(x)


def _classified(
    states: Float[Array, "batch time features"], classes: int, reads: str
) -> Float[Array, "batch classes"]:
    """Returns the logits of the states that are read."""
    if reads not in ("last", "mean"):
        raise ValueError(f"`reads` is 'last' or 'mean', and not {reads!r}.")
    read = states[:, -1] if reads == "last" else states.mean(axis=1)
    return nn.Dense(classes, name="head")(read)
