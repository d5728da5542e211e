"""Sequences of tokens for which it is known which positions decide the label."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxinterp.checks import checked_integer, checked_share
from jaxinterp.data.examples import draw
from jaxinterp.keys import check_key
from jaxinterp.types import Key


class Evidence(NamedTuple):
    """Sequences whose label depends on one token.

    Attributes:
        tokens: 0 is the marker, `1 + c` the token of class `c`, the rest are neutral.
        labels: the class of the token right after the marker.
        position: the position of that token; the marker is right before it.
    """

    tokens: Int[Array, "count length"]
    labels: Int[Array, " count"]
    position: Int[Array, " count"]

    @property
    def mask(self) -> Bool[Array | np.ndarray, "count length"]:
        """The positions of the marker and of the token after it."""
        index = jnp.arange(self.tokens.shape[1])[None, :]
        position = self.position[:, None]
        return (index == position) | (index == position - 1)


def evidence(
    key: Key,
    count: int,
    *,
    length: int = 24,
    classes: int = 4,
    neutral: int = 8,
    repeats: int = 1,
) -> Evidence:
    """Draws sequences in which a marker says which of several class tokens counts.

    One class token follows the marker, at a random position; its class is the label.
    Every class token occurs exactly `repeats` times in all, so counting them tells
    nothing: the marker must be found. All other positions hold neutral tokens.

    An ideal explanation finds `position` first, for another class token there would
    change the label, and `position - 1` next. All other class tokens get nothing,
    though they look alike.

    Args:
        key: the random key of the data. Sequence `i` depends on `fold_in(key, i)`
            alone.
        count: how many sequences to draw.
        length: how many tokens each sequence has.
        classes: how many classes there are.
        neutral: how many different neutral tokens there are.
        repeats: how often each class token occurs; with 0 there is only the one after
            the marker, which is a far easier task.

    Returns:
        Tokens, below `1 + classes + neutral`, labels, and where the evidence is.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if a number is too small, or the tokens do not fit in.

    Example:
        >>> data = evidence(jax.random.key(0), 2)
        >>> token = data.tokens[jnp.arange(2), data.position]
        >>> bool((token == 1 + data.labels).all())
        True
    """
    classes = checked_integer("classes", classes, 2, call="evidence")
    neutral = checked_integer("neutral", neutral, 1, call="evidence")
    repeats = checked_integer("repeats", repeats, 0, call="evidence")
    needed = 1 + max(1, classes * repeats)
    length = checked_integer("length", length, 2, call="evidence")
    if length < needed:
        raise ValueError(
            f"evidence: `length` is {length}, and the marker and {needed - 1} class "
            f"tokens need {needed}. Write `length={needed}` or more."
        )
    return draw("evidence", _Evidence(length, classes, neutral, repeats), key, count)


@dataclasses.dataclass(frozen=True)
class _Evidence:
    """Draws one sequence."""

    length: int
    classes: int
    neutral: int
    repeats: int

    def __call__(self, key: Key) -> Evidence:
        # One call draws all random numbers, since each call is slow to compile.
        n_items = self.length - 1
        draws = jax.random.uniform(key, (1 + 2 * n_items,), jnp.float32)
        label = (self.classes * draws[0]).astype(jnp.int32)
        neutral = (self.neutral * draws[1 : 1 + n_items]).astype(jnp.int32)
        # The evidence is the first of `items`, and the other class tokens follow:
        # starting from the label, so that each class occurs equally often.
        steps = np.arange(max(1, self.classes * self.repeats), dtype=np.int32)
        items = (
            (1 + self.classes + neutral)
            .at[: len(steps)]
            .set(1 + (label + steps) % self.classes)
        )
        order = jnp.argsort(draws[1 + n_items :])
        items, position = items[order], jnp.argmin(order).astype(jnp.int32)
        # The marker is inserted before the evidence; all tokens from there on move by
        # one.
        index = jnp.arange(self.length, dtype=jnp.int32)
        tokens = items[jnp.where(index <= position, index, index - 1)]
        return Evidence(jnp.where(index == position, 0, tokens), label, position + 1)


class Induction(NamedTuple):
    """Sequences in which a part is repeated.

    Attributes:
        tokens: the sequences.
        labels: for each position, the next token; 0 for the last.
        attend: for each position whose label can be predicted, the earlier position of
            the token that is the label; -1 for other positions.
    """

    tokens: Int[Array, "count length"]
    labels: Int[Array, "count length"]
    attend: Int[Array, "count length"]

    @property
    def mask(self) -> Bool[Array | np.ndarray, "count length"]:
        """The positions whose next token can be predicted, for the loss."""
        return self.attend >= 0


def induction(
    key: Key, count: int, *, length: int = 32, repeated: int = 12, vocabulary: int = 64
) -> Induction:
    """Draws random sequences with a part that is repeated at a random offset.

    A part of `repeated` tokens occurs at one random position and again at a later one.
    All other tokens are random, and none occurs twice except by the repetition. In the
    second copy, the next token is the one that followed the same token before; no other
    position can be predicted, and no fixed distance helps, because the offset varies.

    An ideal explanation of the prediction at position `t` finds `attend[t]`, the token
    to copy: an induction head attends there. It is recognized by the token before it,
    which is the token at `t`.

    Args:
        key: the random key of the data. Sequence `i` depends on `fold_in(key, i)`
            alone.
        count: how many sequences to draw.
        length: how many tokens each sequence has, at least `2 * repeated + 1`; those
            that are in no copy are split at random into tokens before, between and
            after the copies. Without any, the offset would always be `repeated`.
        repeated: how many tokens the repeated part has; in the second copy, all but the
            first are predictable.
        vocabulary: how many different tokens there are, at least
            `length - repeated + 1`. With fewer, the last new token could be predicted,
            since no other is left.

    Returns:
        Tokens, next tokens, and the position to attend to.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if the copies do not fit, or there are too few tokens.

    Example:
        >>> data = induction(jax.random.key(0), 2)
        >>> copied = jnp.take_along_axis(data.tokens, data.attend, axis=1)
        >>> bool((copied == data.labels)[data.mask].all()), int(data.mask[0].sum())
        (True, 11)

    References:
        Olsson et al., 2022, on repeated random sequences [olsson2022incontext].
    """
    call = "induction"
    repeated = checked_integer("repeated", repeated, 2, call=call)
    length = checked_integer("length", length, 2 * repeated + 1, call=call)
    fewest = length - repeated + 1
    vocabulary = checked_integer("vocabulary", vocabulary, fewest, call=call)
    return draw(call, _Induction(length, repeated, vocabulary), key, count)


@dataclasses.dataclass(frozen=True)
class _Induction:
    """Draws one sequence."""

    length: int
    repeated: int
    vocabulary: int

    def __call__(self, key: Key) -> Induction:
        draws = jax.random.uniform(key, (2 + self.vocabulary,), jnp.float32)
        spare = self.length - 2 * self.repeated
        # Two cuts divide the spare tokens into those before, between and after.
        cuts = jnp.sort((draws[:2] * (spare + 1)).astype(jnp.int32))
        first, second = cuts[0], cuts[1] + self.repeated
        new_tokens = jnp.argsort(draws[2:]).astype(jnp.int32)
        index = jnp.arange(self.length, dtype=jnp.int32)
        in_copy = (index >= second) & (index < second + self.repeated)
        is_after = index >= second + self.repeated
        source = jnp.where(is_after, index - self.repeated, index)
        source = jnp.where(in_copy, index - second + first, source)
        tokens = new_tokens[source]
        is_predictable = in_copy & (index < second + self.repeated - 1)
        attend = jnp.where(is_predictable, index - second + first + 1, -1)
        labels = jnp.append(tokens[1:], jnp.int32(0))
        return Induction(tokens, labels, attend)


class ModularAddition(NamedTuple):
    """All sums modulo `p`, split into a training set and a test set.

    Attributes:
        inputs: for each pair the tokens `a`, `b` and `p`; the model answers at `p`.
        labels: the sums `(a + b) % p`.
        is_train: for each pair, whether it belongs to the training set.
        basis: the orthonormal Fourier basis of the numbers below `p`, one function a
            row: the constant, then cosine and sine of each frequency from 1 on.
    """

    inputs: Int[Array, "pairs 3"]
    labels: Int[Array, " pairs"]
    is_train: Bool[Array, " pairs"]
    basis: Float[Array, "p p"]


def modular_addition(
    key: Key, *, p: int = 113, train_fraction: float = 0.3
) -> ModularAddition:
    r"""Lists all pairs of numbers below `p` with their sums modulo `p`.

    An ideal explanation gives both operands the same weight, since neither alone tells
    anything about the sum. A network that generalizes does so by a few frequencies:
    its embedding is sparse in `basis`, and its logits are sums of $\cos(2 \pi k (a + b
    - c) / p)$.

    Args:
        key: the random key, by which the pairs are split.
        p: the modulus, an odd number; a prime in the literature.
        train_fraction: the fraction of pairs in the training set.

    Returns:
        All `p * p` pairs in the order of `a * p + b`, and the split.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if `p` is even or below 3, or the fraction is not within [0, 1].

    Example:
        >>> data = modular_addition(jax.random.key(0), p=5)
        >>> data.inputs[9].tolist(), int(data.labels[9]), int(data.is_train.sum())
        ([1, 4, 5], 0, 8)

    References:
        Nanda et al., 2023, section 3 and section 4 [nanda2023progress].
    """
    check_key("modular_addition", key)
    p = checked_integer("p", p, 3, call="modular_addition")
    if p % 2 == 0:
        raise ValueError(
            "modular_addition: `p` must be odd, so that sines and cosines pair up; it "
            f"is {p}."
        )
    train_fraction = checked_share(
        "train_fraction", train_fraction, call="modular_addition"
    )
    a, b = np.divmod(np.arange(p * p), p)
    inputs = np.stack([a, b, np.full(p * p, p)], axis=1)
    n_train = round(train_fraction * p * p)
    rank = jax.random.permutation(key, p * p)
    return ModularAddition(
        jnp.asarray(inputs, jnp.int32),
        jnp.asarray((a + b) % p, jnp.int32),
        rank < n_train,
        jnp.asarray(_fourier_basis(p), jnp.float32),
    )


def _fourier_basis(p: int) -> np.ndarray:
    angles = 2 * np.pi * np.outer(np.arange(1, p // 2 + 1), np.arange(p)) / p
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=1).reshape(p - 1, p)
    return np.concatenate([np.full((1, p), p**-0.5), waves * (2 / p) ** 0.5])
