"""Strings of brackets, balanced or not, of which it is known which bracket is wrong.

With `kinds` kinds of brackets, the token `k` opens the kind `k` and `kinds + k` closes
it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from jaxinterp.checks import checked_integer
from jaxinterp.data.examples import draw
from jaxinterp.types import Key

# How many random exchanges of two tokens are tried; one that is always wrong follows.
TRIES = 8


class Dyck(NamedTuple):
    """Strings of brackets, and where they are wrong.

    Attributes:
        tokens: `k` opens the kind `k`, and `kinds + k` closes it.
        labels: 1 if the string is balanced, and 0 if not.
        offense: the first closing bracket that closes nothing, or the wrong kind; -1 if
            the string is balanced.
        partner: for each bracket before the offense, the position of the matching one;
            -1 from the offense on, and for brackets that are not closed before it.
        exchanged: the two positions whose tokens were exchanged in a balanced string;
            -1 if the string is balanced.
    """

    tokens: Int[Array, "count length"]
    labels: Int[Array, " count"]
    offense: Int[Array, " count"]
    partner: Int[Array, "count length"]
    exchanged: Int[Array, "count 2"]


def dyck(key: Key, count: int, *, length: int = 16, kinds: int = 2) -> Dyck:
    """Draws strings of brackets, each unbalanced with probability 1/2.

    An unbalanced string is a balanced one with two tokens exchanged. So both hold the
    same tokens, and counting them tells nothing.

    An ideal explanation of "unbalanced" finds `offense`: up to there the string could
    still have been completed. An explanation of how a bracket is checked finds its
    `partner`.

    Args:
        key: the random key of the data. String `i` depends on `fold_in(key, i)` alone.
        count: how many strings to draw.
        length: how many tokens each string has, an even number.
        kinds: how many kinds of brackets there are.

    Returns:
        Tokens, labels and where each string is wrong.

    Raises:
        TypeError: if `key` is no key of `jax.random`.
        ValueError: if `length` is odd or too small, or there is no kind.

    Example:
        >>> data = dyck(jax.random.key(1), 4, length=6)
        >>> text = ["".join("([)]"[t] for t in row) for row in data.tokens.tolist()]
        >>> list(zip(text, data.offense.tolist()))
        [('[)((])', 1), ('(([]))', -1), ('][[()]', 0), ('((()))', -1)]
    """
    length = checked_integer("length", length, 2, call="dyck")
    if length % 2:
        raise ValueError(f"dyck: `length` must be even, and is {length}.")
    kinds = checked_integer("kinds", kinds, 1, call="dyck")
    return draw("dyck", _Dyck(length, kinds), key, count)


class _ParserState(NamedTuple):
    """The state of a parser of brackets.

    Attributes:
        stack: the positions of the open brackets, the outermost first.
        depth: how many brackets are open.
        offense: the position of the first wrong bracket so far; -1 if there is none.
        partner: the position of the matching bracket so far; -1 if there is none.
    """

    stack: Int[Array, " length"]
    depth: Int[Array, ""]
    offense: Int[Array, ""]
    partner: Int[Array, " length"]


@dataclasses.dataclass(frozen=True)
class _Dyck:
    """Draws one string."""

    length: int
    kinds: int

    def __call__(self, key: Key) -> Dyck:
        # One call draws all random numbers, since each call is slow to compile.
        draws = jax.random.uniform(key, (1 + 2 * (self.length + TRIES),), jnp.float32)
        coins, kinds, positions = jnp.split(draws[1:], [self.length, 2 * self.length])
        balanced = self._balanced(coins < 0.5, (self.kinds * kinds).astype(jnp.int32))
        positions = (self.length * positions).astype(jnp.int32).reshape(TRIES, 2)
        # The first pair exchanges nothing. With the last, the string begins with a
        # closing bracket, which is always wrong.
        same = jnp.zeros((1, 2), jnp.int32)
        ends = jnp.array([[0, self.length - 1]], jnp.int32)
        pairs = jnp.concatenate([same, positions, ends])

        def exchange(pair: Array) -> Array:
            return balanced.at[pair].set(balanced[pair[::-1]])

        candidates = jax.vmap(exchange)(pairs)
        results = jax.vmap(self._parse)(candidates)
        is_balanced = draws[0] < 0.5
        choice = jnp.where(is_balanced, 0, jnp.argmax(results.offense >= 0))
        return Dyck(
            tokens=candidates[choice],
            labels=is_balanced.astype(jnp.int32),
            offense=results.offense[choice],
            partner=results.partner[choice],
            exchanged=jnp.where(is_balanced, -1, pairs[choice]),
        )

    def _balanced(
        self, coins: Bool[Array, " length"], kinds: Int[Array, " length"]
    ) -> Int[Array, " length"]:
        """Opens and closes brackets at random, so that all are closed at the end."""

        def step(state: tuple[Array, Array], t: Array) -> tuple[Any, Array]:
            stack, depth = state
            must_close = depth == self.length - t
            opens = (depth == 0) | (coins[t] & ~must_close)
            kind = jnp.where(opens, kinds[t], stack[depth - 1])
            stack = jnp.where(opens, stack.at[depth].set(kind), stack)
            depth = depth + jnp.where(opens, 1, -1)
            return (stack, depth), jnp.where(opens, kind, self.kinds + kind)

        index = jnp.arange(self.length, dtype=jnp.int32)
        start = jnp.zeros(self.length, jnp.int32), jnp.int32(0)
        return lax.scan(step, start, index)[1]

    def _parse(self, tokens: Int[Array, " length"]) -> _ParserState:
        """Reads a string up to the first bracket that is wrong."""

        def step(state: _ParserState, t: Array) -> tuple[_ParserState, None]:
            opens = tokens[t] < self.kinds
            opener = state.stack[state.depth - 1]
            fits = (state.depth > 0) & (tokens[opener] == tokens[t] - self.kinds)
            is_wrong = ~opens & ~fits
            partner = state.partner.at[t].set(opener).at[opener].set(t)
            new = _ParserState(
                stack=jnp.where(opens, state.stack.at[state.depth].set(t), state.stack),
                depth=state.depth + jnp.where(opens, 1, -1),
                offense=jnp.where(is_wrong, t, state.offense),
                partner=jnp.where(opens | is_wrong, state.partner, partner),
            )
            is_over = state.offense >= 0
            pairs = zip(state, new, strict=True)
            final = [jnp.where(is_over, old, now) for old, now in pairs]
            return _ParserState(*final), None

        index = jnp.arange(self.length, dtype=jnp.int32)
        nothing = jnp.full(self.length, -1, jnp.int32)
        start = _ParserState(nothing, jnp.int32(0), jnp.int32(-1), nothing)
        return lax.scan(step, start, index)[0]
