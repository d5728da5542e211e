"""Leaving out a token, against a loop that deletes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import leave_one_out, occlusion, sequence_attribution
from jaxinterp.objectives import total
from tests.compiled import compiled

RNG = np.random.default_rng(8)
VOCABULARY, WIDTH = 6, 4
WEIGHTS = {
    "embed": RNG.normal(size=(VOCABULARY, WIDTH)),
    "mix": RNG.normal(size=(WIDTH, WIDTH)),
    "head": RNG.normal(size=(WIDTH, VOCABULARY)),
}
TOKENS = RNG.integers(VOCABULARY, size=(2, 5))


def writer(w, tokens):
    """Returns logits of every next token, by causal attention without positions."""
    x = jnp.take(w["embed"], tokens, axis=0)
    scores = jnp.einsum("btd,bsd->bts", x @ w["mix"], x)
    is_past = jnp.tri(x.shape[1], dtype=bool)
    x = x + jax.nn.softmax(jnp.where(is_past, scores, -jnp.inf)) @ x
    return jnp.tanh(x) @ w["head"]


def reader(w, tokens):
    """Returns logits of the whole sequence."""
    return writer(w, tokens)[:, -1]


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_token_is_deleted(batch_size):
    target = jnp.array([1, 4])
    received = compiled(leave_one_out(reader, batch_size=batch_size))(
        WEIGHTS, TOKENS, target
    )
    for i, (row, label) in enumerate(zip(TOKENS, target, strict=True)):
        whole = reader(WEIGHTS, row[None])[0, label]
        for s in range(5):
            rest = reader(WEIGHTS, np.delete(row, s)[None])[0, label]
            np.testing.assert_allclose(received[i, s], whole - rest, atol=1e-12)


def test_a_row_for_each_next_token_deletes_it_from_the_context():
    received = sequence_attribution(writer, method=leave_one_out)(WEIGHTS, TOKENS)
    for b, row in enumerate(TOKENS):
        for t in range(4):
            whole = writer(WEIGHTS, row[None])[0, t, row[t + 1]]
            for s in range(5):
                context = np.delete(row[: t + 1], s) if s <= t else row[: t + 1]
                rest = writer(WEIGHTS, context[None])[0, -1] if len(context) else None
                expected = whole - (0 if rest is None else rest[row[t + 1]])
                np.testing.assert_allclose(received[b, t, s], expected, atol=1e-12)


def test_embedded_tokens_are_left_out_as_well():
    embedded = jnp.take(WEIGHTS["embed"], TOKENS, axis=0).astype(jnp.float32)
    model = lambda w, x: jnp.tanh(x).sum(1) @ w["head"]  # noqa: E731
    received = leave_one_out(model)(WEIGHTS, embedded, 2)
    expected = jnp.tanh(embedded) @ WEIGHTS["head"][:, 2]
    assert received.dtype == embedded.dtype
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_inputs_may_have_a_name():
    named = leave_one_out(lambda w, inputs: reader(w, inputs["tokens"]))
    received = named(WEIGHTS, {"tokens": TOKENS}, 1)
    expected = leave_one_out(reader)(WEIGHTS, TOKENS, 1)
    np.testing.assert_array_equal(received["tokens"], expected)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_shorter_is_an_error():
    fixed = lambda w, x: x.astype(float) @ jnp.ones((5, 3))  # noqa: E731
    with pytest.raises(ValueError, match=r"not take 4 in place of 5 .*\n.*occlusion\("):
        leave_one_out(fixed)(None, TOKENS, 0)
    hidden = occlusion(fixed, size=1, baseline=0)(None, TOKENS, 0)
    np.testing.assert_array_equal(hidden, TOKENS)
    with pytest.raises(ValueError, match=r"\(2, 1\) nothing is left"):
        leave_one_out(reader)(WEIGHTS, TOKENS[:, :1], 0)
    with pytest.raises(ValueError, match="one array"):
        leave_one_out(lambda w, x: x["a"])(None, {"a": TOKENS, "b": TOKENS}, 0)
    with pytest.raises(ValueError, match="`batch_size`"):
        leave_one_out(reader, batch_size=0)
    with pytest.raises(ValueError, match="one number"):
        leave_one_out(reader, score=lambda y, t: y)(WEIGHTS, TOKENS)
    assert leave_one_out(reader, score=total)(WEIGHTS, TOKENS).shape == (2, 5)
