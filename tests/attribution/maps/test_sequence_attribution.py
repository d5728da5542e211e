"""The tokens that made a model say each token: row by row, contrasts, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import (
    input_x_gradient,
    lrp,
    occlusion,
    per_token,
    sequence_attribution,
)

RNG = np.random.default_rng(11)
W = {
    "embed": RNG.normal(size=(7, 6)),
    "mix": RNG.normal(size=(3, 6, 6)) / 2,
    "out": RNG.normal(size=(6, 7)),
}
TOKENS = RNG.integers(7, size=(2, 5))
ATTN = functools.partial(lrp, composite="attn_lrp")


def causal(w, tokens):
    """Logits of the next token, by one layer of causal attention."""
    x = w["embed"][tokens]
    scores = (x @ w["mix"][0]) @ (x @ w["mix"][1]).swapaxes(1, 2)
    mask = jnp.tril(jnp.ones(scores.shape[1:], bool))[None]
    attention = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))
    return (x + attention @ (x @ w["mix"][2])) @ w["out"]


def row(position, tokens, method=ATTN, score=None):
    """One row, by itself."""

    def plain(outputs, target):
        return jnp.take_along_axis(outputs[:, position], target[:, None], axis=1)[:, 0]

    attribute = per_token(method(causal, score=score or plain))
    return jax.jit(attribute)(W, TOKENS, tokens)


def test_each_row_is_the_attribution_of_one_output():
    whole = jax.jit(sequence_attribution(causal, method=ATTN))(W, TOKENS)
    assert whole.shape == (2, 4, 5)
    for position in (0, 2):
        expected = row(position, TOKENS[:, position + 1])
        np.testing.assert_allclose(whole[:, position], expected, atol=1e-12)
    later = np.triu(np.ones((4, 5), bool), 1)
    np.testing.assert_array_equal(whole[:, later], 0)
    assert (np.abs(whole[:, ~later]) > 0).all()
    in_parts = sequence_attribution(causal, method=ATTN, batch_size=3)
    parts = jax.jit(in_parts)(W, TOKENS)
    np.testing.assert_allclose(parts, whole, atol=1e-12)


def test_a_contrast_is_the_difference_of_two_tokens():
    a, b = RNG.integers(7, size=(2, 2, 5))
    attribute = jax.jit(sequence_attribution(causal, method=input_x_gradient))
    first, second = attribute(W, TOKENS, a), attribute(W, TOKENS, b)
    np.testing.assert_allclose(attribute(W, TOKENS, (a, b)), first - second, atol=1e-12)
    same = attribute(W, TOKENS, (a, a))
    np.testing.assert_allclose(same, 0, atol=1e-12)


def test_methods_that_take_tokens_away_and_other_scores():
    blank = functools.partial(occlusion, size=1, baseline=0)
    whole = sequence_attribution(causal, method=blank, score="log_probability")
    received = whole(W, TOKENS)
    assert received.shape == (2, 4, 5)
    hidden = TOKENS.copy()
    hidden[:, 1] = 0
    before, after = (
        jax.nn.log_softmax(causal(W, tokens)[:, 2])[np.arange(2), TOKENS[:, 3]]
        for tokens in (TOKENS, hidden)
    )
    np.testing.assert_allclose(received[:, 2, 1], before - after, atol=1e-12)


def test_what_has_no_tokens_to_explain_is_an_error():
    attribute = sequence_attribution(causal, method=input_x_gradient)
    with pytest.raises(ValueError, match=r"\(batch, rows\).*shape \(2, 5\).*\(2,\)"):
        attribute(W, TOKENS, np.array([1, 2]))
    with pytest.raises(ValueError, match=r"its shapes are \(2, 5\), \(2, 4\)"):
        attribute(W, TOKENS, (TOKENS, TOKENS[:, 1:]))
    with pytest.raises(TypeError, match=r"one array of tokens .* and are dict"):
        attribute(W, {"tokens": TOKENS})
    with pytest.raises(TypeError, match=r"are token ids, integers .* float64"):
        attribute(W, TOKENS, np.ones((2, 5)))
    with pytest.raises(TypeError, match=r"`method`.* must be a function, `method=lrp`"):
        sequence_attribution(causal, method="lrp")
    with pytest.raises(ValueError, match="`batch_size` must be an integer"):
        sequence_attribution(causal, method=lrp, batch_size=0)
    pooled = sequence_attribution(
        lambda w, t: causal(w, t).mean(1), method=input_x_gradient
    )
    with pytest.raises(ValueError, match=r"\(batch, length, vocabulary\), and the "):
        pooled(W, TOKENS)


@pytest.mark.slow(reason="compiles the backward pass of a trained transformer")
def test_a_copied_token_is_traced_to_what_it_was_copied_from():
    """At every repeated token one of the two most relevant is of the first copy."""
    apply_fn, variables, draw = ji.models.pretrained("induction")
    tokens = np.asarray(draw(jax.random.key(0), 16).tokens)
    attribute = jax.jit(sequence_attribution(apply_fn, method=ATTN))
    matrix = np.asarray(attribute(variables, tokens))
    hits = []
    for example, t in np.ndindex(*matrix.shape[:2]):
        row = tokens[example]
        pairs = range(1, t)
        copied = [s for s in pairs if (row[s - 1 : s + 1] == row[t : t + 2]).all()]
        if copied:
            first = np.argsort(-matrix[example, t])[:2]
            hits.append(any(s in first or s - 1 in first for s in copied))
    assert len(hits) > 150
    assert np.mean(hits) > 0.98
