"""Recurrent classifiers of sequences: of tokens, or of real-valued signals.

The loop over time is one site, `LSTMClassifier/lstm` or `GRUClassifier/gru`, whose
activation is the state after every step. What happens within a step is interpreted in
the body of the loop, at the addresses of its gates: `LSTMClassifier/lstm/cell/if` and
`LSTMClassifier/lstm/cell/hf` are what the input and the last state add to the forget
gate, `GRUClassifier/gru/cell/ir` and `GRUClassifier/gru/cell/hr` what they add to the
reset gate. `LSTMClassifier/head` and `GRUClassifier/head` are the logits.
"""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

Reads = Literal["last", "mean"]

Cell = type[nn.LSTMCell] | type[nn.GRUCell]


class _Loop(nn.Module):
    """Runs a cell over time, from a state of zeros."""

    cell: Cell
    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch time features"]
    ) -> Float[Array, "batch time width"]:
        """Returns the state after every step."""
        over_time = nn.scan(
            self.cell,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        cell = over_time(self.width, name="cell")
        start = cell.initialize_carry(jax.random.key(0), (x.shape[0], x.shape[-1]))
        # A step promotes the dtype of the state, and in a loop the first state must
        # have the dtype of the last.
        weights = jax.tree.leaves(self.get_variable("params", "cell", {}))
        dtype = jnp.result_type(x, *weights or [jnp.float32])
        _, states = cell(jax.tree.map(lambda state: state.astype(dtype), start), x)
        return states


class _Recurrent(nn.Module):
    """Both classifiers but for the cell, which a subclass names."""

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
            ValueError: if the inputs are signals instead of tokens or tokens instead of
                signals, or have no step, or if `reads` is neither "last" nor "mean".
        """
        self._check(x)
        if self.vocabulary is not None:
            embed = nn.Embed(
                self.vocabulary, self.embedding_width, name="token_embedding"
            )
            x = embed(x)
        name, cell = self._cell()
        states = _Loop(cell, self.width, name=name)(x)
        features = states[:, -1] if self.reads == "last" else states.mean(axis=1)
        return nn.Dense(self.classes, name="head")(features)

    @nn.nowrap
    def _cell(self) -> tuple[str, Cell]:
        """Returns the name of the loop, and the cell that it runs."""
        raise NotImplementedError

    @nn.nowrap
    def _check(self, x: Num[Array, "batch time ..."]) -> None:
        """Raises `ValueError` if the inputs or `reads` do not fit."""
        is_tokens = jnp.issubdtype(x.dtype, jnp.integer)
        takes_tokens = self.vocabulary is not None
        if is_tokens != takes_tokens or x.ndim != (2 if is_tokens else 3):
            kind = "real signals of shape (batch, time, features)"
            if takes_tokens:
                kind = "integer tokens of shape (batch, time)"
            raise ValueError(
                f"With `vocabulary={self.vocabulary}` the inputs are {kind}, not "
                f"{x.dtype} of shape {x.shape}."
            )
        if not x.shape[1]:
            raise ValueError(
                f"Inputs of shape {x.shape} have no step, and so no state to read. "
                "Give sequences of at least one step."
            )
        if self.reads not in ("last", "mean"):
            raise ValueError(f"`reads` is 'last' or 'mean', and not {self.reads!r}.")


class LSTMClassifier(_Recurrent):
    """An LSTM whose last state, or the mean of its states, is classified.

    Attributes:
        classes: how many classes, and so logits, there are.
        width: how many features the state has.
        vocabulary: how many different tokens there are; `None` for real-valued signals.
        embedding_width: how many features an embedded token has.
        reads: which state is classified: the `"last"`, or the `"mean"` of all.

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

    @nn.nowrap
    def _cell(self) -> tuple[str, Cell]:
        """Returns the name of the loop, and the cell that it runs."""
        return "lstm", nn.LSTMCell


class GRUClassifier(_Recurrent):
    """A GRU whose last state, or the mean of its states, is classified.

    It has the attributes of `LSTMClassifier`.

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

    @nn.nowrap
    def _cell(self) -> tuple[str, Cell]:
        """Returns the name of the loop, and the cell that it runs."""
        return "gru", nn.GRUCell
