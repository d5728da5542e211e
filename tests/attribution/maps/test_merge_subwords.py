"""Relevance of words from that of their pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import merge_subwords

RNG = np.random.default_rng(3)
WORDS = [None, 0, 0, 1, 2, 2, 2, None, None, 0]
RUNS = [[0], [1, 2], [3], [4, 5, 6], [7], [8], [9]]


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_pieces_of_a_word_are_added_up_or_averaged_on_any_axis(axis, reduction):
    relevance = RNG.normal(size=(10, 10, 10))
    merged = merge_subwords(relevance, WORDS, axis=axis, reduction=reduction)
    received = np.asarray(merged)
    for number, run in enumerate(RUNS):
        expected = sum(np.take(relevance, i, axis) for i in run)
        expected = expected / (len(run) if reduction == "mean" else 1)
        actual = np.take(received, number, axis)
        np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_both_axes_of_a_matrix_keep_what_adds_up():
    attention = RNG.random((2, 10, 10))
    attention /= attention.sum(-1, keepdims=True)
    merged = merge_subwords(attention, WORDS)
    total = merge_subwords(merged, WORDS, axis=-2)
    np.testing.assert_allclose(total.sum((1, 2)), [10, 10], rtol=1e-12)
    rows = merge_subwords(merged, WORDS, axis=-2, reduction="mean")
    assert rows.shape == (2, 7, 7)
    np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-12)


def test_offsets_say_which_pieces_touch():
    # [CLS] un happi ly , so [SEP]: "unhappily, so"
    offsets = [(0, 0), (0, 2), (2, 7), (7, 9), (9, 10), (11, 13), (0, 0)]
    relevance = RNG.normal(size=(2, 7))
    merged = merge_subwords(relevance, offsets)
    np.testing.assert_allclose(merged[:, 1], relevance[:, 1:5].sum(1), rtol=1e-12)
    np.testing.assert_array_equal(merged[:, [0, 2, 3]], relevance[:, [0, 5, 6]])
    assert merged.shape == (2, 4)
    np.testing.assert_array_equal(merge_subwords(relevance, np.array(offsets)), merged)
    special = [(0, 0), (0, 0), (0, 3), (0, 0), (3, 4), (5, 6), (6, 7)]
    assert merge_subwords(relevance, special).shape == (2, 6)


def test_bytes_of_one_character_are_of_one_word():
    offsets = [(0, 2), (2, 3), (2, 3), (2, 3), (4, 5), (4, 5)]
    merged = merge_subwords(np.arange(6.0)[None], offsets)
    np.testing.assert_array_equal(merged, [[0 + 1 + 2 + 3, 4 + 5]])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_number_that_is_not_finite_is_of_its_word_alone(reduction):
    relevance = np.array([[1.0, np.inf, 3.0, 5.0, np.nan]])
    merged = merge_subwords(relevance, [0, 0, 1, 1, 2], reduction=reduction)
    np.testing.assert_array_equal(
        merged, [[np.inf, 8.0 if reduction == "sum" else 4.0, np.nan]]
    )


def test_it_can_be_compiled_mapped_and_keeps_the_dtype():
    relevance = jnp.asarray(RNG.normal(size=(2, 10)), jnp.float16)
    jitted = jax.jit(jax.vmap(lambda x: merge_subwords(x, WORDS)))(relevance)
    assert jitted.dtype == jnp.float16
    np.testing.assert_array_equal(jitted, merge_subwords(relevance, WORDS))


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_merged_is_an_error():
    relevance = np.ones((2, 10))
    with pytest.raises(ValueError, match=r"9 words for 10 tokens .*\n.*`words\[1:\]`"):
        merge_subwords(relevance, WORDS[1:])
    with pytest.raises(TypeError, match=r"one is 'a'.*\n.*word_ids"):
        merge_subwords(relevance, list("abcdefghij"))
    with pytest.raises(TypeError, match=r"one is \(0, 1\)"):
        merge_subwords(relevance, [*WORDS[1:], (0, 1)])
    with pytest.raises(ValueError, match="no axis 2: there are 2"):
        merge_subwords(relevance, WORDS, axis=2)
    with pytest.raises(ValueError, match="`reduction`"):
        merge_subwords(relevance, WORDS, reduction="norm")
