"""Tables of vectors in all spellings: the vectors of tokens receive the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from tests.spellings.tables import random

TABLE, HEAD = random(0, 7, 6), random(1, 6, 3)
TOKENS, TARGET = jnp.array([[1, 4, 0], [6, 2, 2]]), jnp.array([0, 2])


def module(w, t):
    embed = nn.Embed(7, 6, param_dtype="float64")
    return embed.apply({"params": {"embedding": w}}, t)


SPELLINGS = {
    "index": lambda w, t: w[t],
    "take": lambda w, t: jnp.take(w, t, axis=0),
    "clipped": lambda w, t: jnp.take(w, t, axis=0, mode="clip"),
    "get": lambda w, t: w.at[t].get(mode="promise_in_bounds"),
    "one-hot": lambda w, t: jax.nn.one_hot(t, 7, dtype=w.dtype) @ w,
    "einsum": lambda w, t: jnp.einsum("btv,vd->btd", jnp.eye(7)[t], w),
    "rows of a vmap": lambda w, t: jax.vmap(jax.vmap(lambda i: w[i]))(t),
    "dynamic slices": lambda w, t: jax.vmap(
        jax.vmap(lambda i: lax.dynamic_index_in_dim(w, i, 0, keepdims=False))
    )(t),
    "nn.Embed": module,
}


def received(spelling, composite):
    def model(w, t):
        h = spelling(w["table"], t)
        return jax.nn.relu(h + jnp.tanh(h)).mean(1) @ w["head"]

    w = {"table": TABLE, "head": HEAD}
    sites = ji.trace(model, w, TOKENS).sites.values()
    vectors = next(s.address for s in sites if s.shape == (2, 3, 6))
    attribute = ji.attribution.lrp(model, composite=composite, at=vectors)
    return np.asarray(attribute(w, TOKENS, TARGET))


@pytest.mark.parametrize("composite", [rules.epsilon_plus(), rules.guided_backprop()])
@pytest.mark.parametrize("name", list(SPELLINGS)[1:])
def test_the_vectors_of_tokens_receive_the_same(name, composite):
    expected = received(SPELLINGS["index"], composite)
    found = received(SPELLINGS[name], composite)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


# --- The mean of what is no padding ---------------------------------------------------

SOME_TOKENS = jnp.array([[1, 4, 0, 0], [6, 2, 5, 0]])  # 0 is padding
IS_TOKEN = {"axis": 1, "keepdims": True}
MEANS = {
    "sum over count": lambda h, m: (h * m).sum(1) / m.sum(1),
    "choice": lambda h, m: jnp.where(m, h, 0).sum(1) / m.sum(1),
    "mean where": lambda h, m: h.mean(1, where=jnp.broadcast_to(m, h.shape)),
    "weights": lambda h, m: (h * (m / m.sum(**IS_TOKEN))).sum(1),
    "quotient first": lambda h, m: (h / m.sum(**IS_TOKEN) * m).sum(1),
    "reciprocal": lambda h, m: (1 / m.sum(1)) * (h * m).sum(1),
    "power": lambda h, m: (h * m).sum(1) * m.sum(1).astype(float) ** -1,
    "at least one": lambda h, m: (h * m).sum(1) / jnp.maximum(m.sum(1), 1),
    "einsum": lambda h, m: jnp.einsum("btd,bt->bd", h, m[..., 0] / m.sum(1)),
    "share of all": lambda h, m: (h * m).mean(1) / m.mean(1),
}


def mean_received(name, composite):
    def model(w, t):
        h = w["table"][t]
        mean = MEANS[name](h + jnp.tanh(h), (t != 0)[..., None])
        return jax.nn.relu(mean) @ w["head"]

    w = {"table": TABLE, "head": HEAD}
    assert ji.plan(model, composite, w, SOME_TOKENS).coverage == 1
    attribute = jax.jit(ji.attribution.lrp(model, composite=composite))
    return np.asarray(attribute(w, SOME_TOKENS, TARGET))


@pytest.mark.parametrize("composite", [rules.epsilon_plus(), rules.attn_lrp()])
@pytest.mark.parametrize("name", list(MEANS)[1:])
def test_the_mean_of_what_is_no_padding_is_a_fixed_sum(name, composite):
    expected = mean_received("sum over count", composite)
    found = mean_received(name, composite)
    assert np.abs(expected[SOME_TOKENS == 0]).max() == 0
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_a_factor_counted_from_tokens_gets_no_relevance():
    def model(w, t):  # as for dropped tokens: 1 - their share
        h = (
            w["table"][t]
            * (0.88 / (1 - (t == 1).sum(1) / (t != 0).sum(1)))[:, None, None]
        )
        return h.sum(1) @ w["head"]

    w = {"table": TABLE, "head": HEAD}
    sums = ji.ledger(model, rules.attn_lrp(), w, SOME_TOKENS, TARGET)
    np.testing.assert_allclose(sums.attributed, sums.score, rtol=1e-4)
