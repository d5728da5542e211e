"""One number for each word, of attributions of the pieces that a tokenizer cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_choice, check_index, is_integer, shown

Reduction = Literal["sum", "mean"]


def merge_subwords(
    relevance: Any,
    words: Sequence[int | None] | Sequence[tuple[int, int]],
    *,
    axis: int = -1,
    reduction: Reduction = "sum",
) -> Any:
    r"""Returns the relevance of words, of the relevance of their pieces.

    $$r_w = \sum_{t \in w} r_t$$

    What adds up to the score goes on doing so. Merge both axes of a matrix one after
    the other: that of sources by sums; that of targets by sums where a row explains the
    log probability of a piece, whose sum is that of the word, and by means where a row
    is attention, so that it stays a share of one.

    Args:
        relevance: numbers for each token, such as those of `per_token`, `(batch,
            token)`, or a matrix of `sequence_attribution`, `(batch, row, token)`.
        words: for each token the number of its word, as a tokenizer's `word_ids()`
            returns them; `None` for one of no word, which stays alone. A word is a run
            of tokens with one number. Or where each token starts and ends in the text,
            pairs of characters, as its `offset_mapping` has them: a token that starts
            where the one before it ended, or has the same characters (bytes of one
            that is rare), goes on with its word, and an empty one stays alone. So
            punctuation is of the word before it. Offsets must leave out the spaces
            between words; those of GPT-2 and Llama have them, and would make one word
            of the whole text: add one to each start that is at a space.
        axis: the axis of the tokens.
        reduction: `"sum"` over the pieces of a word, or their `"mean"`.

    Returns:
        An array with one entry for each word on that axis, in the order of the text.

    Raises:
        TypeError: if a word is neither an integer nor `None`, nor all are pairs.
        ValueError: if there is not one word for each token, or no such axis.

    References:
        Clark et al., 2019 (sums over sources and means over targets of attention)
        [clark2019what].

    Example:
        >>> relevance = jnp.array([[0.5, 1.0, 2.0, -1.0]])  # [CLS] un ##happy cats
        >>> merge_subwords(relevance, [None, 0, 0, 1]).tolist()
        [[0.5, 3.0, -1.0]]
        >>> offsets = [(0, 0), (0, 2), (2, 7), (8, 12)]
        >>> merge_subwords(relevance, offsets).tolist()
        [[0.5, 3.0, -1.0]]
    """
    check_choice("reduction", reduction, get_args(Reduction))
    check_index(axis, jnp.ndim(relevance), "axis")
    words = _words_of_offsets(words)
    for word in words:
        if word is not None and not is_integer(word):
            raise TypeError(
                f"merge_subwords: `words` has an integer or None for each token, and "
                f"one is {shown(word)}.\nWrite `words=encoding.word_ids()` of a fast "
                "tokenizer."
            )
    relevance = jnp.asarray(relevance)
    if len(words) != relevance.shape[axis]:
        raise ValueError(
            f"merge_subwords: there are {len(words)} words for {relevance.shape[axis]} "
            f"tokens on axis {axis} of {relevance.shape}.\nGive one for each token; "
            "rows of `sequence_attribution` explain all but the first, `words[1:]`."
        )
    is_first = [
        i == 0 or word is None or word != words[i - 1] for i, word in enumerate(words)
    ]
    numbers = np.cumsum(is_first) - 1
    wide = jnp.promote_types(relevance.dtype, jnp.float32)
    moved = jnp.moveaxis(relevance, axis, 0).astype(wide)
    merged = jnp.zeros((sum(is_first), *moved.shape[1:]), wide).at[numbers].add(moved)
    if reduction == "mean":
        counts = np.bincount(numbers, minlength=len(merged))
        merged = merged / counts.reshape(-1, *(1,) * (merged.ndim - 1)).astype(wide)
    return jnp.moveaxis(merged, 0, axis).astype(relevance.dtype)


def _words_of_offsets(words: Sequence[Any]) -> Sequence[Any]:
    """The numbers of the words, of pairs of characters; anything else as it is."""
    if any(np.shape(word) != (2,) for word in words):
        return words
    numbers: list[int | None] = []
    before = None, None
    for number, (start, stop) in enumerate(words):
        is_empty = start == stop
        goes_on = not is_empty and (start == before[1] or (start, stop) == before)
        numbers.append(numbers[-1] if goes_on else None if is_empty else number)
        before = (None, None) if is_empty else (start, stop)
    return numbers
