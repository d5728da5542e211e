"""The examples in which a channel counts most: by hand, cut anyhow, and planted."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import relevance_examples
from jaxinterp.rules import Composite, Epsilon, Pass

RNG = np.random.default_rng(6)
PLAIN = Composite([(ji.of_role("activation"), Pass()), ("*", Epsilon(0.0))])
X, TARGET = RNG.normal(size=(11, 3, 4)), RNG.integers(2, size=11)
W = RNG.normal(size=(4, 2))
QUIET = {"progress": False}


def model(w, x):
    return jnp.tanh(x).sum(axis=1) @ w


def cut(*edges):
    bounds = [0, *edges, len(X)]
    return [(X[a:b], TARGET[a:b]) for a, b in itertools.pairwise(bounds)]


def test_it_ranks_by_the_sum_over_positions_however_the_stream_is_cut():
    relevance = (np.tanh(X).sum(axis=1) * W.T[TARGET]).T
    order = np.argsort(-relevance, axis=1)[:, :3]
    whole = relevance_examples(model, "tanh", W, cut(), k=3, composite=PLAIN, **QUIET)
    np.testing.assert_array_equal(whole.indices, order)
    expected = np.take_along_axis(relevance, order, axis=1)
    np.testing.assert_allclose(whole.relevance, expected, rtol=1e-12)
    first, *rest = cut(4, 8)
    options = {"k": 3, "composite": PLAIN, **QUIET}
    before = relevance_examples(model, "tanh", W, [first], **options)
    after = relevance_examples(model, "tanh", W, iter(rest), resume=before, **options)
    assert int(after.n_examples) == 11
    np.testing.assert_array_equal(after.indices, order)
    few = relevance_examples(model, "tanh", W, [(X[:2], TARGET[:2])], **options)
    assert (few.indices[:, 2] == -1).all()
    assert np.isnan(few.relevance[:, 2]).all()


def test_what_is_active_but_does_not_count_is_not_shown():
    """The first image drives the channel most, in a class that does not read it."""
    x = np.zeros((3, 1, 1))
    x[:, 0, 0] = 3, 1, 2
    w = np.array([[1.0, 0.0]])
    batches = [(x, np.array([1, 0, 0]))]
    found = relevance_examples(
        lambda w, x: jax.nn.relu(x).sum(axis=1) @ w, "relu", w, batches, k=2, **QUIET
    )
    assert found.indices.tolist() == [[2, 1]]


def test_what_it_cannot_do_is_an_error():
    with pytest.raises(TypeError, match=r"a pair `\(inputs, target\)`, and one is"):
        relevance_examples(model, "tanh", W, [X], **QUIET)
    with pytest.raises(TypeError, match=r"a pair .* and one is tuple"):
        relevance_examples(model, "tanh", W, [(X, TARGET, X)], **QUIET)
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        relevance_examples(model, "tanh", W, cut(), k=0, **QUIET)
    with pytest.raises(ji.tracing.AmbiguousAddressError, match="tanh"):
        relevance_examples(model, "*", W, cut(), **QUIET)

    def looped(w, x):
        x, _ = jax.lax.scan(lambda h, _: (jnp.tanh(h), None), x, None, len(X))
        return x.sum(axis=1) @ w

    with pytest.raises(ValueError, match="is inside a loop or branch"):
        relevance_examples(looped, "*tanh", W, cut(), **QUIET)
    with pytest.raises(ji.tracing.AddressError, match="relu"):
        relevance_examples(model, "relu", W, cut(), **QUIET)
    with pytest.raises(ValueError, match="is no axis of channels"):
        relevance_examples(
            lambda w, x: jnp.tanh(x.sum((1, 2))),
            "tanh",
            W,
            [(X, None)],
            score=lambda outputs, target: outputs,
            **QUIET,
        )
    bad = X.copy()
    bad[4] = np.nan
    with pytest.raises(FloatingPointError, match="not a number for example 4"):
        relevance_examples(model, "tanh", W, [(bad, TARGET)], composite=PLAIN, **QUIET)
    before = relevance_examples(model, "tanh", W, cut(), k=2, **QUIET)
    with pytest.raises(ValueError, match="4 channels and k=2, and this call for 4 and"):
        relevance_examples(model, "tanh", W, cut(), k=3, resume=before, **QUIET)
    with pytest.raises(TypeError, match="`resume` is what an earlier call"):
        relevance_examples(model, "tanh", W, cut(), resume=3, **QUIET)
