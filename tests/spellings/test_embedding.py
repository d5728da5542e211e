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
