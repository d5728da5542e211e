"""Brackets of several kinds, balanced or not: which one is wrong is known.

The tokens of `kinds` kinds: `k` opens the kind `k`, and `kinds + k` closes it.
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

# So many exchanges are tried for one that is wrong somewhere; there is always one.
TRIES = 8


class Dyck(NamedTuple):
    """Strings of brackets, and where they go wrong.

    Attributes:
        tokens: `k` opens the kind `k`, and `kinds + k` closes it.
        labels: 1 if the string is balanced, and 0 if not.
        offense: the first closing bracket that closes nothing, or the wrong kind; -1 if
            the string is balanced.
        partner: the bracket that matches, as far as the string is right, and -1 from
            the offense on and for what was not closed before it.
        exchanged: the two positions whose tokens were exchanged in a balanced string;
            -1 if none were.
    """

    tokens: Int[Array, "count length"]
    labels: Int[Array, " count"]
    offense: Int[Array, " count"]
    partner: Int[Array, "count length"]
    exchanged: Int[Array, "count 2"]


def dyck(key: Any, count: int, *, length: int = 16, kinds: int = 2) -> Dyck:
    """Draws strings of brackets, of which every second one, by chance, is unbalanced.

    A wrong string is a balanced one with two tokens exchanged. So balanced and
    unbalanced strings hold the same tokens, and counting them tells nothing.

    An ideal explanation of "unbalanced" finds `offense`: up to there the string could
    still have been completed. An explanation of how a bracket is checked finds its
    `partner`.

    Args:
        key: a key of `jax.random`. String `i` depends on `fold_in(key, i)` alone.
        count: number of strings.
        length: of every string, even.
        kinds: number of kinds of brackets.

    Returns:
        Tokens, labels and the truth.

    Raises:
        TypeError: if there is no key.
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


class _Parsed(NamedTuple):
    """A reader of brackets: what is open, and what was found so far."""

    stack: Int[Array, " length"]
    depth: Int[Array, ""]
    offense: Int[Array, ""]
    partner: Int[Array, " length"]


@dataclasses.dataclass(frozen=True)
class _Dyck:
    """Draws one string."""

    length: int
    kinds: int

    def __call__(self, key: Any) -> Dyck:
        # One call for all that is random: each call is slow to compile.
        draws = jax.random.uniform(key, (1 + 2 * (self.length + TRIES),), jnp.float32)
        coins, kinds, places = jnp.split(draws[1:], [self.length, 2 * self.length])
        balanced = self._balanced(coins < 0.5, (self.kinds * kinds).astype(jnp.int32))
        places = (self.length * places).astype(jnp.int32).reshape(TRIES, 2)
        # The first exchanges nothing. To begin with a closing bracket is always wrong,
        # so the last is sure to do.
        same = jnp.zeros((1, 2), jnp.int32)
        sure = jnp.array([[0, self.length - 1]], jnp.int32)
        pairs = jnp.concatenate([same, places, sure])

        def exchange(pair: Array) -> Array:
            return balanced.at[pair].set(balanced[pair[::-1]])

        tried = jax.vmap(exchange)(pairs)
        parsed = jax.vmap(self._parse)(tried)
        is_balanced = draws[0] < 0.5
        chosen = jnp.where(is_balanced, 0, jnp.argmax(parsed.offense >= 0))
        return Dyck(
            tokens=tried[chosen],
            labels=is_balanced.astype(jnp.int32),
            offense=parsed.offense[chosen],
            partner=parsed.partner[chosen],
            exchanged=jnp.where(is_balanced, -1, pairs[chosen]),
        )

    def _balanced(
        self, coins: Bool[Array, " length"], kinds: Int[Array, " length"]
    ) -> Int[Array, " length"]:
        """Opens and closes by chance, and closes all that is open in time."""

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

    def _parse(self, tokens: Int[Array, " length"]) -> _Parsed:
        """Reads a string up to the first bracket that is wrong."""

        def step(state: _Parsed, t: Array) -> tuple[_Parsed, None]:
            opens = tokens[t] < self.kinds
            opener = state.stack[state.depth - 1]
            fits = (state.depth > 0) & (tokens[opener] == tokens[t] - self.kinds)
            wrong = ~opens & ~fits
            pairs = state.partner.at[t].set(opener).at[opener].set(t)
            new = _Parsed(
                stack=jnp.where(opens, state.stack.at[state.depth].set(t), state.stack),
                depth=state.depth + jnp.where(opens, 1, -1),
                offense=jnp.where(wrong, t, state.offense),
                partner=jnp.where(opens | wrong, state.partner, pairs),
            )
            is_over = state.offense >= 0
            kept = [jnp.where(is_over, a, b) for a, b in zip(state, new, strict=True)]
            return _Parsed(*kept), None

        index = jnp.arange(self.length, dtype=jnp.int32)
        nothing = jnp.full(self.length, -1, jnp.int32)
        start = _Parsed(nothing, jnp.int32(0), jnp.int32(-1), nothing)
        return lax.scan(step, start, index)[0]
